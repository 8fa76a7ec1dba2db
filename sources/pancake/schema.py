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


@dataclass(frozen=True, eq=False)  # one object a table: compared, and hashed, as such
class Table:
    """One table of the warehouse.

    Args:
        name: Name in the warehouse.
        description: What one row is.
        key: Columns of the primary key, by which rows are merged.
        version: Columns that tell a newer row from an older one, most significant first; none when rows never
            change.
        columns: All columns that the table always has.
        merged: How rows are merged, in words, when it is not that the newer version stays.
    """

    name: str
    description: str
    key: tuple[str, ...]
    version: tuple[str, ...]
    columns: tuple[Column, ...]
    merged: str = ""

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
            if column.name in self.version[-1:]:
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

_LAST_SEEN_AT = Column("last_seen_at", "timestamp", "When Pancake last listed it.", "")
_IS_LISTED = Column("is_listed", "bool", "Whether Pancake still lists it; the row stays.", "")
_CONVERSATION_ID = Column("conversation_id", "text", "Conversation.")
_READ_WITH = Column("synced_at", "timestamp", "When the call that read the conversation was sent.", "")
_AS_A_SET = "The rows of a conversation are replaced together, by those of a later `synced_at`."
_ONCE = "A row stays as it was first read."

TAGS = Table(
    "tags",
    "One row per tag of the page, those too that were deleted since.",
    ("page_id", "id"),
    ("synced_at",),
    (
        _PAGE_ID,
        Column("id", "text", "Tag; unique on its page only."),
        Column("text", "text", "Its words."),
        Column("color", "text", "Its colour."),
        Column("lighten_color", "text", "A lighter shade of it."),
        Column("is_lead_event", "bool", "Whether it marks a lead."),
        Column("is_deactive", "bool", "Whether it is out of use."),
        _IS_LISTED,
        _LAST_SEEN_AT,
        _SYNCED_AT,
        _EXTRA,
    ),
)

USERS = Table(
    "users",
    "One row per member of staff, disabled and former ones too. Phone numbers and tokens are left out.",
    ("page_id", "id"),
    ("synced_at",),
    (
        _PAGE_ID,
        Column("id", "text", "Member of staff: `sender.uid` of messages, `assignee_ids` of conversations."),
        Column("name", "text", "Name."),
        Column("fb_id", "text", "Facebook id."),
        Column("status", "text", "State of the account."),
        Column("status_in_page", "text", "State on this page."),
        Column("is_online", "bool", "Whether online when the row was read."),
        Column("permissions", "json", "Numbers of the permissions on this page.", ""),
        Column("is_disabled", "bool", "Whether the account is disabled on this page.", ""),
        Column("in_inbox_round_robin", "bool", "Whether inbox threads are dealt out to them.", ""),
        Column("in_comment_round_robin", "bool", "Whether comment threads are dealt out to them.", ""),
        _IS_LISTED,
        _LAST_SEEN_AT,
        _SYNCED_AT,
    ),
)

PAGES = Table(
    "pages",
    "One row per page that is loaded. Without `user_access_token` only its id is known.",
    ("page_id",),
    ("synced_at",),
    (
        Column("page_id", "text", "Page.", "id"),
        Column("name", "text", "Name."),
        Column("username", "text", "Name in its address."),
        Column("platform", "text", "facebook, instagram_official, … An open list."),
        Column("utc_offset_minutes", "bigint", "Minutes by which its clock is ahead of UTC.", ""),
        Column("country", "text", "Country."),
        Column("shop_id", "text", "Shop in Pancake POS."),
        Column("is_activated", "bool", "Whether Pancake serves it."),
        Column("role_in_page", "text", "Role of the user whose token was used."),
        Column("inserted_at", "timestamp", "When it was connected."),
        _SYNCED_AT,
    ),
)

