"""The tables: their columns, where each comes from in the reply, and what it means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dlt.common.data_types import TDataType
from dlt.common.schema.typing import TTableSchemaColumns


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Args:
        name: Name in the warehouse.
        data_type: dlt data type. `timestamp` is UTC with microseconds; `json` holds objects and lists.
        description: What it holds, for the data dictionary.
        field: Name in the API's row, when it differs; empty for a column that we fill.
    """

    name: str
    data_type: TDataType
    description: str
    field: str | None = None

    @property
    def source_field(self) -> str:
        """Name of the field in the API's row."""
        return self.name if self.field is None else self.field


@dataclass(frozen=True)
class Table:
    """One table of the warehouse.

    Args:
        name: Name in the warehouse.
        description: What one row is.
        key: Columns of the primary key, by which rows are merged.
        version: Columns that tell a newer row from an older one, most significant first.
        columns: All columns that the table always has.
    """

    name: str
    description: str
    key: tuple[str, ...]
    version: tuple[str, ...]
    columns: tuple[Column, ...]

    def hints(self) -> TTableSchemaColumns:
        """Return dlt column hints. Of two copies in one load the one read last is kept."""
        hints: TTableSchemaColumns = {}
        for column in self.columns:
            hint: dict[str, Any] = {
                "name": column.name,
                "data_type": column.data_type,
                "nullable": column.name not in self.key,
                "description": column.description,
            }
            if column.name == self.version[-1]:
                hint["dedup_sort"] = "desc"
            hints[column.name] = hint  # type: ignore[assignment]
        return hints


_PAGE_ID = Column("page_id", "text", "Page that the row belongs to.")
_SYNCED_AT = Column("synced_at", "timestamp", "When the call that read this row was sent.", "")
_EXTRA = Column(
    "extra", "json", "Fields without a column of their own, and values that do not fit their column.", ""
)

CONVERSATIONS = Table(
    "conversations",
    "One row per conversation: an inbox thread, a comment thread or a rating.",
    ("id",),
    ("updated_at", "synced_at"),
    (
        Column("id", "text", "Conversation. Opaque: never split it."),
        _PAGE_ID,
        Column("page_uid", "text", "Second id of the page, in the article's dialect."),
        Column("type", "text", "INBOX, COMMENT, RATING, … An open list."),
        Column("post_id", "text", "Post that was commented or rated."),
        Column("customer_id", "text", "Customer across all pages."),
        Column("customers", "json", "Customers of this page in the thread: `id`, `fb_id`, `name`."),
        Column("sender", "json", "Who began the thread: the API's `from`.", "from"),
        Column("page_customer", "json", "Customer as this page knows them, with notes."),
        Column("participants", "json", "People in the thread, in the article's dialect."),
        Column("snippet", "text", "Preview of the newest message."),
        Column("last_message", "json", "Newest message, in the article's dialect."),
        Column("last_sent_by", "json", "Who sent the newest message."),
        Column("message_count", "bigint", "Messages as Pancake counts them; off by a few."),
        Column("seen", "bool", "Whether staff have read the thread."),
        Column("has_phone", "bool", "Whether a phone number was found in it."),
        Column("recent_phone_numbers", "json", "Phone numbers found in it."),
        Column("tags", "json", "Tags as sent: ids or objects, null for a deleted tag."),
        Column("tag_histories", "json", "Tags added and removed, the last 100."),
        Column("assignee_ids", "json", "Staff to whom the thread is assigned."),
        Column("current_assign_users", "json", "The same, with names."),
        Column("assignee_group_id", "text", "Group to which the thread is assigned."),
        Column("assignee_histories", "json", "Assignments made and undone."),
        Column("ad_ids", "json", "Ads that led to the thread."),
        Column("ads", "json", "The same, with post and time."),
        Column("inserted_at", "timestamp", "When the thread began."),
        Column("updated_at", "timestamp", "Time of the newest message. Tag changes do not move it."),
        _SYNCED_AT,
        _EXTRA,
    ),
)

MESSAGES = Table(
    "messages",
    "One row per message.",
    ("id",),
    ("synced_at",),
    (
        Column("id", "text", "Message."),
        Column("conversation_id", "text", "Conversation that the message belongs to."),
        _PAGE_ID,
        Column("type", "text", "Type of its conversation."),
        Column("message", "text", "Text as HTML."),
        Column("original_message", "text", "Plain text; empty for media."),
        Column("sender", "json", "Who sent it: the API's `from`, with marks of staff and bots.", "from"),
        Column("sender_id", "text", "`sender.id`: the page's own id when the page answered.", ""),
        Column("sender_name", "text", "`sender.name`.", ""),
        Column("inserted_at", "timestamp", "When it was sent. The only stamp that a message has."),
        Column("attachments", "json", "Photos, stickers, replies, reactions, … Links expire."),
        Column("phone_info", "json", "Phone numbers found in it."),
        Column("message_tags", "json", "People mentioned in it."),
        Column("rich_message", "json", "Structured content."),
        Column("edit_history", "json", "Earlier texts."),
        Column("seen", "bool", "Whether it was read."),
        Column("has_phone", "bool", "Whether a phone number was found in it."),
        Column("is_hidden", "bool", "Hidden by the page."),
        Column("is_removed", "bool", "Removed; the row stays."),
        Column("removed_by", "json", "Who removed it."),
        Column("is_parent", "bool", "Whether a comment has answers below it."),
        Column("is_parent_hidden", "bool", "Whether the comment above is hidden."),
        Column("parent_id", "text", "Comment above."),
        Column("comment_count", "bigint", "Answers below a comment."),
        Column("like_count", "bigint", "Likes of a comment."),
        Column("user_likes", "bool", "Whether the page likes it."),
        Column("show_info", "bool", "Shown with details in the inbox."),
        Column("can_comment", "bool", "Whether it can be answered by a comment."),
        Column("can_hide", "bool", "Whether it can be hidden."),
        Column("can_like", "bool", "Whether it can be liked."),
        Column("can_remove", "bool", "Whether it can be removed."),
        Column("can_reply_privately", "bool", "Whether a private reply is possible."),
        Column("is_livestream_order", "bool", "Whether it is an order in a livestream."),
        Column("private_reply_conversation", "json", "Inbox thread that answered a comment."),
        _SYNCED_AT,
        _EXTRA,
    ),
)

COVERAGE = Table(
    "conversation_coverage",
    "One row per conversation: how much of its messages is in the warehouse.",
    ("conversation_id",),
    ("checked_at",),
    (
        Column("conversation_id", "text", "Conversation."),
        _PAGE_ID,
        Column("status", "text", "`complete`, or what the next run reads again: `partial`, `failed`."),
        Column("end_verified", "bool", "Whether the oldest message was proven by a further call."),
        Column("newest_message_at", "timestamp", "Newest message of the last complete read: the mark."),
        Column("oldest_message_at", "timestamp", "Oldest message read then or before."),
        Column("messages_read", "bigint", "Messages read, each once."),
        Column("message_count", "bigint", "Messages as Pancake counted them then; off by a few."),
        Column("attempts", "bigint", "Reads since the thread was last complete."),
        Column("last_error", "text", "Class of the error that ended the last read."),
        Column("checked_at", "timestamp", "When the last read began."),
    ),
)

TABLES = (CONVERSATIONS, MESSAGES, COVERAGE)
