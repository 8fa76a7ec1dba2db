"""How a page's data looks in JSON: the wide rows of a real page, and the simple rows of the tutorial.

Parts that vary between real rows without a pattern (absent keys, null or list, order of histories) vary here
by the row's id, so that each row always looks the same.
"""

from __future__ import annotations

import html
import re
import zlib
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from .dialect import Dialect
from .entities import Conversation, Message, Note, Row

if TYPE_CHECKING:
    from .model import FakePage

Stamp = Callable[[datetime], str]

VIETNAM = timezone(timedelta(hours=7))
PHONE = re.compile(r"000 000 \d{4}")
"""Only numbers that nobody can have are taken for phone numbers."""
HINT = "000 000 "
"""A text without this holds no such number; quicker to ask."""
TAG_HISTORY_LIMIT = 100  # entries kept, as the user manual says
SNIPPET_LENGTH = 80  # characters, invented


def _naive(at: datetime) -> str:
    return at.isoformat(timespec="microseconds")[:26]


def _z(at: datetime) -> str:
    return _naive(at) + "Z"


def _offset(at: datetime) -> str:
    return at.astimezone(VIETNAM).isoformat(timespec="microseconds")


def _short(at: datetime) -> str:
    return at.replace(tzinfo=None).isoformat()


_STAMPS: dict[str, tuple[Stamp, ...]] = {
    "naive": (_naive,),
    "z": (_z,),
    "offset": (_offset,),
    "mixed": (_naive, _z, _offset, _short),
}


def variety(text: str) -> int:
    """A number that looks random and is always the same for the same text."""
    return zlib.crc32(text.encode())


def stamp_style(dialect: Dialect, row_id: str) -> Stamp:
    """How the stamps of this row are written."""
    styles = _STAMPS[dialect.stamps]
    return styles[0] if len(styles) == 1 else styles[variety(row_id) % len(styles)]


def second(at: datetime) -> str:
    """A naive stamp without a fraction."""
    return _naive(at)[:19]


def conversation_row(page: FakePage, conversation: Conversation) -> Row:
    """One conversation as the page's dialect writes it."""
    write = _article_conversation if page.dialect.row_shape == "article" else _live_conversation
    return {**write(page, conversation), **conversation.drift}


def message_rows(page: FakePage, conversation: Conversation, messages: Iterable[Message]) -> list[Row]:
    """Messages as the page's dialect writes them, in the order given."""
    write = _article_message if page.dialect.row_shape == "article" else _live_message
    return [write(page, conversation, message) for message in messages]


def messages_envelope(page: FakePage, conversation: Conversation, messages: list[Row]) -> Row:
    """The whole body around message rows."""
    if page.dialect.row_shape == "article":
        return {"success": True, "messages": messages}
    return _live_envelope(page, conversation, messages)


# The simple rows.


def _article_conversation(page: FakePage, conversation: Conversation) -> Row:
    stamp = stamp_style(page.dialect, conversation.id)
    newest = conversation.messages[-1] if conversation.messages else None
    customer = {"id": conversation.customer_psid, "name": conversation.customer_name}
    return {
        "id": conversation.id,
        "page_id": page.page_id,
        "page_uid": page.uuid("page"),
        "type": conversation.type,
        "tags": [str(tag_id) for tag_id in conversation.tags if tag_id is not None],
        "inserted_at": stamp(conversation.inserted_at),
        "updated_at": stamp(conversation.updated_at),
        "last_message": newest
        and {
            "id": newest.id,
            "message": newest.text,
            "from": {"id": newest.from_id, "name": newest.from_name},
            "inserted_at": stamp(newest.inserted_at),
        },
        "participants": [customer, {"id": page.page_id, "name": page.name}],
    }


def _article_message(page: FakePage, conversation: Conversation, message: Message) -> Row:
    return {
        "id": message.id,
        "conversation_id": conversation.id,
        "page_id": page.page_id,
        "type": conversation.type,
        "message": message.text,
        "from": {"id": message.from_id, "name": message.from_name},
        "inserted_at": stamp_style(page.dialect, message.id)(message.inserted_at),
        "attachments": list(message.attachments),
        "is_hidden": message.is_hidden,
        "is_removed": message.is_removed,
        "has_phone": PHONE.search(message.text) is not None,
    }


# The wide rows: conversations.


