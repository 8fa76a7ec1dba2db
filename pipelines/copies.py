"""A pipeline to look with: it knows what the real one knows, and what it writes is thrown away."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import dlt
from dlt.common.pipeline import get_dlt_pipelines_dir

from pipelines.loading import make_pipeline

_KNOWN = ("state.json", "schemas")


@contextmanager
def copy_of_pipeline(name: str, dataset: str) -> Iterator[dlt.Pipeline]:
    """Give a copy of a pipeline, without packages that wait to be loaded, in a folder of its own.

    Args:
        name: Name of the pipeline, which may never have run.
        dataset: Dataset of the warehouse.
    """
    real = Path(get_dlt_pipelines_dir()) / name
    with TemporaryDirectory(prefix="pancake_") as folder:
        place = Path(folder) / name
        place.mkdir()
        for part in _KNOWN:
            if (real / part).is_dir():
                shutil.copytree(real / part, place / part)
            elif (real / part).exists():
                shutil.copy(real / part, place / part)
        pipeline = make_pipeline(name, dataset, folder=folder)
        try:
            yield pipeline
        finally:
            if pipeline.is_active:
                pipeline.deactivate()
