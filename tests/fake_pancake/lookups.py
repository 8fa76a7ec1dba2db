"""The lists beside conversations and messages: tags, staff, posts, customers and the pages of a user."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from operator import ge, gt, le, lt
from typing import TYPE_CHECKING, Any

from .clock import EPOCH
from .replies import Query, RefusedError
from .rows import notes, phones_in, second, tag_row, variety

if TYPE_CHECKING:
    from .dialect import Dialect
    from .entities import Conversation, Post, Row
    from .model import FakePage

POSTS_AT_MOST = 30  # rows in a batch
CUSTOMERS_AT_MOST = 100
REACTIONS = ("like_count", "love_count", "haha_count", "wow_count", "sad_count", "angry_count")


def tags(page: FakePage, query: Query, conversation_id: str | None) -> dict[str, Any]:
    """The body of one answer to `tags`, which has no `success`."""
    with page.lock:
        return {"tags": [tag_row(page, tag_id) for tag_id in page.tag_texts]}


def users(page: FakePage, query: Query, conversation_id: str | None) -> dict[str, Any]:
    """The body of one answer to `users`."""
    with page.lock:
        active = [name for name in page.staff if name not in page.disabled_staff]
        return {
            "success": True,
            "users": [_user(page, name) for name in active],
            "disabled_users": [
                {"id": page.staff[name], "name": name, "fb_id": str(variety(page.staff[name]))}
                for name in page.staff
                if name in page.disabled_staff
            ],
            "round_robin_users": {
                "inbox": [page.staff[name] for name in active],
                "comment": [page.staff[name] for name in active[:1]],
            },
        }


def _user(page: FakePage, name: str) -> Row:
    uid = page.staff[name]
    look = variety(uid)
    return {
        "id": uid,
        "name": name,
        "status": "available" if look % 2 else "busy",
        "fb_id": str(look),
        "page_permissions": {"permissions": [100, 71, 81]} if look % 3 else None,
        "status_in_page": "available",
        "is_online": look % 2 == 0,
        "phone_number": page.staff_phone(name),
    }


def posts(page: FakePage, query: Query, conversation_id: str | None) -> dict[str, Any]:
    """The body of one answer to `posts`."""
    with page.lock:
        within = _window(page, query)
        found = [post for post in page.posts.values() if within(post.inserted_at)]
        if wanted := query.one("type"):
            found = [post for post in found if post.type == wanted]
        found.sort(key=lambda post: (post.inserted_at, post.id), reverse=True)
        batch = _numbered(page, found, query, POSTS_AT_MOST)
        return {"success": True, "total": len(found), "posts": [_post(page, post) for post in batch]}


def _post(page: FakePage, post: Post) -> Row:
    comments = [
        message
        for conversation in page.conversations.values()
        if conversation.post_id == post.id
        for message in conversation.messages
    ]
    shares = [variety(f"{post.id}:{name}") % 5 for name in REACTIONS]
    reactions = dict(zip(REACTIONS, shares, strict=True))
    reactions["like_count"] += len(comments) + post.likes
    return {
        "id": post.id,
        "page_id": page.page_id,
        "from": {"id": page.page_id, "name": page.name},
        "message": post.text,
        "type": post.type,
        "inserted_at": second(post.inserted_at),
        "comment_count": len(comments),
        "phone_number_count": sum(len(phones_in(message)) for message in comments),
        "reactions": reactions,
    }


def page_customers(page: FakePage, query: Query, conversation_id: str | None) -> dict[str, Any]:
    """The body of one answer to `page_customers`."""
    order_by = query.one("order_by") or "inserted_at"
    if order_by not in ("inserted_at", "updated_at"):
        raise RefusedError(500, "Internal server error")
    stamp = customer_updated_at if order_by == "updated_at" else _customer_inserted_at
    spanned = _customer_inserted_at if page.dialect.customers_window_field == "inserted_at" else stamp
    with page.lock:
        within = _window(page, query)
        found = [customer for customer in page.customers.values() if within(spanned(customer))]
        found.sort(key=lambda customer: (stamp(customer), customer.page_customer_id), reverse=True)
        batch = _numbered(page, found, query, CUSTOMERS_AT_MOST)
        rows = [customer_row(page, customer) for customer in batch]
        return {"success": True, "total": len(found), "customers": rows}


def customer_updated_at(customer: Conversation) -> datetime:
    """When the customer's profile last changed, in whole seconds."""
    return (customer.customer_updated_at or customer.inserted_at).replace(microsecond=0)


