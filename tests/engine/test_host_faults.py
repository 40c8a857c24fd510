"""What a host survives: killed, deaf and hostile clients, adapters that raise, many reconnects."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest
from tests.engine.rig import (
    HOST,
    Frames,
    Rig,
    ScriptedAdapter,
    descriptors,
    found,
    mark,
    model,
    running,
    value_of,
)
from tests.support.waiting import until

from saccade.engine import wire
from saccade.engine.ring import Layout, Ring
from saccade.telemetry.board import ModelWord
from saccade.types import ModelName, ModelStatus
from saccade.vision.detections import Detections


def until_clients(rig: Rig, count: int) -> None:
    until(lambda: rig.word(ModelWord.CLIENTS) == count, why=f"{count} clients are left")


@pytest.mark.faults
def test_the_loans_of_a_killed_client_end_and_nobody_else_notices(tmp_path: Path) -> None:
    adapter = ScriptedAdapter(max_batch=2, gate=threading.Event())
    with running(tmp_path, {"m": adapter}) as rig:
        rig.order(wire.Load(model()))
        lender = rig.lender().until_ready()
        victim = subprocess.Popen(
            [sys.executable, "-m", "tests.engine.lending_client", str(tmp_path), "6"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with victim:
            assert victim.stdout is not None
            assert victim.stdout.readline() == b"lent\n"
            lender.lend(7)
            assert adapter.entered.acquire(timeout=5)  # some of the victim's frames are in a batch
            victim.kill()
        assert adapter.gate is not None
        adapter.gate.set()
        answer = lender.next()
        assert isinstance(answer, wire.Answer)
        assert value_of(answer) == 7
        until_clients(rig, 1)
        until(rig.sum_closes, why="every request is accounted for")
        assert rig.word(ModelWord.GONE) >= 1  # at least what was in the batch
        assert rig.word(ModelWord.ANSWERED) == 1
        assert isinstance(lender.ask(8), wire.Answer)


def raw_client(rig: Rig, name: str = "m") -> socket.socket:
    sock = wire.connect(str(rig.run_dir), f"host-{HOST}.sock")
    wire.send(sock, wire.encode(wire.Hello("raw", ModelName(name))))
    return sock


def heard(sock: socket.socket) -> bytes:
    """Return the next packet; b"" when the host has ended the connection."""

    def hear() -> tuple[bytes] | None:
        try:
            return (wire.hear(sock),)
        except BlockingIOError:
            return None

    heard = until(hear, why="the host says something or leaves")
    assert heard is not None
    return heard[0]


def test_a_client_that_never_reads_its_answers_is_dropped_and_others_are_served(
    tmp_path: Path,
) -> None:
    with running(tmp_path, {"m": ScriptedAdapter()}) as rig:
        rig.order(wire.Load(model()))
        lender = rig.lender().until_ready()
        with raw_client(rig) as deaf:
            until_clients(rig, 2)
            submit = wire.encode(wire.Submit(0, 1, 1, 1, 2**62))

            def dropped() -> bool:
                try:
                    for _ in range(50):
                        deaf.send(submit)
                except BlockingIOError:
                    return False
                except OSError:
                    return True
                return False

            until(dropped, 10, why="the deaf client is dropped")
            assert isinstance(lender.ask(1), wire.Answer)
        until_clients(rig, 1)
        until(rig.sum_closes, why="every request is accounted for")


def sealed(size: int) -> int:
    return Ring(1, Layout(0, size)).fd


@pytest.mark.parametrize(
    ("what", "fd"),
    [
        ("no memory at all", None),
        ("a folder", lambda: os.open("/tmp", os.O_RDONLY)),
        ("an eventfd", lambda: os.eventfd(0)),
        ("memory its owner can shrink", lambda: os.memfd_create("x", 0)),
        ("less than it says", lambda: sealed(16)),
    ],
)
def test_a_ring_that_is_none_ends_its_connection_and_nothing_else(
    tmp_path: Path, what: str, fd: object
) -> None:
    with running(tmp_path, {"m": ScriptedAdapter()}) as rig:
        rig.order(wire.Load(model()))
        lender = rig.lender().until_ready()
        with raw_client(rig) as sock:
            info = wire.client_bound(heard(sock))
            assert isinstance(info, wire.ModelInfo)
            lend = wire.encode(wire.Lend(4, 3 * 4096, 0, info.load))
            if fd is None:
                sock.send(lend)
            else:
                memory = fd()  # type: ignore[operator]
                if what.startswith("memory"):
                    os.ftruncate(memory, 4 * 3 * 4096)
                before = descriptors()
                socket.send_fds(sock, [lend], [memory])
            assert heard(sock) == b""
            until_clients(rig, 1)
            if fd is not None:
                assert descriptors() <= before - 1  # the host's end of the socket is closed
                os.close(memory)
        assert isinstance(lender.ask(1), wire.Answer)


@pytest.mark.parametrize(
    "packet",
    [
        b"\xc1",
        wire.encode(wire.Submit(0, 0, 0, 0, 0)),
        b"\x93\xa5hello\xa2\xff\xfe\xa1x",
        b"\x94\xa5hello\xa1a\xa1x" + b"\x91" * 100_000,
        wire.IN_MEMFD,
    ],
    ids=["rubbish", "no hello", "a name that is no text", "deep", "no memfd"],
)
def test_a_stranger_that_says_rubbish_is_sent_away(tmp_path: Path, packet: bytes) -> None:
    with running(tmp_path, {"m": ScriptedAdapter()}) as rig:
        rig.order(wire.Load(model()))
        with wire.connect(str(tmp_path), f"host-{HOST}.sock") as sock:
            sock.send(packet)
            assert heard(sock) == b""
        with raw_client(rig) as sock:  # the same from one that was greeted
            assert heard(sock)
            sock.send(packet)
            if packet != wire.encode(wire.Submit(0, 0, 0, 0, 0)):
                assert heard(sock) == b""
        assert isinstance(rig.lender().until_ready().ask(1), wire.Answer)


def test_a_slot_that_does_not_exist_fails_alone(tmp_path: Path) -> None:
    with running(tmp_path, {"m": ScriptedAdapter()}) as rig:
        rig.order(wire.Load(model()))
        ring = Ring(2, Layout(0, 32 * 32 * 3))
        with raw_client(rig) as sock:
            info = wire.client_bound(heard(sock))
            assert isinstance(info, wire.ModelInfo)
            lend = wire.Lend(2, ring.layout.slot_bytes, 0, info.load)
            socket.send_fds(sock, [wire.encode(lend)], [ring.fd])
            for slot in (2, -1, 2**40, 1):
                sock.send(wire.encode(wire.Submit(slot, 1, slot, 1, 2**62)))
            ends = [wire.client_bound(heard(sock)) for _ in range(4)]
            assert [type(e) for e in ends] == [
                wire.Refusal,
                wire.Refusal,
                wire.Refusal,
                wire.Answer,
            ]
        ring.close()


def test_a_client_that_waits_for_a_model_and_leaves_leaves_nothing(tmp_path: Path) -> None:
    with running(tmp_path, {}) as rig:
        before = descriptors()
        for _ in range(20):
            with raw_client(rig, "absent") as sock:
                assert isinstance(wire.client_bound(heard(sock)), wire.ModelInfo)
        until(lambda: descriptors() <= before, why="the host closed its ends")


def test_loans_to_a_model_that_is_not_loaded_come_back(tmp_path: Path) -> None:
    with running(tmp_path, {}) as rig, raw_client(rig, "absent") as sock:
        assert heard(sock)
        sock.send(wire.encode(wire.Submit(3, 4, 5, 1, 2**62)))
        refusal = wire.client_bound(heard(sock))
        assert isinstance(refusal, wire.Refusal)
        assert (refusal.slot, refusal.generation, refusal.seq) == (3, 4, 5)
        assert refusal.error.code == "model_not_ready"


def test_an_adapter_that_raises_anything_while_it_loads_is_in_error_and_its_clients_know(
    tmp_path: Path,
) -> None:
    def fail() -> None:
        raise KeyError("a bug of ours")

    adapters = {"/bad": ScriptedAdapter(load=fail), "/good": ScriptedAdapter()}
    with running(tmp_path, adapters) as rig:
        early = rig.lender()
        rig.order(wire.Load(model(path="/bad")))
        rig.until_status(ModelStatus.ERROR)
        late = rig.lender()
        for lender in (early, late):
            until(
                lambda lender=lender: (
                    lender.pump(0.01) is not None  # type: ignore[misc]
                    and lender.client.info is not None
                    and lender.client.info.status is ModelStatus.ERROR
                ),
                why="it is told",
            )
        rig.order(wire.Load(model(path="/good")))
        for lender in (early, late):
            assert isinstance(lender.until_ready().ask(1), wire.Answer)


def test_the_clients_of_a_host_that_ends_get_every_loan_back(tmp_path: Path) -> None:
    adapter = ScriptedAdapter(max_batch=1, gate=threading.Event())
    rig = Rig(tmp_path, {"m": adapter})
    rig.order(wire.Load(model()))
    lender = rig.lender().until_ready()
    for value in range(3):
        lender.lend(value)
    assert adapter.entered.acquire(timeout=5)
    assert adapter.gate is not None
    adapter.gate.set()
    rig.control.close()
    until(
        lambda: lender.pump(0.01) is not None and not lender.client.is_connected,
        why="the connection ended",
    )
    assert lender.client.on_loan == 0
    assert lender.client.ring is None
    rig.close()


def resident_mb() -> float:
    return float(psutil.Process().memory_info().rss) / 2**20


def test_descriptors_and_memory_stay_flat_over_reconnects_and_loads(tmp_path: Path) -> None:
    adapters = {"m": ScriptedAdapter(side=128)}

    def round_trip(times: int) -> None:
        for n in range(times):
            lender = rig.lender()
            assert isinstance(lender.until_ready().ask(1), wire.Answer)
            if n % 10 == 0:
                rig.order(wire.Load(model()))
                assert isinstance(lender.until_ready().ask(1), wire.Answer)
            lender.client.close()
        until_clients(rig, 0)

    with running(tmp_path, adapters) as rig:
        rig.order(wire.Load(model()))
        round_trip(40)
        until(lambda: rig.status() is ModelStatus.READY, why="the last load is there")
        fds, memory = descriptors(), resident_mb()
        round_trip(200)
        until(lambda: descriptors() <= fds, why="no descriptor is left over")
        assert resident_mb() - memory < 4.0  # 200 leaked rings would be 30 MB and more


def test_of_a_hundred_thousand_frames_none_is_torn(tmp_path: Path) -> None:
    """Each frame is one value in every byte; a byte of another frame would be seen."""
    torn = 0

    def check(frames: Frames) -> list[Detections]:
        nonlocal torn
        flat = frames.reshape(len(frames), -1)
        low, high = flat.min(axis=1), flat.max(axis=1)
        if (low != high).any() and len(np.unique(flat[0])) < 10:  # the probe is a picture
            torn += 1
        return mark(frames)

    target = 100_000
    with running(
        tmp_path,
        {"m": ScriptedAdapter(check, side=16, max_batch=32)},
        batch_wait_ms=0.0,
        queue_limit=256,
    ) as rig:
        rig.order(wire.Load(model(max_batch=32)))
        lenders = [rig.lender(slots=32).until_ready() for _ in range(2)]
        answered = 0
        for turn in range(10 * target):
            if answered >= target:
                break
            for lender in lenders:
                client, ring = lender.client, lender.client.ring
                assert ring is not None
                while (slot := ring.take()) is not None:
                    lender.seq += 1
                    ring.input(slot, 16, 16)[:] = lender.seq & 0xFF
                    assert client.submit(slot, seq=lender.seq, admitted=32, deadline_s=1e9)
                for arrival in lender.pump(0.001 if turn % 2 else 0.0):
                    assert isinstance(arrival, wire.Answer), arrival
                    assert value_of(arrival) == arrival.seq & 0xFF
                    answered += 1
        assert answered >= target
        assert torn == 0
        assert found(3).boxes_px[0, 0] == 3
