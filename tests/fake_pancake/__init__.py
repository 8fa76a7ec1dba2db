"""A Pancake that runs on this machine: pages in memory, the rules of the API, two faces.

    page = FakePage(dialect=LIVE, clock=FakeTime())
    page.populate(days=14, conversations=300)
    pancake = FakePancake([page], clock=page.clock)

    FakeAdapter(pancake).request("GET", path)           # in process, no sockets
    with FakeServer(pancake) as server: server.url      # over HTTP

`model` holds the data, `dialect` says which of the reported behaviours the API shows, `faults` breaks
single answers, `api` decides, `adapter` and `server` carry the answers. All data is invented.
"""

from __future__ import annotations

from .adapter import FakeAdapter
from .api import FakePancake
from .calls import Call
from .clock import FakeTime
from .dialect import ARTICLE, LIVE, Dialect
from .faults import Fault
from .model import FakePage
from .server import FakeServer

__all__ = [
    "ARTICLE",
    "LIVE",
    "Call",
    "Dialect",
    "FakeAdapter",
    "FakePage",
    "FakePancake",
    "FakeServer",
    "FakeTime",
    "Fault",
]
