"""The pages to read, as a configuration lists them. Pure: values in, values out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import PancakeSettingsError
from .windows import Moment

_WHAT_TO_WRITE = (
    "`sources.pancake.pages` is a list of page ids, or of tables with `page_id`, `page_access_token` and"
    " `start_date`; in the environment SOURCES__PANCAKE__PAGES='[\"100000000000001\"]'"
)
_KEYS = {"page_id", "page_access_token", "start_date"}


@dataclass(frozen=True)
class Page:
    """One page to read.

    Args:
        page_id: The page.
        page_access_token: Its page token, from its Settings > Tools; empty when none was found.
        start_date: Where its first sync begins, if not where that of the others does.
    """

    page_id: str
    page_access_token: str = field(repr=False)
    start_date: Moment | None = None


def read_pages(listed: Any, token_of: Callable[[str], str | None]) -> list[Page]:
    """Return the pages of a list: ids, or tables of settings; in text, as JSON or with commas.

    Args:
        listed: What the configuration holds.
        token_of: Finds the token of a page that is listed without one.

    Raises:
        PancakeSettingsError: The list is none, is empty, names a page twice or has an unknown key.
    """
    if isinstance(listed, str):
        listed = _from_text(listed)
    if not isinstance(listed, Sequence) or not listed:
        found = "empty" if isinstance(listed, Sequence) else f"a {type(listed).__name__}"
        raise PancakeSettingsError(f"The list of pages is {found}. {_WHAT_TO_WRITE}.")
    pages = [_read_page(entry, place, token_of) for place, entry in enumerate(listed, 1)]
    ids = [page.page_id for page in pages]
    if twice := sorted({page_id for page_id in ids if ids.count(page_id) > 1}):
        raise PancakeSettingsError(f"`sources.pancake.pages` lists {', '.join(twice)} more than once.")
    return pages


def refuse_tokens(listed: Any) -> None:
    """Check that a list that stands beside no secrets holds none.

    Raises:
        PancakeSettingsError: It holds a token.
    """
    entries = listed if isinstance(listed, Sequence) else []
    if any(isinstance(entry, dict) and "page_access_token" in entry for entry in entries):
        raise PancakeSettingsError(
            "`pages` in .dlt/config.toml holds a token. Move the list, or its tokens as"
            " `sources.pancake.page_access_tokens`, to .dlt/secrets.toml, which git ignores."
        )


def chosen(pages: Sequence[Page], only: Sequence[str]) -> list[Page]:
    """Return the pages with these ids, all when none is given.

    Raises:
        PancakeSettingsError: An id is not among the pages.
    """
    known = {page.page_id for page in pages}
    if unknown := sorted(set(only) - known):
        raise PancakeSettingsError(
            f"Page {', '.join(unknown)} is not configured; known are {', '.join(sorted(known))}."
        )
    return [page for page in pages if not only or page.page_id in only]


def _from_text(text: str) -> Any:
    if not text.lstrip().startswith("["):
        return [page_id for entry in text.split(",") if (page_id := entry.strip())]
    try:
        return json.loads(text)
    except ValueError:
        pass
    raise PancakeSettingsError(f"The list of pages begins with [ and is no JSON. {_WHAT_TO_WRITE}.")


def _read_page(entry: Any, place: int, token_of: Callable[[str], str | None]) -> Page:
    settings = dict(entry) if isinstance(entry, dict) else {"page_id": entry}
    if unknown := settings.keys() - _KEYS:
        raise PancakeSettingsError(
            f"Page {place} of `sources.pancake.pages` has the unknown key {', '.join(sorted(unknown))};"
            f" known are {', '.join(sorted(_KEYS))}."
        )
    page_id = settings.get("page_id")
    if isinstance(page_id, bool) or not isinstance(page_id, str | int) or not str(page_id).strip():
        raise PancakeSettingsError(f"Page {place} of `sources.pancake.pages` has no id. {_WHAT_TO_WRITE}.")
    page_id = str(page_id).strip()
    token = settings.get("page_access_token") or token_of(page_id) or ""
    return Page(page_id, str(token), settings.get("start_date"))
