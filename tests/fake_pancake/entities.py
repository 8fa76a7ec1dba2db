"""What a page is made of: messages, conversations, and the histories of tags and assignees."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Row = dict[str, Any]


@dataclass(slots=True)
class Message:
    """One message.

    Attributes:
        text: plain text; empty for pictures only.
        admin_name: the member of staff who wrote it, None for customers and automatic rows.
        edited: earlier texts, oldest first.
    """

    id: str
    inserted_at: datetime
    text: str
    from_id: str
    from_name: str
    admin_name: str | None = None
    is_hidden: bool = False
    is_removed: bool = False
    edited: tuple[str, ...] = ()
    attachments: tuple[Row, ...] = ()


@dataclass(slots=True)
class TagChange:
    """One line of a conversation's tag history."""

    at: datetime
    action: str
    tag_id: int | None


@dataclass(slots=True)
class AssigneeChange:
    """One line of a conversation's assignee history; names of staff."""

    at: datetime
    added: tuple[str, ...]
    removed: tuple[str, ...]


@dataclass(slots=True)
class Note:
    """What staff wrote about a customer."""

    at: datetime
    text: str


@dataclass(slots=True)
class Post:
    """One post of the page.

    Attributes:
        likes: on top of those that its comments stand for.
    """

    id: str
    inserted_at: datetime
    text: str
    type: str = "photo"
    likes: int = 0


@dataclass(slots=True)
class Conversation:
    """One conversation.

    Attributes:
        tags: tag ids; None is a tag that was deleted from the page.
        customer_psid: the customer's id on this page, as in `from.id`.
        customer_id: the customer across pages.
        page_customer_id: the customer on this page.
        messages: oldest first.
        assignees: names of staff.
        notes: notes about its customer, oldest first.
        customer_updated_at: when the customer's profile last changed, if it did.
        deleted: set once it is gone from the page.
        drift: fields that lie over the row as sent, as if the API had changed.
    """

    id: str
    type: str
    inserted_at: datetime
    updated_at: datetime
    customer_psid: str
    customer_name: str
    customer_id: str
    page_customer_id: str
    post_id: str | None = None
    ad_id: str | None = None
    seen: bool = False
    deleted: bool = False
    tags: list[int | None] = field(default_factory=list)
    tag_changes: list[TagChange] = field(default_factory=list)
    assignees: list[str] = field(default_factory=list)
    assignee_changes: list[AssigneeChange] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    customer_updated_at: datetime | None = None
    drift: Row = field(default_factory=dict)

    def message(self, message_id: str) -> Message:
        """The message with this id."""
        for message in self.messages:
            if message.id == message_id:
                return message
        raise KeyError(message_id)
