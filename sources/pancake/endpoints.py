"""The endpoints that are read: where each lies and under which key it gives its rows."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True)
class Endpoint:
    """One readable endpoint.

    Args:
        base: Path of the API version that serves it.
        template: Path below it, with ids in braces.
        rows_key: Key of the list of rows in the reply.
        one_object: Whether an object stands there instead of a list.
        name: Under which its calls are counted; without one it is `rows_key`.
    """

    base: str
    template: str
    rows_key: str
    one_object: bool = False
    name: str = ""

    def __str__(self) -> str:
        return self.template

    def path(self, **ids: str) -> str:
        """Return the path with every id percent-encoded as one segment."""
        return self.base + self.template.format(
            **{name: quote(value, safe="") for name, value in ids.items()}
        )


CONVERSATIONS = Endpoint("/api/public_api/v2", "/pages/{page_id}/conversations", "conversations")
MESSAGES = Endpoint(
    "/api/public_api/v1", "/pages/{page_id}/conversations/{conversation_id}/messages", "messages"
)
TAGS = Endpoint("/api/public_api/v1", "/pages/{page_id}/tags", "tags")
USERS = Endpoint("/api/public_api/v1", "/pages/{page_id}/users", "users")
PAGES = Endpoint("/api/v1", "/pages", "categorized", one_object=True, name="pages")
PAGES_AS_DOCUMENTED = Endpoint("/api/v1", "/pages", "pages")
POSTS = Endpoint("/api/public_api/v1", "/pages/{page_id}/posts", "posts")
PAGE_CUSTOMERS = Endpoint(
    "/api/public_api/v1", "/pages/{page_id}/page_customers", "customers", name="page_customers"
)
PAGE_STATISTICS = Endpoint(
    "/api/public_api/v1", "/pages/{page_id}/statistics/pages", "data", name="page_statistics"
)
USER_STATISTICS = Endpoint(
    "/api/public_api/v1",
    "/pages/{page_id}/statistics/users",
    "data",
    one_object=True,
    name="user_statistics",
)