CONVERSATION_TAGS = Table(
    "conversation_tags",
    "One row per tag that a conversation carries now. A tag that is taken off takes its row along.",
    ("page_id", "conversation_id", "tag_id"),
    ("synced_at",),
    (
        _PAGE_ID,
        _CONVERSATION_ID,
        Column("tag_id", "text", "Tag: `tags.id` of the same page."),
        _READ_WITH,
    ),
    _AS_A_SET,
)

CONVERSATION_ASSIGNEES = Table(
    "conversation_assignees",
    "One row per member of staff to whom a conversation is assigned now.",
    ("page_id", "conversation_id", "user_id"),
    ("synced_at",),
    (
        _PAGE_ID,
        _CONVERSATION_ID,
        Column("user_id", "text", "Member of staff: `users.id` of the same page."),
        _READ_WITH,
    ),
    _AS_A_SET,
)

CONVERSATION_ADS = Table(
    "conversation_ads",
    "One row per ad that led to a conversation.",
    ("page_id", "conversation_id", "ad_id"),
    ("synced_at",),
    (
        _PAGE_ID,
        _CONVERSATION_ID,
        Column("ad_id", "text", "Ad."),
        Column("post_id", "text", "Post that the ad shows."),
        Column("inserted_at", "timestamp", "When the ad led here."),
        _READ_WITH,
    ),
    _AS_A_SET,
)

TAG_EVENTS = Table(
    "tag_events",
    "One row per tag put on or taken off. Pancake lists the last 100 of a conversation; loaded ones stay.",
    ("id",),
    ("synced_at",),
    (
        Column("id", "text", "Hash of conversation, time, action and place among its like.", ""),
        _PAGE_ID,
        _CONVERSATION_ID,
        Column("action", "text", "`add` or `remove`."),
        Column("tag_id", "text", "Tag: `tags.id`; null when it was deleted before the event was first read."),
        Column("tag_text", "text", "Its words."),
        Column("editor_id", "text", "Who did it: `users.id`."),
        Column("editor_name", "text", "Their name."),
        Column("inserted_at", "timestamp", "When."),
        _READ_WITH,
    ),
    _ONCE,
)

ASSIGNEE_EVENTS = Table(
    "assignee_events",
    "One row per assignment made or undone.",
    ("id",),
    ("synced_at",),
    (
        Column("id", "text", "Hash of conversation, time, action and place among its like.", ""),
        _PAGE_ID,
        _CONVERSATION_ID,
        Column("action", "text", "`add` or `remove`."),
        Column("user_id", "text", "Member of staff: `users.id`."),
        Column("user_name", "text", "Their name."),
        Column("inserted_at", "timestamp", "When."),
        _READ_WITH,
    ),
    _ONCE,
)

POSTS = Table(
    "posts",
    "One row per post of the page.",
    ("page_id", "id"),
    ("synced_at",),
    (
        _PAGE_ID,
        Column("id", "text", "Post: `post_id` of conversations."),
        Column("type", "text", "photo, video, text, livestream, rating, … An open list."),
        Column("message", "text", "Its text."),
        Column("author", "json", "Who posted it: the API's `from`.", "from"),
        Column("comment_count", "bigint", "Comments below it."),
        Column("phone_number_count", "bigint", "Phone numbers in its comments."),
        Column("reactions", "json", "Reactions by kind: `like_count`, `love_count` and more."),
        Column("inserted_at", "timestamp", "When it was posted."),
        _SYNCED_AT,
        _EXTRA,
    ),
)

