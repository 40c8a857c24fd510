"""What is said to a peer that does not read right now is not lost, not doubled and not endless."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from saccade.engine import wire
from saccade.engine.outgoing import Outgoing
from saccade.types import ModelName

Ends = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    theirs.setblocking(False)
    yield ours, theirs
    ours.close()
    theirs.close()


def heard(sock: socket.socket) -> list[str]:
    names: list[str] = []
    while True:
        try:
            word = wire.to_child(wire.hear(sock))
        except BlockingIOError:
            return names
        assert isinstance(word, wire.Unload)
        names.append(word.name)


def test_orders_to_a_peer_that_does_not_read_wait_in_order(ends: Ends) -> None:
    ours, theirs = ends
    outgoing = Outgoing(ours)
    for n in range(1000):  # far more than a socket holds
        assert outgoing.say(wire.Unload(ModelName(f"{n}")))
    assert not outgoing.is_idle
    names: list[str] = []
    while not outgoing.is_idle:
        names += heard(theirs)
        outgoing.flush()
    names += heard(theirs)
    assert names == [str(n) for n in range(1000)]


def test_a_peer_that_never_reads_costs_bounded_memory(ends: Ends) -> None:
    outgoing = Outgoing(ends[0], most=10)
    said = [outgoing.say(wire.Unload(ModelName("x" * 1000))) for _ in range(1000)]
    assert False in said
    assert said.index(False) == sum(said)  # from the first that is refused on, all are


def test_words_to_a_peer_that_is_gone_are_given_up(ends: Ends) -> None:
    ours, theirs = ends
    theirs.close()
    outgoing = Outgoing(ours)
    assert outgoing.say(wire.Unload(ModelName("m")))
    assert outgoing.is_idle


def test_many_threads_that_speak_at_once_are_all_heard(ends: Ends) -> None:
    ours, theirs = ends
    outgoing = Outgoing(ours)

    def speak(who: int) -> None:
        for n in range(300):
            outgoing.say(wire.Unload(ModelName(f"{who}-{n}")))

    threads = [threading.Thread(target=speak, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    names: list[str] = []
    while any(t.is_alive() for t in threads) or not outgoing.is_idle:
        names += heard(theirs)
        outgoing.flush()
    names += heard(theirs)
    for who in range(4):
        assert [n for n in names if n.startswith(f"{who}-")] == [f"{who}-{n}" for n in range(300)]
