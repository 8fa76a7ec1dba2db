"""The pipeline into the warehouse: loads into one dataset take turns."""

from __future__ import annotations

import logging
from typing import Any, NoReturn

import dlt
from tenacity import RetryCallState, Retrying, retry_if_result, stop_after_delay, wait_random_exponential

from pipelines import destinations
from pipelines.leases import Holder, Lease, LeaseTakenError, given_back

_LOAD = "load"
_DATASET = "dataset"
_LOAD_S = 15 * 60.0  # longer than the load of a piece takes; what a killed load keeps the others waiting
_PATIENCE_S = 60 * 60.0
_WAIT = wait_random_exponential(multiplier=1, max=15)

log = logging.getLogger("pancake")


class Pipeline(dlt.Pipeline):
    """A pipeline whose loads wait until no other pipeline loads into the dataset.

    A merge deletes and inserts. Of two at the same moment neither finds the rows of the other, and both would
    insert the same key; BigQuery cancels one of them instead.
    """

    def load(self, *args: Any, **kwargs: Any) -> Any:
        """Load as dlt does, in turn.

        Raises:
            LeaseTakenError: The others did not come to an end within an hour. What was read is kept.
            WarehouseError: The warehouse cannot be reached.
        """
        lease = lease_of(self)
        _wait_for(lease)
        with given_back(lease):
            return super().load(*args, **kwargs)


def make_pipeline(name: str, dataset: str, *, show_progress: bool = False, folder: str = "") -> dlt.Pipeline:
    """Return the pipeline into the configured warehouse.

    Args:
        name: Of the pipeline; two that run at the same time need two names.
        dataset: Dataset of the warehouse.
        show_progress: Whether dlt shows progress bars.
        folder: Where it keeps its files; by default where dlt keeps those of all pipelines.
    """
    options: dict[str, Any] = {"progress": "tqdm"} if show_progress else {}
    return dlt.pipeline(
        pipeline_name=name,
        destination=destinations.warehouse(name, dataset),
        dataset_name=dataset,
        pipelines_dir=folder,
        _impl_cls=Pipeline,
        **options,
    )


def lease_of(pipeline: dlt.Pipeline) -> Lease:
    """Return the lease for a load into the dataset.

    A pipeline that was killed while it loaded takes it again at once: nothing else runs under its name.
    """
    return Lease(pipeline, _LOAD, [_DATASET], _LOAD_S, holder=pipeline.pipeline_name)


def _wait_for(lease: Lease) -> None:
    Retrying(
        retry=retry_if_result(bool),
        wait=_WAIT,
        stop=stop_after_delay(_PATIENCE_S),
        before_sleep=_tell,
        retry_error_callback=_give_up,
    )(lease.enter)


def _tell(state: RetryCallState) -> None:
    if state.attempt_number == 1:
        log.warning("Waiting for another load into the dataset: %s", _holder(state).name)


def _give_up(state: RetryCallState) -> NoReturn:
    raise LeaseTakenError(
        f"Others have loaded into the dataset for an hour, the last on {_holder(state).name}. What was read"
        " is kept: the next run loads it first."
    )


def _holder(state: RetryCallState) -> Holder:
    assert state.outcome is not None  # noqa: S101  # there is one when it is asked for
    holder: Holder = state.outcome.result()
    return holder
