"""Start the emulator. Runs in its own environment, which has nothing of the project.

Two things are mended on the way: the spatial extension is taken from its package, not downloaded, and an
upload of zero bytes, which the emulator takes for a question about an upload, is let through as one.
"""

import sys

import bqemulator.server
from bqemulator.cli import main
from bqemulator.jobs.upload_session_manager import UploadSessionManager
from duckdb_extensions import import_extension

append = UploadSessionManager.append
make_app = bqemulator.server.create_app


def append_chunk(manager, session_id, chunk, *, content_range=None):
    session = manager.get(session_id)
    if not chunk and content_range is None:
        session.declared_total_bytes = 0
        session.staging_path.touch()
    return append(manager, session_id, chunk, content_range=content_range)


def create_app(context):
    app = make_app(context)

    async def with_empty_uploads(scope, receive, send):
        if scope["type"] == "http":
            scope["headers"] = [
                header for header in scope["headers"] if header != (b"content-range", b"bytes */0")
            ]
        await app(scope, receive, send)

    return with_empty_uploads


if __name__ == "__main__":
    import_extension("spatial")
    UploadSessionManager.append = append_chunk
    bqemulator.server.create_app = create_app
    sys.exit(main())
