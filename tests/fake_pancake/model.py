"""One page of a shop, in memory: its conversations, their messages, and everything that changes them.

One law holds: a conversation's `updated_at` is the time of the newest message that it ever had. Tags,
assignees, read marks, edits, hides and removals move no stamp.
"""

from __future__ import annotations

import bisect
import threading
import time
import uuid
import zlib
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from operator import attrgetter
from random import Random

from . import history, phrases, rows
from .clock import Clock
from .dialect import LIVE, Dialect
from .entities import AssigneeChange, Conversation, Message, Note, Post, Row, TagChange

__all__ = ["Conversation", "FakePage", "Message"]

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
POSTS_PER_PAGE = 5
IDS = uuid.UUID("00000000-0000-4000-8000-000000000000")
"""Namespace of every derived uuid."""


class FakePage:
    """A page. Every change takes `lock`, so threads may change it while others read.

    Attributes:
        conversations: by id, in no order that means anything.
        tag_texts: tag id -> text and colour.
        staff: name -> uuid.
        disabled_staff: names of those who have left.
        posts: by id.
        customers: by their id on this page, those of deleted conversations too.
        utc_offset_hours: the page's time zone.
        is_activated: whether Pancake serves the page.
        conversations_made, messages_made: how many ever, deleted ones too.
    """

    def __init__(
        self,
        page_id: str = "100000000000001",
        token: str = "page-token-for-tests",
        *,
        dialect: Dialect = LIVE,
        seed: int = 0,
        clock: Clock = time,
    ) -> None:
        self.page_id = page_id
        self.token = token
        self.dialect = dialect
        self.seed = seed
        self.clock = clock
        self.name = phrases.PAGE_NAME
        self.lock = threading.RLock()
        self.conversations: dict[str, Conversation] = {}
        self.tag_texts: dict[int, tuple[str, str]] = dict(phrases.TAGS)
        self.staff = {name: self.uuid(f"staff:{name}") for name in phrases.STAFF}
        self.disabled_staff = {phrases.STAFF[-1]}
        self.posts: dict[str, Post] = {}
        self.customers: dict[str, Conversation] = {}
        self.utc_offset_hours = 7
        self.is_activated = True
        self._churn = Random(f"{seed}:churn")
        self._serial = zlib.crc32(page_id.encode()) % 1_000_000
        self.conversations_made = 0
        self.messages_made = 0

    def now(self) -> datetime:
        """The present, aware, in UTC, in whole milliseconds as the API keeps it."""
        at = datetime.fromtimestamp(self.clock.time(), timezone.utc)
        return at.replace(microsecond=at.microsecond // 1000 * 1000)

    def uuid(self, name: str) -> str:
        """The uuid that this page derives from a name: always the same."""
        return str(uuid.uuid5(IDS, f"{self.page_id}:{name}"))

    # Conversations.

    def add_conversation(
        self,
        *,
        at: datetime | None = None,
        type: str = "INBOX",  # noqa: A002  (the API's word)
        id: str | None = None,  # noqa: A002
        messages: int = 1,
        text: str | None = None,
        tags: Iterable[int | None] = (),
    ) -> Conversation:
        """Add a conversation whose newest message is stamped `at`; older ones lie a minute apart before it.

        Args:
            at: aware; now when left out.
            messages: how many, the customer and the shop by turns, the customer first.
            text: the text of each message.
        """
        with self.lock:
            newest = self._moment(at)
            conversation = self.open_conversation(newest - MINUTE * max(messages - 1, 0), type=type, id=id)
            for back in range(messages - 1, -1, -1):
                self.add_message(
                    conversation.id,
                    at=newest - MINUTE * back,
                    text=text,
                    from_customer=(messages - back) % 2 == 1,
                )
            self._change_tags(conversation, list(tags), newest)
            return conversation

    def open_conversation(
        self,
        at: datetime,
        *,
        type: str = "INBOX",  # noqa: A002
        id: str | None = None,  # noqa: A002
        name: str | None = None,
    ) -> Conversation:
        """Add a conversation without messages."""
        with self.lock:
            self.conversations_made += 1
            number = self.conversations_made
            psid = f"7{self._serial:06d}{number:09d}"
            post_no = f"8{self._serial:06d}{number % POSTS_PER_PAGE:03d}"
            ad_id = f"12{self._serial:06d}{number % 7:06d}"
            conversation_id = id or (f"{post_no}_{psid}" if type == "COMMENT" else f"{self.page_id}_{psid}")
            if conversation_id in self.conversations:
                raise ValueError(f"there is a conversation {conversation_id} already")
            conversation = Conversation(
                id=conversation_id,
                type=type,
                inserted_at=at,
                updated_at=at,
                customer_psid=psid,
                customer_name=name or _name_number(number),
                customer_id=str(uuid.uuid5(IDS, psid)),
                page_customer_id=self.uuid(psid),
                post_id=None if type == "INBOX" else f"{self.page_id}_{post_no}",
                ad_id=ad_id if type == "INBOX" and number % 9 == 0 else None,
            )
            self.conversations[conversation_id] = conversation
            self.customers[conversation.page_customer_id] = conversation
            if conversation.post_id is not None:
                post = self.posts.get(conversation.post_id) or self.add_post(
                    at=at - HOUR, id=conversation.post_id
                )
                post.inserted_at = min(post.inserted_at, at - HOUR)
            return conversation

    def set_tags(self, conversation_id: str, tags: Iterable[int | None]) -> None:
        """Replace the tags. The history grows; `updated_at` stays."""
        with self.lock:
            self._change_tags(self.conversations[conversation_id], list(tags), self.now())

    def assign(self, conversation_id: str, *staff: str) -> None:
        """Replace the assignees by these members of staff; none of them for nobody. `updated_at` stays."""
        with self.lock:
            for name in staff:
                self.staff.setdefault(name, self.uuid(f"staff:{name}"))
            conversation = self.conversations[conversation_id]
            added = tuple(name for name in staff if name not in conversation.assignees)
            removed = tuple(name for name in conversation.assignees if name not in staff)
            conversation.assignees = list(staff)
            conversation.assignee_changes.append(AssigneeChange(self.now(), added, removed))

    def mark_seen(self, conversation_id: str, seen: bool = True) -> None:
        """Set the read mark. `updated_at` stays."""
        with self.lock:
            self.conversations[conversation_id].seen = seen

    def delete_conversation(self, conversation_id: str) -> None:
        """Take the conversation off the page, without a tombstone."""
        with self.lock:
            self.conversations.pop(conversation_id).deleted = True

    # What surrounds conversations.

    def add_post(
        self,
        *,
        at: datetime | None = None,
        id: str | None = None,  # noqa: A002
        text: str = "Hàng mới về 🌸",
        type: str = "photo",  # noqa: A002
    ) -> Post:
        """Add a post."""
        with self.lock:
            post_id = id or f"{self.page_id}_8{self._serial:06d}{POSTS_PER_PAGE + len(self.posts):03d}"
            self.posts[post_id] = Post(post_id, self._moment(at), text, type)
            return self.posts[post_id]

    def delete_tag(self, tag_id: int) -> None:
        """Take a tag off the page; conversations and histories keep an empty place."""
        with self.lock:
            del self.tag_texts[tag_id]
            for conversation in self.conversations.values():
                conversation.tags = [None if tag == tag_id else tag for tag in conversation.tags]
                for change in conversation.tag_changes:
                    change.tag_id = None if change.tag_id == tag_id else change.tag_id

    def add_note(self, conversation_id: str, text: str) -> None:
        """Write a note about the customer: the customer's `updated_at` moves, the conversation's stays."""
        with self.lock:
            conversation = self.conversations[conversation_id]
            conversation.notes.append(Note(self.now(), text))
            conversation.customer_updated_at = self.now()

    def rename_customer(self, conversation_id: str, name: str) -> None:
        """Change the customer's name: the customer's `updated_at` moves, the conversation's stays."""
        with self.lock:
            conversation = self.conversations[conversation_id]
            conversation.customer_name = name
            conversation.customer_updated_at = self.now()

    def staff_phone(self, name: str) -> str:
        """The phone number of a member of staff, one that nobody can have."""
        return f"+84000111{zlib.crc32(name.encode()) % 10_000:04d}"

    # Messages.

    def add_message(
        self,
        conversation_id: str,
        *,
        at: datetime | None = None,
        text: str | None = None,
        from_customer: bool = True,
        attachments: Iterable[Row] = (),
    ) -> Message:
        """Add a message, and move `updated_at` to it unless a newer one is there already.

        Args:
            at: aware; now when left out.
            text: one of the shop's usual phrases when left out.
        """
        with self.lock:
            conversation = self.conversations[conversation_id]
            number = self.messages_made + 1
            usual = phrases.CUSTOMER_SAYS if from_customer else phrases.SHOP_SAYS
            staff = tuple(self.staff)
            message = Message(
                id=self.next_message_id(conversation),
                inserted_at=self._moment(at),
                text=usual[number % len(usual)] if text is None else text,
                from_id=conversation.customer_psid if from_customer else self.page_id,
                from_name=conversation.customer_name if from_customer else self.name,
                admin_name=None if from_customer else staff[number % len(staff)],
                attachments=tuple(attachments),
            )
            self.put_message(conversation, message)
            return message

    def next_message_id(self, conversation: Conversation) -> str:
        """A fresh message id in the form that this conversation's type has."""
        with self.lock:
            self.messages_made += 1
            if conversation.type != "COMMENT":
                return f"m_{self.page_id}x{self.messages_made:07d}"
            return f"{conversation.id.partition('_')[0]}_6{self._serial:06d}{self.messages_made:09d}"

    def put_message(self, conversation: Conversation, message: Message) -> None:
        """Put a message in its place by time."""
        with self.lock:
            known = conversation.messages
            if not known or known[-1].inserted_at <= message.inserted_at:
                known.append(message)
            else:
                bisect.insort(known, message, key=attrgetter("inserted_at"))
            conversation.updated_at = max(conversation.updated_at, message.inserted_at)
            conversation.seen = message.from_id == self.page_id

    def edit_message(self, conversation_id: str, message_id: str, text: str) -> None:
        """Change the text and keep the old one in the history. No stamp moves."""
        with self.lock:
            message = self.conversations[conversation_id].message(message_id)
            message.edited = (*message.edited, message.text)
            message.text = text

    def hide_message(self, conversation_id: str, message_id: str) -> None:
        """Set the flag; the row stays. No stamp moves."""
        with self.lock:
            self.conversations[conversation_id].message(message_id).is_hidden = True

    def remove_message(self, conversation_id: str, message_id: str) -> None:
        """Set the flag; the row stays. No stamp moves."""
        with self.lock:
            self.conversations[conversation_id].message(message_id).is_removed = True

    def vanish_message(self, conversation_id: str, message_id: str) -> None:
        """Take the row away. No stamp moves, not even when it was the newest."""
        with self.lock:
            conversation = self.conversations[conversation_id]
            conversation.messages.remove(conversation.message(message_id))

    # Whole histories.

    def populate(
        self, *, days: float = 14, conversations: int = 300, messages: tuple[int, int] = (1, 40)
    ) -> None:
        """Add a believable past that ends now; the same for the same seed and clock."""
        history.populate(self, days=days, conversations=conversations, messages=messages)

    def churn(self, steps: int) -> None:
        """Make this many changes of all kinds, stamped now; the same for the same seed and past."""
        history.churn(self, self._churn, steps)

    def grow(self, conversations: int, messages_each: int) -> None:
        """Add many plain conversations, quickly, over the last 14 days."""
        history.grow(self, conversations, messages_each)

    # What the API would say.

    def rows(self) -> list[Row]:
        """Every conversation as this dialect writes it, newest change first."""
        with self.lock:
            newest_first = sorted(self.conversations.values(), key=attrgetter("updated_at"), reverse=True)
            return [rows.conversation_row(self, conversation) for conversation in newest_first]

    def message_rows(self, conversation_id: str) -> list[Row]:
        """Every message of a conversation as this dialect writes it, oldest first."""
        with self.lock:
            conversation = self.conversations[conversation_id]
            return rows.message_rows(self, conversation, conversation.messages)

    def _moment(self, at: datetime | None) -> datetime:
        if at is None:
            return self.now()
        if at.tzinfo is None:
            raise ValueError("a stamp must be aware")
        return at.astimezone(timezone.utc)

    def _change_tags(self, conversation: Conversation, tags: list[int | None], at: datetime) -> None:
        for tag_id in tags:
            if tag_id is not None:
                self.tag_texts.setdefault(tag_id, (f"Nhãn {tag_id}", "#7f8c8d"))
        added = [tag_id for tag_id in tags if tag_id not in conversation.tags]
        removed = [tag_id for tag_id in conversation.tags if tag_id not in tags]
        conversation.tag_changes += [TagChange(at, "add", tag_id) for tag_id in added]
        conversation.tag_changes += [TagChange(at, "remove", tag_id) for tag_id in removed]
        conversation.tags = tags


def _name_number(number: int) -> str:
    family = phrases.FAMILY_NAMES[number % len(phrases.FAMILY_NAMES)]
    middle = phrases.MIDDLE_NAMES[number // 3 % len(phrases.MIDDLE_NAMES)]
    return f"{family} {middle} {phrases.GIVEN_NAMES[number % len(phrases.GIVEN_NAMES)]}"
