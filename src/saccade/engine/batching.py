"""Which requests make the next batch. Pure: no socket, no clock of its own.

The rule: wait, a little, for what the clients say is under way and for as many as the last batch
had; those it answered come back. One client alone is never delayed; under load the batch that runs
gives the next one time to arrive, so batches find their size without a window that must be guessed.
Clients take turns, so that one that sends many cannot starve one that sends few.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """How a batch is filled.

    Args:
        max_batch: the most items the model takes at once.
        wait_s: the longest a first item waits for others; raising it helps throughput only when
            clients answer late, and costs that much latency.
    """

    max_batch: int
    wait_s: float

    def wanted(self, *, last: int, admitted: int) -> int:
        """Return the size worth waiting for.

        Args:
            last: size of the batch before; whoever was answered with it is likely to come again.
            admitted: requests under way at all clients, without what is answered already. A client
                that has been answered and sends nothing does not count: it would delay the others.
        """
        return max(1, min(self.max_batch, max(last, admitted)))

    def is_full_enough(self, *, size: int, last: int, admitted: int, waited_s: float) -> bool:
        """Say whether to run now rather than wait for more."""
        return waited_s >= self.wait_s or size >= self.wanted(last=last, admitted=admitted)


class FairQueue(Generic[Item]):
    """A bounded queue in which clients take turns.

    Args:
        limit: the most items in it, over all clients.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lanes: OrderedDict[int, deque[Item]] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def put(self, client: int, item: Item) -> bool:
        """Add an item of a client; False when the queue is full."""
        if self._size >= self.limit:
            return False
        self._lanes.setdefault(client, deque()).append(item)
        self._size += 1
        return True

    def take(self, most: int) -> list[Item]:
        """Take up to `most` items, one of each client in turn."""
        taken: list[Item] = []
        while self._lanes and len(taken) < most:
            client, lane = next(iter(self._lanes.items()))
            taken.append(lane.popleft())
            self._size -= 1
            if lane:
                self._lanes.move_to_end(client)
            else:
                del self._lanes[client]
        return taken

    def forget(self, client: int) -> int:
        """Drop what a client has waiting; return how much that was."""
        lane = self._lanes.pop(client, None)
        if lane is None:
            return 0
        self._size -= len(lane)
        return len(lane)
