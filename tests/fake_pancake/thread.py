"""The messages of a conversation: batches counted back from the newest message."""

from __future__ import annotations

import random
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from .replies import Query, RefusedError
from .rows import message_rows, messages_envelope

if TYPE_CHECKING:
    from .dialect import Dialect
    from .model import FakePage


def thread(page: FakePage, query: Query, conversation_id: str | None) -> dict[str, Any]:
    """The body of one answer to `messages`."""
    current_count = query.number("current_count") or 0
    if page.dialect.ignores_current_count:
        current_count = 0
    with page.lock:
        conversation = page.conversations.get(conversation_id or "")
        if conversation is None:
            raise RefusedError(404, "Conversation not found")
        end = max(0, len(conversation.messages) - current_count)
        size = _batch_size(page, conversation.id, current_count)
        batch = conversation.messages[max(0, end - size) : end]
        if page.dialect.message_order == "newest_first":
            batch.reverse()
        elif page.dialect.message_order == "shuffled":
            random.Random(f"{page.seed}:{conversation.id}:{current_count}:order").shuffle(batch)
        return messages_envelope(page, conversation, message_rows(page, conversation, batch))


def _batch_size(page: FakePage, conversation_id: str, current_count: int) -> int:
    size = _size_at(page.dialect, current_count)
    if not page.dialect.message_batch_jitter:
        return size
    return random.Random(f"{page.seed}:{conversation_id}:{current_count}").randint(1, size)


def _size_at(dialect: Dialect, current_count: int) -> int:
    """The size of the batch at this offset. The first size is for the first call alone."""
    sizes = dialect.message_batches
    if current_count == 0:
        return sizes[0]
    calls_before = sum(1 for received in accumulate(sizes) if received <= current_count)
    return sizes[min(max(1, calls_before), len(sizes) - 1)]
