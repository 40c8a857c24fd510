"""The worker: delivers what the outbox owes. One thread for each receiver, so none waits for another."""

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
from saccade.jobs.webhook import Outcome, event_kind, post
from saccade.storage.database import Database
from saccade.storage.outbox import Delivery, Outbox, backoff_s
from saccade.telemetry.board import Page, WorkerWord, Word

log = logging.getLogger(__name__)

#: Seconds between two looks at the outbox when it owes nothing.
IDLE_S: Final = 0.5
#: Rows taken at once.
BATCH: Final = 16
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
            threading.Thread(target=self._serve, args=(hook,), name=f"sink {hook.name}",
                             daemon=True)
            for hook in self._desired.webhooks
        ]
        for sender in senders:
            sender.start()
        self._control.send(wire.encode(wire.Good()))
        poll = select.epoll()
        poll.register(self._control, select.EPOLLIN)
        while not self._stop.is_set():
            for _fd, _mask in poll.poll(HEARTBEAT_S):
                self._obey()
            self._page.add(Word.HEARTBEAT)
        for sender in senders:  # what is not sent in time is leased, and sent after the restart
            sender.join(timeout=1.0)

    def _obey(self) -> None:
        try:
            packet, _fds = wire.receive(self._control)
        except BlockingIOError:
            return
        if not packet or isinstance(wire.to_child(packet), wire.Stop):
            self._stop.set()

    def _serve(self, hook: WebhookSpec) -> None:
        """Deliver to one receiver, in order of what is due."""
        outbox = Outbox(self._database)
        lease_s = min(3600.0, BATCH * (hook.timeout_seconds + 1.0) + 30.0)
        with httpx.Client(follow_redirects=False, trust_env=False) as client:
            while not self._stop.is_set():
                try:
                    owed = outbox.claim(now_wall=time.time(), limit=BATCH, lease_s=lease_s,
                                        sink=hook.name)
                    for delivery in owed:
                        if self._stop.is_set():
                            return
                        self._deliver(client, outbox, hook, delivery)
                except Exception:  # noqa: BLE001 - the database may be away for a while
                    log.exception("the outbox cannot be read", extra={"sink": hook.name})
                    owed = []
                if not owed:
                    self._stop.wait(IDLE_S)

    def _deliver(
        self, client: httpx.Client, outbox: Outbox, hook: WebhookSpec, delivery: Delivery
    ) -> None:
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
            wait_s = backoff_s(delivery.attempts, base_s=RETRY_FIRST_S, cap_s=RETRY_LONGEST_S,
                               jitter=random.random())  # noqa: S311 - jitter, not a secret
            outbox.failed(delivery, attempt.error, retry_at_wall=time.time() + wait_s)
            self._count(WorkerWord.FAILED)
            log.warning("a delivery failed", extra={**fields, "why": attempt.error,
                                                    "attempts": delivery.attempts})

    def _count(self, word: WorkerWord) -> None:
        with self._lock:
            self._page.add(word)
