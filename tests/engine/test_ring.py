"""Slots of shared memory: generations, double returns, little memory, what stays after an end."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saccade.engine.ring import Layout, Ring, RingView, i420_bytes

LAYOUT = Layout(i420_bytes(64, 48), 32 * 32 * 3)


@given(st.lists(st.integers(-1, 3), max_size=60), st.integers(1, 4))
def test_a_slot_is_held_once_and_each_use_has_a_generation_of_its_own(
    steps: list[int], slots: int
) -> None:
    ring = Ring(slots, LAYOUT)
    held: set[int] = set()
    uses = [0] * slots
    for step in steps:
        if step < 0:
            slot = ring.take()
            assert (slot is None) == (len(held) == slots)
            if slot is not None:
                assert slot not in held
                held.add(slot)
                uses[slot] += 1
        elif step in held:
            held.discard(step)
            ring.give_back(step)
        else:
            with pytest.raises(ValueError, match=f"slot {step}"):
                ring.give_back(step)
        assert ring.free == slots - len(held)
        assert ring.generations == uses
    ring.close()


def test_frame_and_input_of_all_slots_are_places_of_their_own() -> None:
    ring = Ring(3, LAYOUT)
    for slot in range(3):
        ring.frame(slot, 64, 48)[:] = slot * 2 + 1
        ring.input(slot, 32, 32)[:] = slot * 2 + 2
    for slot in range(3):
        assert (ring.frame(slot, 64, 48) == slot * 2 + 1).all()
        assert (ring.input(slot, 32, 32) == slot * 2 + 2).all()
    with pytest.raises(ValueError, match="the slot holds"):
        ring.frame(0, 66, 48)
    with pytest.raises(ValueError, match="the slot holds"):
        ring.input(0, 33, 32)
    ring.close()


def view_of(ring: Ring, **other: int) -> RingView:
    said = {
        "slots": ring.slots,
        "slot_bytes": ring.layout.slot_bytes,
        "input_offset": ring.layout.input_offset,
    }
    return RingView(ring.fd, **{**said, **other})


def test_a_view_sees_the_input_cannot_write_it_and_outlives_the_owner() -> None:
    ring = Ring(2, LAYOUT)
    ring.input(1, 32, 32)[:] = 42
    view = view_of(ring)
    seen = view.input(1, 32, 32)
    ring.close()
    assert (seen == 42).all()  # the owner's end takes no memory away from under a batch
    with pytest.raises(ValueError, match="read-only"):
        seen[0, 0, 0] = 1
    with pytest.raises(ValueError, match="slot 2"):
        view.input(2, 32, 32)
    with pytest.raises(ValueError, match="slot -1"):
        view.input(-1, 32, 32)
    with pytest.raises(ValueError, match="input 40x40"):
        view.input(0, 40, 40)
    view.close()
    assert (seen == 42).all()
    with pytest.raises(ValueError, match="reshape"):
        view.input(0, 32, 32)


def test_a_closed_ring_gives_no_picture_but_those_given_stay_readable() -> None:
    ring = Ring(1, LAYOUT)
    frame = ring.frame(0, 64, 48)
    frame[:] = 9
    ring.close()
    ring.close()
    assert (frame == 9).all()
    with pytest.raises(ValueError, match="reshape"):
        ring.frame(0, 64, 48)


@pytest.mark.parametrize(
    "said",
    [
        {"slots": 3},
        {"slots": 0},
        {"slot_bytes": 0},
        {"input_offset": -1},
        {"input_offset": 10**9},
        {"slot_bytes": 2**62},
    ],
)
def test_a_view_of_more_memory_than_there_is_is_refused(said: dict[str, int]) -> None:
    ring = Ring(2, LAYOUT)
    with pytest.raises(ValueError, match="slots of"):
        view_of(ring, **said)
    ring.close()


def test_the_memory_of_a_ring_can_never_shrink_so_no_reader_meets_sigbus() -> None:
    ring = Ring(2, LAYOUT)
    for size in (0, ring.layout.slot_bytes, ring.layout.slot_bytes * 3):
        with pytest.raises(PermissionError):
            os.ftruncate(ring.fd, size)
    ring.close()


SCRIPT = """
import resource, sys
from saccade.engine.ring import Layout, Ring
from saccade.errors import OutOfSlots
layout = Layout(4096 * 4, 4096)
limit = int(float(sys.argv[1]) * layout.slot_bytes)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    ring = Ring(5, layout)
except OutOfSlots as error:
    print("none", error.code)
else:
    for slot in range(ring.slots):
        ring.frame(slot, 64, 48)[:] = 1
    print(ring.slots, ring.free)
"""


@pytest.mark.parametrize(
    ("fits", "said"), [("2.5", "2 2"), ("9", "5 5"), ("0.5", "none out_of_slots")]
)
def test_fewer_slots_are_taken_when_memory_is_short_and_none_is_a_typed_error(
    fits: str, said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, fits],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, said), done.stderr


def test_a_client_without_frames_of_its_own_lends_inputs_only() -> None:
    ring = Ring(2, Layout(0, 1))
    assert ring.layout.input_offset == 0
    assert ring.layout.slot_bytes == 4096
    ring.close()
