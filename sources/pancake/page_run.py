"""What the resources of one page share while they run: the client, the end, and whose turn it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dlt.common import logger

from .client import PancakeClient
from .errors import PancakeError, PancakeSettingsError

_POLL_S = 0.5


def never() -> bool:
    """Return False: nothing ends the run early."""
    return False


def as_metric(error: PancakeError) -> dict[str, str]:
    """Return an error as plain values: its class and its message."""
    return {"class": type(error).__name__, "message": str(error)}


class PageRun:
    """One page during one run.

    Args:
        client: Reads the page.
        stop: Asked at safe points; True ends the run there.
        isolated: Keep an error of the page here, so that other pages go on, instead of raising it.
    """

    def __init__(
        self, client: PancakeClient, stop: Callable[[], bool] = never, *, isolated: bool = False
    ) -> None:
        self.client = client
        self.error: PancakeError | None = None
        self._stop = stop
        self._isolated = isolated
        self._threads = threading.Lock()

    def is_over(self) -> bool:
        """Tell whether to end at this safe point."""
        return self.error is not None or self._stop()

    @contextmanager
    def errors_kept(self, metrics: dict[str, Any]) -> Iterator[None]:
        """End the page, and only the page, at an error in the block, and count what the block cost.

        What was yielded before stays good: every place where a reader stops is a safe point.

        Args:
            metrics: Of the resource. Receives `page_id`, the counts of the client, and on an error
                `page_error`: its class and message.

        Raises:
            PancakeSettingsError: Always: it concerns all pages.
            PancakeError: When pages are not kept apart.
        """
        metrics["page_id"] = self.client.page_id
        try:
            yield
        except PancakeSettingsError:
            raise
        except PancakeError as error:
            if not self._isolated:
                raise
            self.error = self.error or error
            metrics["page_error"] = as_metric(error)
            logger.warning(f"page {self.client.page_id} was given up for this run: {error}")
        finally:
            metrics.update(self.client.tally.as_metrics())

    def threads_turn(self) -> Iterator[None]:
        """Take the turn of reading threads; yield None while another window has it.

        dlt runs each resource in a thread of its own and looks after others when one yields None.
        """
        while not self._threads.acquire(timeout=_POLL_S):
            yield None

    def end_turn(self) -> None:
        """Give up the turn of reading threads."""
        self._threads.release()

    def lists_turn(self) -> Iterator[None]:
        """Yield None while threads are being read, so that lists run one window ahead of them at most."""
        yield from self.threads_turn()
        self.end_turn()