def _customer_inserted_at(customer: Conversation) -> datetime:
    return customer.inserted_at.replace(microsecond=0)


def customer_row(page: FakePage, customer: Conversation) -> Row:
    """One customer as the list gives it."""
    look = variety(customer.id)
    phones = {found["captured"] for message in customer.messages for found in phones_in(message)}
    row = {
        "id": customer.page_customer_id,
        "customer_id": customer.customer_id,
        "name": customer.customer_name,
        "psid": customer.customer_psid,
        "thread_id": None,
        "birthday": f"{1970 + look % 40}-00-00" if look % 4 == 0 else None,
        "gender": ("female", "male", None)[look % 3],
        "can_inbox": True,
        "phone_numbers": sorted(phones),
        "notes": notes(page, customer),
        "recent_orders": [] if look % 2 else None,
        "inserted_at": second(_customer_inserted_at(customer)),
        "updated_at": second(customer_updated_at(customer)),
    }
    return row if look % 5 else {**row, "lives_in": None}


def page_list(pages: list[FakePage], dialect: Dialect) -> dict[str, Any]:
    """The body of one answer to `/api/v1/pages`, with the secrets that the real one holds."""
    activated = [_page(page) for page in pages if page.is_activated]
    inactivated = [_page(page) for page in pages if not page.is_activated]
    if dialect.page_list == "pages":
        return {"success": True, "pages": [*activated, *inactivated]}
    return {
        "success": True,
        "categorized": {
            "activated": activated,
            "activated_page_ids": [row["id"] for row in activated],
            "hidden": [],
            "inactivated": inactivated,
            "nopermission": [],
        },
    }


def _page(page: FakePage) -> Row:
    return {
        "id": page.page_id,
        "name": page.name,
        "username": f"tiem.{page.page_id}",
        "platform": "facebook",
        "timezone": float(page.utc_offset_hours) if variety(page.page_id) % 2 else page.utc_offset_hours,
        "country": "VN",
        "shop_id": variety(page.page_id),
        "is_activated": page.is_activated,
        "role_in_page": "ADMINISTER",
        "inserted_at": "2025-01-02T03:04:05",
        "permissions": {"edit_tag": True},
        "platform_extra_info": {},
        "settings": {"page_access_token": page.token, "auto_create_order": False},
        "users": [
            {"id": uid, "name": name, "fb_id": str(variety(uid)), "phone_number": page.staff_phone(name)}
            for name, uid in page.staff.items()
        ],
        "active_user_ids": [uid for name, uid in page.staff.items() if name not in page.disabled_staff],
    }


def moment(query: Query, name: str) -> datetime:
    """A moment that a call must name, in unix seconds."""
    seconds = query.number(name)
    if seconds is None:
        raise RefusedError(200, f"{name} is required")
    try:
        return EPOCH + timedelta(seconds=seconds)
    except OverflowError:
        raise RefusedError(500, "Internal server error") from None


def _window(page: FakePage, query: Query) -> Callable[[datetime], bool]:
    since, until = moment(query, "since"), moment(query, "until")
    late_enough = ge if page.dialect.since_inclusive else gt
    early_enough = le if page.dialect.until_inclusive else lt
    return lambda stamp: late_enough(stamp, since) and early_enough(stamp, until)


def _numbered(page: FakePage, rows: list[Any], query: Query, at_most: int) -> list[Any]:
    number, size = query.number("page_number"), query.number("page_size") or at_most
    if number is None:
        raise RefusedError(200, "page_number is required")
    if number < 1 or size > at_most:
        raise RefusedError(500, "Internal server error")
    if page.dialect.ignores_page_number:
        number = 1
    return rows[(number - 1) * size : number * size]
