"""What the pages process is told at its start."""

from __future__ import annotations

import msgspec


class PagesSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How the dashboard behaves. Times are seconds."""

    auth_required: bool = False  # show the button that logs out
    request_timeout_seconds: float = 20.0  # adding a camera opens its source first
    read_timeout_seconds: float = 4.0  # a page that is being built waits no longer for one answer
    first_state_seconds: float = 1.5  # how long a page waits for numbers before it is sent without
    feed_linger_seconds: float = (
        5.0  # feed kept after the last browser left: a page change is no end
    )
    feed_backoff_initial_seconds: float = 0.25
    feed_backoff_max_seconds: float = 4.0
    feed_ping_seconds: float = 5.0  # a server that is silent for two of these counts as lost
    feed_flush_seconds: float = 0.2  # pages are updated at most this often
    feed_max_events: int = 200  # events kept between two flushes; more: pages load the list again
    events_page_size: int = 50
    events_kept: int = 400  # events one page shows at most
    drain_seconds: float = 1.0