def _live_conversation(page: FakePage, conversation: Conversation) -> Row:
    stamp = stamp_style(page.dialect, conversation.id)
    look = variety(conversation.id)
    messages = conversation.messages
    newest = messages[-1] if messages else None
    phones = [entry for message in messages if HINT in message.text for entry in phones_in(message)]
    row: Row = {
        "id": conversation.id,
        "type": conversation.type,
        "page_id": page.page_id,
        "post_id": conversation.post_id,
        "customer_id": conversation.customer_id,
        "customers": [_customer(conversation)],
        "from": _sender(page, conversation, messages[0]) if messages else _customer_sender(conversation),
        "page_customer": _page_customer(page, conversation, look),
        "snippet": (newest.text[:SNIPPET_LENGTH] or None) if newest else None,
        "seen": conversation.seen,
        "has_phone": bool(phones),
        "message_count": _message_count(page, conversation, look),
        "inserted_at": stamp(conversation.inserted_at),
        "updated_at": stamp(conversation.updated_at),
        "last_sent_by": _sender(page, conversation, newest) if newest else _customer_sender(conversation),
        "tags": [None if tag_id is None else tag_row(page, tag_id) for tag_id in conversation.tags],
        "tag_histories": _tag_histories(page, conversation, stamp, look),
        "assignee_ids": [page.staff[name] for name in conversation.assignees],
        "assignee_group_id": None,
        "assignee_histories": _assignee_histories(page, conversation, stamp),
        "current_assign_users": [_staff(page, name) for name in conversation.assignees],
        "recent_phone_numbers": phones[-3:],
    }
    if conversation.type == "INBOX" and (conversation.ad_id or look % 5):
        ad_id = conversation.ad_id
        row["ad_ids"] = [ad_id] if ad_id else []
        ad = {"ad_id": ad_id, "post_id": None, "inserted_at": second(conversation.inserted_at)}
        row["ads"] = [ad] if ad_id else []
    return row


def _customer(conversation: Conversation) -> Row:
    psid, name = conversation.customer_psid, conversation.customer_name
    return {"id": conversation.page_customer_id, "fb_id": psid, "name": name}


def _customer_sender(conversation: Conversation) -> Row:
    sender: Row = {"id": conversation.customer_psid, "name": conversation.customer_name}
    if conversation.type == "INBOX":
        sender["email"] = f"{conversation.customer_psid}@facebook.com"
    return sender


def _sender(page: FakePage, conversation: Conversation, message: Message) -> Row:
    if message.from_id != page.page_id:
        return _customer_sender(conversation)
    sender: Row = {"id": page.page_id, "name": page.name, "email": f"{page.page_id}@facebook.com"}
    if message.admin_name is not None:
        uid = page.staff[message.admin_name]
        sender |= {"uid": uid, "admin_id": uid, "admin_name": message.admin_name}
    return sender


def _page_customer(page: FakePage, conversation: Conversation, look: int) -> Row:
    return {
        "id": conversation.page_customer_id,
        "customer_id": conversation.customer_id,
        "name": conversation.customer_name,
        "psid": conversation.customer_psid,
        "gender": ("female", "male", None)[look % 3],
        "global_id": None,
        "birthday": {"date": 1 + look % 28, "month": 1 + look % 12, "year": 0} if look % 4 == 0 else None,
        "inserted_at": second(conversation.inserted_at),
        "notes": notes(page, conversation),
        "recent_orders": [] if look % 2 else None,
    }


def notes(page: FakePage, conversation: Conversation) -> list[Row] | None:
    """The notes about a customer, or None."""
    usual = (
        [Note(conversation.inserted_at, "Gọi lại sau giờ trưa ☎️")]
        if variety(conversation.id) % 6 == 0
        else []
    )
    name, uid = next(iter(page.staff.items()))
    return [
        {
            "id": page.uuid(f"note:{conversation.id}:{number}"),
            "message": note.text,
            "order_id": None,
            "created_at": int(note.at.timestamp() * 1000),
            "updated_at": None,
            "removed_at": None,
            "images": [],
            "links": [],
            "edit_history": [],
            "created_by": {"uid": uid, "fb_id": "1", "fb_name": name, "session_id": "invented-session"},
        }
        for number, note in enumerate([*usual, *conversation.notes])
    ] or None


def _message_count(page: FakePage, conversation: Conversation, look: int) -> int:
    count = len(conversation.messages)
    if page.dialect.message_count == "exact":
        return count
    return max(0, count + (0, 1, -1, 2, -2, -count)[look % 6])


def tag_row(page: FakePage, tag_id: int) -> Row:
    """A tag as an object."""
    text, color = page.tag_texts[tag_id]
    tag: Row = {"id": tag_id, "text": text, "color": color, "lighten_color": "#ecf0f1"}
    if tag_id % 3 == 0:
        tag["is_lead_event"] = False
    return tag


def _tag_histories(page: FakePage, conversation: Conversation, stamp: Stamp, look: int) -> list[Row]:
    editors = list(page.staff.items())
    entries: list[Row] = []
    for number, change in enumerate(conversation.tag_changes[-TAG_HISTORY_LIMIT:]):
        name, uid = editors[(look + number) % len(editors)]
        gone = {"id": None, "text": "Nhãn đã xóa", "color": "#7f8c8d", "lighten_color": "#ecf0f1"}
        entries.append(
            {
                "inserted_at": stamp(change.at),
                "conversation_id": conversation.id,
                "payload": {
                    "action": change.action,
                    "editor_id": uid,
                    "editor_name": name,
                    "tag": gone if change.tag_id is None else tag_row(page, change.tag_id),
                },
            }
        )
    return entries[::-1] if look % 2 else entries