PAGE_CUSTOMERS = Table(
    "page_customers",
    "One row per customer of the page.",
    ("page_id", "id"),
    ("updated_at", "synced_at"),
    (
        _PAGE_ID,
        Column(
            "id", "text", "Customer on this page: `page_customer.id` and `customers.id` of conversations."
        ),
        Column("customer_id", "text", "Customer across all pages: `customer_id` of conversations."),
        Column("psid", "text", "Id on the page's platform."),
        Column("thread_id", "text", "Thread on the page's platform."),
        Column("name", "text", "Name."),
        Column("birthday", "text", "As sent: 00 stands for an unknown part, so it is no date."),
        Column("gender", "text", "Gender, mostly unknown."),
        Column("lives_in", "text", "Place, mostly unknown."),
        Column("can_inbox", "bool", "Whether the page can write to them."),
        Column("phone_numbers", "json", "Phone numbers."),
        Column("emails", "json", "Addresses."),
        Column("notes", "json", "What staff wrote about them."),
        Column("recent_orders", "json", "Recent orders."),
        Column("inserted_at", "timestamp", "When the page first knew them."),
        Column("updated_at", "timestamp", "When the profile last changed; a note changes it."),
        _SYNCED_AT,
        _EXTRA,
    ),
)

_HOUR = Column("hour", "text", "Begin of the hour in the page's time zone, as sent.")
_HOUR_IN_INTEGER = Column("hour_in_integer", "text", "The same in UTC, as sent: YYYYMMDDHHMMSS.")

PAGE_STATISTICS = Table(
    "page_statistics",
    "One row per hour in which something happened on the page.",
    ("page_id", "hour_utc"),
    ("synced_at",),
    (
        _PAGE_ID,
        Column("hour_utc", "timestamp", "Begin of the hour: `hour` less `page_utc_offset_hours`.", ""),
        _HOUR,
        Column("customer_inbox_count", "bigint", "Inbox messages of customers."),
        Column("customer_comment_count", "bigint", "Comments of customers."),
        Column("page_inbox_count", "bigint", "Inbox messages of the page."),
        Column("page_comment_count", "bigint", "Comments of the page."),
        Column("inbox_interactive_count", "bigint", "Customers who wrote to the inbox."),
        Column("new_customer_count", "bigint", "New customers."),
        Column("new_inbox_count", "bigint", "New inbox threads."),
        Column("phone_number_count", "bigint", "Phone numbers received."),
        Column("uniq_phone_number_count", "bigint", "The same, each number once."),
        Column("today_uniq_website_referral", "bigint", "Visitors from the website who are known."),
        Column("today_website_guest_referral", "bigint", "Visitors from the website who are guests."),
        _SYNCED_AT,
        _EXTRA,
    ),
)

USER_STATISTICS = Table(
    "user_statistics",
    "One row per member of staff and hour in which they did something.",
    ("page_id", "user_id", "hour_utc"),
    ("synced_at",),
    (
        _PAGE_ID,
        Column("user_id", "text", "Member of staff: `users.id` of the same page."),
        Column("hour_utc", "timestamp", "Begin of the hour, from `hour_in_integer`.", ""),
        _HOUR,
        _HOUR_IN_INTEGER,
        Column("user_name", "text", "Their name."),
        Column("user_fb_id", "text", "Their Facebook id."),
        Column("inbox_count", "bigint", "Inbox messages sent."),
        Column("comment_count", "bigint", "Comments sent."),
        Column("unique_inbox_count", "bigint", "Inbox threads answered."),
        Column("unique_comment_count", "bigint", "Comment threads answered."),
        Column("private_reply_count", "bigint", "Comments answered in the inbox."),
        Column("phone_number_count", "bigint", "Phone numbers received."),
        Column("order_count", "bigint", "Orders made."),
        Column(
            "average_response_time_s",
            "bigint",
            "Mean wait of customers in seconds; null where nothing was measured, which Pancake sends as 0.",
            "average_response_time",
        ),
        _SYNCED_AT,
        _EXTRA,
    ),
)

TABLES = (
    CONVERSATIONS,
    MESSAGES,
    COVERAGE,
    TAGS,
    USERS,
    PAGES,
    CONVERSATION_TAGS,
    CONVERSATION_ASSIGNEES,
    CONVERSATION_ADS,
    TAG_EVENTS,
    ASSIGNEE_EVENTS,
    POSTS,
    PAGE_CUSTOMERS,
    PAGE_STATISTICS,
    USER_STATISTICS,
)
