"""The worker: delivers what the outbox owes, each receiver in a thread of its own."""

from __future__ import annotations

import logging
import random
import select
import socket
import threading
import time
from typing import Final

import httpx

from saccade.desired import Desired, WebhookSpec
from saccade.engine import wire
from saccade.engine.outgoing import Outgoing
from saccade.jobs.webhook import Outcome, event_kind, post
from saccade.storage.database import Database
from saccade.storage.outbox import MAX_LEASE_S, Delivery, Outbox, backoff_s
from saccade.telemetry.board import Page, Word, WorkerWord

log = logging.getLogger(__name__)

#: Seconds between two looks at the outbox when it owes nothing.
IDLE_S: Final = 0.5
#: Rows taken at once. What a worker that dies has taken waits for the end of its lease, and the
#: lease must cover the whole batch at a slow receiver: so few.
BATCH: Final = 4
#: What a lease allows beyond the receiver's time, seconds.
LEASE_SPARE_S: Final = 5.0
#: How long all deliveries under way may take to end when the worker stops, seconds.
LEAVE_S: Final = 1.5
#: First and longest wait before a delivery is tried again, seconds.
RETRY_FIRST_S: Final = 1.0
RETRY_LONGEST_S: Final = 300.0
HEARTBEAT_S: Final = 0.5


class Worker:
    """The worker's process.

    Args:
        desired: the webhooks.
        control: the supervisor.
        page: its counters.
    """

    def __init__(self, desired: Desired, *, control: socket.socket, page: Page) -> None:
        self._desired, self._control, self._page = desired, control, page
        self._database = Database(desired.storage.url)
        self._stop = threading.Event()
        self._lock = threading.Lock()

    def run(self) -> None:
        """Deliver until the supervisor says stop or is gone."""
        senders = [
            threading.Thread(
                target=self._serve, args=(hook,), name=f"sink {hook.name}", daemon=True
            )
            for hook in self._desired.webhooks
        ]
        for sender in senders:
            sender.start()
        Outgoing(self._control).say(wire.Good())
        poll = select.epoll()
        poll.register(self._control, select.EPOLLIN)
        while not self._stop.is_set():
            for _fd, _mask in poll.poll(HEARTBEAT_S):
                self._obey()
            self._page.add(Word.HEARTBEAT)
        end = time.monotonic() + LEAVE_S
        for sender in senders:  # what is not sent in time is leased, and sent after the restart
            sender.join(timeout=max(0.0, end - time.monotonic()))

    def _obey(self) -> None:
        try:
            packet = wire.hear(self._control)
        except BlockingIOError:
            return
        if not packet or isinstance(wire.to_child(packet), wire.Stop):
            self._stop.set()

    def _serve(self, hook: WebhookSpec) -> None:
        """Deliver to one receiver, in order of what is due."""
        outbox = Outbox(self._database)
        lease_s = min(MAX_LEASE_S, BATCH * hook.timeout_seconds + LEASE_SPARE_S)
        with httpx.Client(follow_redirects=False, trust_env=False) as client:
            while not self._stop.is_set():
                try:
                    owed = outbox.claim(
                        now_wall=time.time(), limit=BATCH, lease_s=lease_s, sink=hook.name
                    )
                except Exception:  # the database may be away for a while
                    log.exception("the outbox cannot be read", extra={"sink": hook.name})
                    owed = []
                for delivery in owed:
                    try:
                        self._deliver(client, outbox, hook, delivery)
                    except Exception:  # its lease ends, and then it is tried again
                        log.exception(
                            "a delivery's end could not be kept",
                            extra={"sink": hook.name, "delivery": delivery.id},
                        )
                if not owed:
                    self._stop.wait(IDLE_S)

    def _deliver(
        self, client: httpx.Client, outbox: Outbox, hook: WebhookSpec, delivery: Delivery
    ) -> None:
        if self._stop.is_set():  # claimed and not tried: whoever comes next need not wait for it
            outbox.failed(
                delivery, "the worker stopped before it was tried", retry_at_wall=time.time()
            )
            return
        attempt = post(client, hook, delivery, at_wall=time.time())
        fields = {"sink": hook.name, "delivery": delivery.id, "kind": event_kind(delivery)}
        if attempt.outcome is Outcome.DELIVERED:
            outbox.delivered(delivery, now_wall=time.time())
            self._count(WorkerWord.DELIVERED)
        elif attempt.outcome is Outcome.DEAD:
            outbox.dead(delivery, attempt.error)
            self._count(WorkerWord.DEAD)
            log.error("a delivery is given up", extra={**fields, "why": attempt.error})
        else:
            wait_s = backoff_s(
                delivery.attempts,
                base_s=RETRY_FIRST_S,
                cap_s=RETRY_LONGEST_S,
                jitter=random.random(),  # noqa: S311 - jitter, not a secret
            )
            outbox.failed(delivery, attempt.error, retry_at_wall=time.time() + wait_s)
            self._count(WorkerWord.FAILED)
            log.warning(
                "a delivery failed",
                extra={**fields, "why": attempt.error, "attempts": delivery.attempts},
            )

    def _count(self, word: WorkerWord) -> None:
        with self._lock:
            self._page.add(word)
