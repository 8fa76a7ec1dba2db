"""What a run says while nobody watches: one line per event, with counts and no ids of people."""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import FilteringBoundLogger, Processor

_NAMES = ("pancake", "dlt")


def set_up(*, as_json: bool, quiet: bool) -> FilteringBoundLogger:
    """Send the events of the project, and dlt's messages, to standard error, one line each.

    To be called after the pipeline is made: dlt sets up its own logger then.

    Args:
        as_json: JSON lines instead of `key=value`.
        quiet: Warnings and errors only: on a terminal the rest is seen in progress bars.
    """
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if as_json
        else structlog.processors.LogfmtRenderer(
            key_order=["timestamp", "level", "event"], bool_as_flag=False
        )
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        foreign_pre_chain=shared,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    for name in _NAMES:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
    logging.getLogger("pancake").setLevel(logging.WARNING if quiet else logging.INFO)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    logger_of_project: FilteringBoundLogger = structlog.get_logger("pancake")
    return logger_of_project
