"""Addresses, sizes and limits: each with its unit and where the number comes from."""

from __future__ import annotations

BASE_URL = "https://pages.fm"

CONNECT_TIMEOUT_S = 10.0  # ours
READ_TIMEOUT_S = 60.0  # ours; read time-outs of 20 to 60 s are usual for this API

RETRY_WAITS_S = (1.0, 2.0, 4.0)  # the article's advice: three more tries
RETRY_JITTER_S = 0.25  # ours: at most so much is added
RETRY_AFTER_CAP_S = 300.0  # ours: a longer `Retry-After` ends the call instead

REQUESTS_PER_SECOND = 4.0  # ours, below the documented limit
DOCUMENTED_REQUESTS_PER_SECOND = 5.0  # per page, API reference
PACING_MARGIN = 1.04  # ours: calls start this much further apart, against jitter on the way
SLOWEST_REQUESTS_PER_SECOND = 0.2  # ours: one call in 5 s, near what throttled accounts report
SLOWDOWN_FACTOR = 2.0  # ours: the interval after a 429
SPEEDUP_FACTOR = 0.8  # ours: the interval after each quiet spell
QUIET_SPELL_S = 30.0  # ours: time without a 429 before each step back up

CONVERSATIONS_PER_BATCH = 60  # fixed by the server, API reference
MESSAGES_PER_BATCH = 30  # seen in every capture; only used to state the least number of calls
MESSAGES_PER_FIRST_BATCH = 20  # the smallest first batch on record (older reference)

POSTS_PER_BATCH = 30  # the server's maximum, API reference
CUSTOMERS_PER_BATCH = 100  # the server's maximum, API reference
POSTS_TAIL_DAYS = 7.0  # ours: posts this young are read again, their counters change
STATISTICS_TAIL_DAYS = 3  # ours: days read again, today included, until their counts are final
PAGE_UTC_OFFSET_HOURS = 7.0  # Vietnam, where Pancake is at home

LAG_S = 120.0  # ours: how far before the cursor a sync starts
START_DAYS_BACK = 30  # ours: where a first sync starts
MESSAGES_TAIL_S = 86_400.0  # ours: how far before its mark a changed thread is read again

WINDOW_FIRST_S = 86_400.0  # ours: a first window of one day
WINDOW_MAX_S = 30 * 86_400.0  # the deprecated list allowed one month; no limit is stated for this one
WINDOW_TARGET_ROWS = 1_000  # ours: conversations a window should hold, 500 to 2,000
WINDOW_MAX_ROWS = 4_000  # ours: a window that holds more is cut
WINDOW_MIN_S = 60.0  # ours: windows do not get shorter by what they hold

BACKFILLS_KEPT = 10  # ours: spans whose progress is remembered; the oldest is forgotten first

WORKERS = 4  # ours: threads of one page read side by side; with 5 calls/s enough for 0.8 s of latency
MAX_STALLED_STEPS = 5  # ours: re-anchored or repeated calls without progress before a walk fails
FAILURES_IN_A_ROW = 20  # ours: failing threads before the page is given up

END_CHECKS = 20  # ours: short batches checked by one more call before any is trusted
END_CHECK_MESSAGES = 200  # ours: messages these batches held together; each could have been cut off
END_CHECK_EVERY = 50  # ours: trusted batches between two further checks

RATE_LIMIT_BUDGET_S = 300.0  # ours: a page that answers nothing but 429 for so long is given up
LATE_START_S = 0.005  # ours: a start missed by more moves those that follow
LATEST_START_S = (
    0.03  # ours: one missed by more, when others have taken those, is not used; the margin is 0.04
)
MISSED_STARTS = 3  # ours: so many are given up for one call, so that a slow store does not stop it
QUESTIONS_AT_ONCE = 32  # ours: connections to the warehouse, over all pages; PostgreSQL takes 100 by default
BURST_SHARE = 0.01  # ours: share of a second's calls that may start at once; one call up to 100 calls/s
RATE_STORE_TIMEOUT_S = 10.0  # ours: for a shared store to answer
RATE_STORE_KEEPS_S = 86_400.0  # ours: a page's entry in Redis expires so long after its last call
