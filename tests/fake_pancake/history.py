"""Pasts and changes for a page: believable ones, wild ones and large ones."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from random import Random
from typing import TYPE_CHECKING

from . import phrases
from .entities import Conversation, Message, Row

if TYPE_CHECKING:
    from .model import FakePage

SHOP_ZONE = timezone(timedelta(hours=7))
OPENS, CLOSES = 8, 21  # hours in SHOP_ZONE
LONG_THREAD_EVERY = 60  # conversations; so a few in a populate() of 300
LONG_THREAD = (61, 140)  # messages
NEVER_ANSWERED = 1  # the number of the conversation in which only the customer writes
GROW_SPAN = timedelta(days=14)
FEWEST = 2  # conversations that churn() keeps on a page


def populate(page: FakePage, *, days: float, conversations: int, messages: tuple[int, int]) -> None:
    """Add conversations that began within the last `days`, none of them reaching past now."""
    random = Random(f"{page.seed}:populate")
    with page.lock:
        now = page.now()
        for number in range(conversations):
            _believable(page, random, number, now=now, days=days, messages=messages)


def _believable(
    page: FakePage, random: Random, number: int, *, now: datetime, days: float, messages: tuple[int, int]
) -> None:
    long = number % LONG_THREAD_EVERY == LONG_THREAD_EVERY - 10
    begin = now - timedelta(days=days)
    if long:
        begin += timedelta(days=days) * random.uniform(0, 0.3)
    else:
        begin = _open_hour(random, begin + timedelta(days=days) * random.random())
        begin = min(begin, now - timedelta(seconds=90))
    count = random.randint(*(LONG_THREAD if long else messages))
    kind = "COMMENT" if number % 60 in (11, 31, 51) else "RATING" if number % 60 == 41 else "INBOX"
    conversation = page.open_conversation(_fraction(random, begin), type=kind, id=_odd_id(page, number))
    times = _times(random, conversation.inserted_at, now, hurried=long)
    if conversation.ad_id is not None:
        page.put_message(conversation, _ad_click(page, conversation, next(times)[0]))
    for at, customers_turn in times:
        if len(conversation.messages) >= (1 if kind == "RATING" else count):
            break
        from_customer = customers_turn or number == NEVER_ANSWERED or kind == "RATING"
        review = random.choice(phrases.REVIEWS) if kind == "RATING" else None
        says = phrases.CUSTOMER_SAYS if from_customer else phrases.SHOP_SAYS
        attachments = () if kind == "RATING" else _attachments(random)
        text = "" if attachments and random.random() < 0.7 else review or random.choice(says)
        page.add_message(
            conversation.id, at=at, text=text, from_customer=from_customer, attachments=attachments
        )
    _dress(page, random, conversation)


def _times(
    random: Random, begin: datetime, now: datetime, *, hurried: bool
) -> Iterator[tuple[datetime, bool]]:
    """When messages fall and whose turn it is, strictly rising, up to now."""
    at, customers_turn = begin, True
    while at <= now:
        yield at, customers_turn
        customers_turn = random.random() < (0.35 if customers_turn else 0.75)
        if hurried:
            gap = timedelta(seconds=random.uniform(2, 90))
        elif customers_turn:
            gap = timedelta(minutes=random.uniform(0.2, 30)) * (40 if random.random() < 0.06 else 1)
        else:
            gap = timedelta(minutes=random.uniform(0.3, 15))
        later = at + max(gap, timedelta(seconds=1))
        at = _fraction(random, later if hurried or customers_turn else _open_hour(random, later))


def _open_hour(random: Random, at: datetime) -> datetime:
    """The moment itself, or the next morning's opening when the shop is closed."""
    local = at.astimezone(SHOP_ZONE)
    if OPENS <= local.hour < CLOSES:
        return at
    morning = local.replace(hour=OPENS, minute=0, second=0, microsecond=0)
    if local.hour >= CLOSES:
        morning += timedelta(days=1)
    return (morning + timedelta(minutes=random.uniform(0, 40))).astimezone(timezone.utc)