def _staff(page: FakePage, name: str) -> Row:
    uid = page.staff[name]
    return {"id": uid, "name": name, "email": f"staff-{uid[:8]}@shop.example", "fb_id": str(variety(uid))}


def _assignee_histories(page: FakePage, conversation: Conversation, stamp: Stamp) -> list[Row]:
    return [
        {
            "inserted_at": stamp(change.at),
            "conversation_id": conversation.id,
            "payload": {
                "added_users": [{"id": page.staff[name], "name": name} for name in change.added],
                "deleted_users": [{"id": page.staff[name], "name": name} for name in change.removed],
            },
        }
        for change in conversation.assignee_changes
    ]


# The wide rows: messages.


def phones_in(message: Message) -> list[Row]:
    """The phone numbers in a text."""
    return [
        {
            "phone_number": "+84" + found.group().replace(" ", ""),
            "captured": found.group(),
            "m_id": message.id,
            "offset": found.start(),
            "length": len(found.group()),
            "status": 0,
        }
        for found in PHONE.finditer(message.text)
    ]


def _live_message(page: FakePage, conversation: Conversation, message: Message) -> Row:
    comment = conversation.type == "COMMENT"
    first = comment and conversation.messages[0] is message
    inner = html.escape(message.text, quote=False).replace("\n", "<br />")
    phones = phones_in(message) if HINT in message.text else []
    stamp = stamp_style(page.dialect, message.id)
    return {
        "id": message.id,
        "conversation_id": conversation.id,
        "page_id": page.page_id,
        "type": conversation.type,
        "message": f"<div>{inner}</div>",
        "original_message": message.text,
        "from": _sender(page, conversation, message),
        "inserted_at": stamp(message.inserted_at),
        "seen": conversation.seen,
        "show_info": False,
        "has_phone": bool(phones),
        "phone_info": phones,
        "attachments": list(message.attachments),
        "message_tags": [],
        "rich_message": None,
        "edit_history": [{"message": text} for text in message.edited] or None,
        "is_removed": message.is_removed,
        "removed_by": page.page_id if comment and message.is_removed else None,
        "is_hidden": message.is_hidden,
        "is_parent": first,
        "is_parent_hidden": False,
        "parent_id": None if not comment or first else conversation.messages[0].id,
        "comment_count": len(conversation.messages) - 1 if first else None,
        "like_count": 0 if comment else None,
        "user_likes": False,
        "can_comment": comment,
        "can_hide": comment,
        "can_like": comment,
        "can_remove": comment,
        "can_reply_privately": comment,
        "is_livestream_order": None,
        "private_reply_conversation": None,
    }


def _live_envelope(page: FakePage, conversation: Conversation, messages: list[Row]) -> Row:
    newest = conversation.messages[-1] if conversation.messages else None
    recent = conversation.messages[-30:]
    phones = [entry for message in recent if HINT in message.text for entry in phones_in(message)]
    reports = {entry["phone_number"]: {"order_fail": 0, "order_success": 1} for entry in phones}
    watermark = newest and {
        "psid": conversation.customer_psid,
        "message_id": newest.id,
        "watermark": int(newest.inserted_at.timestamp()),
        "is_group_conv": None,
    }
    return {
        "success": True,
        "messages": messages,
        "conversation_id": conversation.id,
        "conv_from": _customer_sender(conversation),
        "conv_customers": [_customer(conversation)],
        "customers": [_shop_profile(conversation)],
        "activities": [],
        "ad_clicks": {conversation.customer_id: None},
        "reports_by_phone": reports,
        "read_watermarks": [watermark] if watermark else [],
        "notes": notes(page, conversation),
        "recent_orders": [],
        "post": None,
        "gender": None,
        "birthday": None,
        "lives_in": None,
        "global_id": None,
        "can_inbox": True,
        "is_banned": False,
        "banned_by": None,
        "banned_count": 0,
        "reported_count": 0,
        "comment_count": 0,
        "last_commented_at": _naive(conversation.updated_at) if conversation.type == "COMMENT" else False,
        "profile_updated_at": None,
        "app": None,
        "allow_use_data_for_training_ai": False,
        "recent_phone_numbers": phones[-3:],
        "conv_phone_numbers": [entry["phone_number"] for entry in phones],
        "conv_recent_phone_numbers": phones[-3:],
        "available_for_report_phone_numbers": [],
        "suggested_posts": None,
        "matched_wa_fb_customers": None,
        "extra_info": {},
    }


def _shop_profile(conversation: Conversation) -> Row:
    return {
        "id": conversation.customer_id,
        "name": conversation.customer_name,
        "order_count": 0,
        "succeed_order_count": 0,
        "purchased_amount": 0,
        "reward_point": 0,
        "last_order_at": None,
        "emails": [],
        "tags": [],
        "shop_customer_addresses": [],
        "personal_info": {},
        "web_sources": [],
        "ad_clicks": [],
    }
