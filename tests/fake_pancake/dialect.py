"""Which of the reported, partly contradictory behaviours of the API a page shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RowShape = Literal["live", "article"]
Stamps = Literal["naive", "z", "offset", "mixed"]
SinceAlone = Literal["refused", "allowed"]
MessageOrder = Literal["oldest_first", "newest_first", "shuffled"]
LostCursor = Literal["top", "goes_on", "empty", "error"]
WindowField = Literal["order_by", "updated_at"]
CustomersWindowField = Literal["order_by", "inserted_at"]
Ties = Literal["id", "reverse_id"]
AuthFailure = Literal["body", "http"]
MessageCount = Literal["exact", "off"]
PageList = Literal["categorized", "pages"]


@dataclass(frozen=True)
class Dialect:
    """One way for the API to behave. Vary it with `dataclasses.replace(LIVE, lost_cursor="empty")`."""

    row_shape: RowShape = "live"
    """live: the wide rows of a real page, null tags included. article: the simple rows of the tutorial."""

    stamps: Stamps = "naive"
    """naive: `2026-03-05T08:44:29.123000`, meaning UTC. z: with `Z`. offset: the same moment at `+07:00`.
    mixed: each row, by its id, one of these, or naive without the fraction where that is zero."""

    since_alone: SinceAlone = "refused"
    """Whether `since` without `until` is answered."""

    message_order: MessageOrder = "oldest_first"
    """Order inside one batch. From batch to batch messages always get older."""

    message_batches: tuple[int, ...] = (30,)
    """Batch size of the first, second, ... call of a thread; the last one repeats."""

    message_batch_jitter: bool = False
    """Each batch holds 1 to its size, by seed, conversation and `current_count`."""

    conversation_batch: int = 60
    """Rows in a batch of conversations."""

    conversation_batch_jitter: bool = False
    """Each batch holds 1 to its size, by seed, window and cursor."""

    lost_cursor: LostCursor = "top"
    """The answer when the row named by `last_conversation_id` is not, or no longer, among those asked for.
    top: as without a cursor. goes_on: what follows the place where that row was last served.
    empty: no rows. error: success false in a 200. A row that moved inside the list is not lost."""

    since_inclusive: bool = True
    """Whether a row stamped exactly `since` is in the window."""

    until_inclusive: bool = True
    """Whether a row stamped exactly `until` is in the window; one a millisecond later never is."""

    window_field: WindowField = "order_by"
    """The field that `since` and `until` filter: the one sorted by, or always `updated_at`."""

    ties: Ties = "id"
    """Rows of one stamp come by rising id, or by falling id."""

    customers_window_field: CustomersWindowField = "order_by"
    """The same for the list of customers."""

    ignores_current_count: bool = False
    """The first batch of messages comes back for ever."""

    ignores_page_number: bool = False
    """The first page of a numbered list comes back for ever."""

    auth_failure: AuthFailure = "body"
    """A wrong token: code 102 in a 200, or HTTP 401."""

    message_count: MessageCount = "exact"
    """off: a few too many, a few too few, or 0."""

    page_list: PageList = "categorized"
    """Where `/api/v1/pages` gives its rows: in lists by category, or in one list as documented."""


LIVE = Dialect()
"""What captures of a real page show."""

ARTICLE = Dialect(
    row_shape="article",
    stamps="z",
    since_alone="allowed",
    message_order="newest_first",
    message_batches=(20, 25),
    page_list="pages",
)
"""What the tutorial and the older documents describe."""