def _fraction(random: Random, at: datetime) -> datetime:
    """A whole second for near half of the stamps, whole milliseconds for the others."""
    return at.replace(microsecond=0 if random.random() < 0.45 else at.microsecond // 1000 * 1000)


def _odd_id(page: FakePage, number: int) -> str | None:
    """Ids of other platforms now and then: they hold characters that a URL path must not."""
    if number % 60 == 5:
        return f"tt_0:1:{page.page_id[-5:]}{page.conversations_made:05d}.7:x"
    if number % 60 == 25:
        return f"wa_0000{page.conversations_made:05d}@c.us_{page.page_id[-9:]}@c.us"
    return None


def _ad_click(page: FakePage, conversation: Conversation, at: datetime) -> Message:
    click: Row = {
        "type": "ad_click",
        "ad_id": conversation.ad_id,
        "click_from": "ads",
        "name": "Quảng cáo hàng mới",
        "url": "https://cdn.example/ad",
        "post_attachments": [],
    }
    message_id = f"{page.next_message_id(conversation)}.0"
    return Message(message_id, at, "", page.page_id, page.name, attachments=(click,))


def _attachments(random: Random) -> tuple[Row, ...]:
    number = random.randrange(1_000_000)
    if number % 12 == 0:
        size = {"width": 720, "height": 960}
        return ({"type": "photo", "url": f"https://cdn.example/{number}.jpg", "image_data": size},)
    if number % 31 == 0:
        return ({"type": "sticker", "url": f"https://cdn.example/sticker/{number}.png"},)
    return ()


def _dress(page: FakePage, random: Random, conversation: Conversation) -> None:
    """Tags (deleted ones too), assignees and read marks, as the years leave them."""
    tags: list[int | None] = list(random.sample(sorted(page.tag_texts), random.choice((0, 0, 1, 1, 2, 3))))
    if random.random() < 0.6:
        tags.insert(random.randint(0, len(tags)), None)
    page.set_tags(conversation.id, tags)
    for change in conversation.tag_changes:
        change.at = conversation.inserted_at + (page.now() - conversation.inserted_at) * random.random()
    if random.random() < 0.2:
        page.assign(conversation.id, random.choice(phrases.STAFF))
    if random.random() < 0.5:
        page.mark_seen(conversation.id)


def churn(page: FakePage, random: Random, steps: int) -> None:
    """Make changes of all kinds, one after the other."""
    weights, changes = zip(*_CHANGES, strict=True)
    for change in random.choices(changes, weights=weights, k=steps):
        with page.lock:
            if len(page.conversations) < FEWEST:
                _begin(page, random, "")
            change(page, random, random.choice(list(page.conversations)))


def _begin(page: FakePage, random: Random, conversation_id: str) -> None:
    page.add_conversation(type=random.choice(("INBOX",) * 9 + ("COMMENT",)))


def _say(page: FakePage, random: Random, conversation_id: str) -> None:
    page.add_message(conversation_id, from_customer=random.random() < 0.6)


def _tag(page: FakePage, random: Random, conversation_id: str) -> None:
    page.set_tags(conversation_id, random.sample([*sorted(page.tag_texts), None], random.randint(0, 3)))


def _assign(page: FakePage, random: Random, conversation_id: str) -> None:
    page.assign(conversation_id, random.choice(sorted(page.staff)))


def _see(page: FakePage, random: Random, conversation_id: str) -> None:
    page.mark_seen(conversation_id, not page.conversations[conversation_id].seen)


def _delete(page: FakePage, random: Random, conversation_id: str) -> None:
    page.delete_conversation(conversation_id)


def _edit(page: FakePage, random: Random, conversation_id: str) -> None:
    if message_id := _any_message(page, random, conversation_id):
        page.edit_message(conversation_id, message_id, f"{random.choice(phrases.SHOP_SAYS)} (đã sửa)")


def _hide(page: FakePage, random: Random, conversation_id: str) -> None:
    if message_id := _any_message(page, random, conversation_id):
        page.hide_message(conversation_id, message_id)


def _remove(page: FakePage, random: Random, conversation_id: str) -> None:
    if message_id := _any_message(page, random, conversation_id):
        page.remove_message(conversation_id, message_id)


def _vanish(page: FakePage, random: Random, conversation_id: str) -> None:
    if message_id := _any_message(page, random, conversation_id):
        page.vanish_message(conversation_id, message_id)


def _any_message(page: FakePage, random: Random, conversation_id: str) -> str | None:
    messages = page.conversations[conversation_id].messages
    return random.choice(messages).id if messages else None


_CHANGES = (
    (42, _say),
    (14, _begin),
    (12, _tag),
    (8, _edit),
    (5, _hide),
    (5, _remove),
    (4, _vanish),
    (4, _assign),
    (4, _see),
    (2, _delete),
)
"""Weight and kind of the changes in churn()."""


def grow(page: FakePage, conversations: int, messages_each: int) -> None:
    """Add plain INBOX conversations, their newest messages spread evenly over GROW_SPAN."""
    minute, millisecond = timedelta(minutes=1), timedelta(milliseconds=1)
    staff = tuple(page.staff)
    with page.lock:
        now = page.now()
        for number in range(conversations):
            newest = now - (GROW_SPAN * number / conversations) // millisecond * millisecond
            conversation = page.open_conversation(newest - minute * max(messages_each - 1, 0))
            customer = (conversation.customer_psid, conversation.customer_name, None, phrases.CUSTOMER_SAYS)
            shop = (page.page_id, page.name, staff[number % len(staff)], phrases.SHOP_SAYS)
            for turn in range(messages_each):
                from_id, from_name, admin_name, says = shop if turn % 2 else customer
                conversation.messages.append(
                    Message(
                        page.next_message_id(conversation),
                        conversation.inserted_at + minute * turn,
                        says[(number + turn) % len(says)],
                        from_id,
                        from_name,
                        admin_name,
                    )
                )
            conversation.updated_at = newest
