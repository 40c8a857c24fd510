"""Which requests make a batch, and whose turn it is."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from saccade.engine.batching import BatchPolicy, FairQueue

POLICY = BatchPolicy(max_batch=8, wait_s=0.002)
SIZES = st.integers(0, 20)


def jain(shares: list[int]) -> float:
    """Return Jain's index: 1 when all are equal, 1/n when one has it all."""
    return sum(shares) ** 2 / (len(shares) * sum(s * s for s in shares))


def test_one_client_alone_never_waits() -> None:
    assert POLICY.is_full_enough(size=1, last=1, admitted=1, waited_s=0.0)


def test_clients_that_were_answered_and_are_idle_delay_nobody() -> None:
    # Eight cameras are connected, one has a frame: what the others had is answered already.
    assert POLICY.is_full_enough(size=1, last=1, admitted=1, waited_s=0.0)
    assert not POLICY.is_full_enough(size=1, last=1, admitted=2, waited_s=0.0)


def test_a_batch_waits_for_those_it_answered_last_but_not_longer_than_its_wait() -> None:
    assert not POLICY.is_full_enough(size=1, last=8, admitted=1, waited_s=0.0019)
    assert POLICY.is_full_enough(size=1, last=8, admitted=1, waited_s=0.002)
    assert POLICY.is_full_enough(size=8, last=8, admitted=1, waited_s=0.0)


@given(SIZES, SIZES, SIZES, st.integers(1, 8))
def test_a_batch_never_waits_for_more_than_the_model_takes_or_is_coming(
    size: int, last: int, admitted: int, most: int
) -> None:
    policy = BatchPolicy(most, 0.002)
    wanted = policy.wanted(last=last, admitted=admitted)
    assert 1 <= wanted <= most
    assert wanted <= max(1, last, admitted)
    assert policy.is_full_enough(size=size, last=last, admitted=admitted, waited_s=1.0)
    assert policy.is_full_enough(size=most, last=last, admitted=admitted, waited_s=0.0)


OPERATIONS = st.one_of(
    st.tuples(st.just("put"), st.integers(0, 4)),
    st.tuples(st.just("take"), st.integers(0, 5)),
    st.tuples(st.just("forget"), st.integers(0, 4)),
)


@given(st.lists(OPERATIONS, max_size=60), st.integers(1, 12))
def test_nothing_put_into_the_queue_is_lost_doubled_or_out_of_its_clients_order(
    operations: list[tuple[str, int]], limit: int
) -> None:
    queue: FairQueue[tuple[int, int]] = FairQueue(limit)
    inside: dict[int, list[tuple[int, int]]] = {}
    for n, (what, value) in enumerate(operations):
        if what == "put":
            fits = len(queue) < limit
            assert queue.put(value, (value, n)) is fits
            if fits:
                inside.setdefault(value, []).append((value, n))
        elif what == "take":
            for item in queue.take(value):
                assert inside[item[0]].pop(0) == item
        else:
            assert queue.forget(value) == len(inside.pop(value, []))
        assert len(queue) == sum(map(len, inside.values())) <= limit
    assert len(queue.take(limit)) == sum(map(len, inside.values()))


@given(st.lists(st.integers(1, 30), min_size=2, max_size=6), st.integers(1, 8))
def test_a_client_that_sends_many_does_not_starve_one_that_sends_few(
    loads: list[int], batch: int
) -> None:
    queue: FairQueue[int] = FairQueue(sum(loads))
    for client, load in enumerate(loads):
        for _ in range(load):
            assert queue.put(client, client)
    served: Counter[int] = Counter()
    while len(queue):
        served.update(queue.take(batch))
        # Whoever still waits has had its turn as often as anybody else, give or take one.
        waiting = [served[c] for c, load in enumerate(loads) if served[c] < load]
        if waiting:
            assert max(served.values()) - min(waiting) <= 1
    assert served == Counter(dict(enumerate(loads)))


@given(st.integers(2, 8), st.integers(1, 8), st.integers(2, 4))
def test_equal_clients_that_keep_the_queue_full_get_equal_shares(
    clients: int, batch: int, each: int
) -> None:
    queue: FairQueue[int] = FairQueue(clients * each)
    served = [0] * clients
    for client in range(clients):
        for _ in range(each):
            queue.put(client, client)
    for _ in range(50):
        for client in queue.take(batch):
            served[client] += 1
            assert queue.put(client, client)  # it comes back at once
    assert jain(served) >= 0.98 or max(served) - min(served) <= 1
