"""What happens to a page while it is read, and when each thing happened."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

from tests.fake_pancake import FakePage
from tests.fake_pancake.model import Conversation

TIE_WITHIN_S = 90.0  # a second message with the same stamp is there so soon; less than the lag
LONGEST_BURST = 45
TAGS = (1, 2, 3, 4, None)


class Changes:
    """Makes random changes and remembers their times.

    Attributes:
        made: message id -> when it could first be read.
        edited: message id -> when its row last changed otherwise.
        moved: conversation id -> when its `updated_at` last changed.
        tagged: conversation id -> when its tags last changed.
        stamps: conversation id -> stamps of all messages that it ever had.
        gone: ids of vanished messages and deleted conversations.
    """

    def __init__(self, page: FakePage, random: Random) -> None:
        self.made: dict[str, float] = {}
        self.edited: dict[str, float] = {}
        self.moved: dict[str, float] = {}
        self.tagged: dict[str, float] = {}
        self.stamps: dict[str, list[datetime]] = {}
        self.gone: set[str] = set()
        self._page = page
        self._random = random
        self._kinds: dict[Callable[[Conversation], None], int] = {
            self._say: 8,
            self._say_at_once: 3,
            self._say_in_the_same_instant: 4,
            self._burst: 1,
            self._begin: 4,
            self._tag: 3,
            self._edit: 4,
            self._hide: 2,
            self._remove: 2,
            self._vanish: 4,
            self._vanish_the_newest: 5,
            self._vanish_many: 2,
            self._delete: 1,
        }

    def past(self, conversations: int, longest: int, span: timedelta) -> None:
        """Fill the page with a past of this length that ends now."""
        now = self._page.now()
        crowded = self._random.random() < 0.3
        for _ in range(conversations):
            ago = span * self._random.random()
            if crowded:  # many conversations share a stamp
                ago = span * self._random.choice((0.1, 0.5))
            self._conversation(
                now - ago, self._random.choice((1, 2, 5, self._random.randint(1, longest), longest))
            )

    def make(self, near: str | None = None) -> str:
        """Make one change and return its name.

        Args:
            near: conversation that it mostly concerns, if it is still there.
        """
        if len(self._page.conversations) < 2:
            self._conversation(self._page.now(), 1)
        kind = self._random.choices(list(self._kinds), list(self._kinds.values()))[0]
        conversation = self._page.conversations.get(near or "")
        if conversation is None or self._random.random() < 0.2:
            conversation = self._random.choice(list(self._page.conversations.values()))
        kind(conversation)
        return kind.__name__.strip("_")

    def lose(self, conversation_id: str) -> None:
        """Move a conversation up, or delete it, if it is still there."""
        conversation = self._page.conversations.get(conversation_id)
        if conversation is not None:
            self._random.choice((self._say, self._delete))(conversation)

    def _conversation(self, newest: datetime, messages: int) -> None:
        kind = self._random.choice(("INBOX", "INBOX", "COMMENT"))
        gap = timedelta(seconds=self._random.choice((0, 0.5, 1, 60, 3600)))
        at = newest.replace(microsecond=newest.microsecond // 1000 * 1000)
        conversation = self._page.open_conversation(at - gap * (messages - 1), type=kind)
        for back in range(messages - 1, -1, -1):
            self._add(conversation, at - gap * back)

    def _add(self, conversation: Conversation, at: datetime) -> None:
        before = conversation.updated_at if conversation.messages else None
        message = self._page.add_message(conversation.id, at=at)
        self.made[message.id] = self._page.clock.time()
        self.stamps.setdefault(conversation.id, []).append(at)
        if conversation.updated_at != before:
            self.moved[conversation.id] = self._page.clock.time()

    def _say(self, conversation: Conversation) -> None:
        self._add(conversation, self._page.now())

    def _say_at_once(self, conversation: Conversation) -> None:
        for _ in range(self._random.randint(2, 5)):
            self._add(conversation, self._page.now())

    def _say_in_the_same_instant(self, conversation: Conversation) -> None:
        if conversation.messages:
            newest = conversation.messages[-1].inserted_at
            recent = (self._page.now() - newest).total_seconds() < TIE_WITHIN_S
            self._add(conversation, newest if recent else self._page.now())

    def _burst(self, conversation: Conversation) -> None:
        for _ in range(self._random.randint(20, LONGEST_BURST)):
            self._add(conversation, self._page.now())

    def _begin(self, _: Conversation) -> None:
        self._conversation(self._page.now(), 1)

    def _tag(self, conversation: Conversation) -> None:
        self._page.set_tags(conversation.id, self._random.sample(TAGS, self._random.randint(0, 3)))
        self.tagged[conversation.id] = self._page.clock.time()

    def _edit(self, conversation: Conversation) -> None:
        self._touch(conversation, lambda key: self._page.edit_message(conversation.id, key, f"sửa {key}"))

    def _hide(self, conversation: Conversation) -> None:
        self._touch(conversation, lambda key: self._page.hide_message(conversation.id, key))

    def _remove(self, conversation: Conversation) -> None:
        self._touch(conversation, lambda key: self._page.remove_message(conversation.id, key))

    def _touch(self, conversation: Conversation, change: Callable[[str], None]) -> None:
        if conversation.messages:
            key = self._random.choice(conversation.messages[-10:]).id
            change(key)
            self.edited[key] = self._page.clock.time()

    def _vanish(self, conversation: Conversation) -> None:
        if conversation.messages:
            self._take(conversation, self._random.choice(conversation.messages).id)

    def _vanish_the_newest(self, conversation: Conversation) -> None:
        if conversation.messages:
            self._take(conversation, conversation.messages[-1].id)

    def _vanish_many(self, conversation: Conversation) -> None:
        count = self._random.randint(1, max(1, len(conversation.messages)))
        for message in conversation.messages[-count:]:
            self._take(conversation, message.id)

    def _take(self, conversation: Conversation, message_id: str) -> None:
        self._page.vanish_message(conversation.id, message_id)
        self.gone.add(message_id)

    def _delete(self, conversation: Conversation) -> None:
        self._page.delete_conversation(conversation.id)
        self.gone.add(conversation.id)
        self.gone.update(message.id for message in conversation.messages)
