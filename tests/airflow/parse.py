"""Parse a file of DAGs where nothing but Airflow can be imported and nothing can be opened or called.

Runs in its own environment.
"""

import runpy
import sys

import airflow.sdk  # noqa: F401  # before anything is refused

REFUSED_MODULES = ("dlt", "pipelines", "sources", "requests")
REFUSED_EVENTS = ("socket.connect", "socket.getaddrinfo", "sqlite3.connect")


def refuse(event, arguments):
    if event in REFUSED_EVENTS:
        raise AssertionError(f"{event}{arguments}")


sys.modules.update(dict.fromkeys(REFUSED_MODULES))
sys.addaudithook(refuse)
runpy.run_path(sys.argv[1])
