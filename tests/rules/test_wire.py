"""Messages survive the way there and back, and hostile packets raise one kind of error."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import get_args, get_origin

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.desired import CameraSpec
from saccade.engine import wire
from saccade.types import CameraId, CameraState, ModelName, SourceKind

DECODERS: list[Callable[[bytes], object]] = [
    wire.host_bound,
    wire.client_bound,
    wire.from_child,
    wire.to_child,
    wire.observation,
]
#: Messages of each dialect; hypothesis fills their fields by their types.
DIALECTS: list[tuple[Callable[[bytes], object], list[type]]] = [
    (wire.host_bound, [wire.Hello, wire.Lend, wire.Submit]),
    (wire.client_bound, [wire.ModelInfo, wire.Answer, wire.Refusal]),
    (wire.from_child, [wire.ModelFact, wire.CameraFact, wire.Good, wire.Wanted]),
    (wire.to_child, [wire.Stop, wire.Load, wire.Unload, wire.TreeState, wire.Happened]),
    (wire.observation, [wire.Observation]),
]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SCALARS: dict[object, st.SearchStrategy[object]] = {
    int: st.integers(-(2**63), 2**64 - 1),
    float: st.floats(allow_nan=False),
    str: TEXT,
    bytes: st.binary(max_size=40),
    bool: st.booleans(),
    type(None): st.none(),
}


def of(kind: object) -> st.SearchStrategy[object]:
    """Return values of a message's or a field's type, as msgpack can carry them."""
    kind = getattr(kind, "__supertype__", kind)  # a NewType is what it is made of
    if kind in SCALARS:
        return SCALARS[kind]
    origin, args = get_origin(kind), get_args(kind)
    if origin is tuple:
        if args[-1] is Ellipsis:
            return st.lists(of(args[0]), max_size=2).map(tuple)
        return st.tuples(*map(of, args))
    if origin is dict:
        return st.dictionaries(of(args[0]), of(args[1]), max_size=2)
    if args:
        return st.one_of(*map(of, args))
    assert isinstance(kind, type)
    if issubclass(kind, StrEnum):
        return st.sampled_from(list(kind))
    assert issubclass(kind, msgspec.Struct)
    fields = msgspec.structs.fields(kind)
    return st.builds(kind, **{f.name: of(f.type) for f in fields if f.required})


@pytest.mark.parametrize(
    ("decode", "kind"),
    [(d, k) for d, kinds in DIALECTS for k in kinds],
    ids=lambda value: getattr(value, "__name__", None),
)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_message_is_the_same_after_the_way_there_and_back(
    decode: Callable[[bytes], object], kind: type, data: st.DataObject
) -> None:
    message = data.draw(of(kind))
    packet = wire.encode(message)
    assert not packet.startswith(wire.IN_MEMFD)
    assert decode(packet) == message


def survives(decode: Callable[[bytes], object], packet: bytes) -> None:
    with contextlib.suppress(msgspec.MsgspecError):
        decode(packet)


@given(st.sampled_from(DECODERS), st.binary(max_size=300))
def test_random_bytes_never_raise_anything_but_a_decoding_error(
    decode: Callable[[bytes], object], packet: bytes
) -> None:
    survives(decode, packet)


@given(st.sampled_from(DECODERS), st.data())
def test_a_message_with_some_bytes_changed_never_raises_anything_else(
    decode: Callable[[bytes], object], data: st.DataObject
) -> None:
    kinds = next(kinds for known, kinds in DIALECTS if known is decode)
    packet = bytearray(wire.encode(data.draw(of(data.draw(st.sampled_from(kinds))))))
    for _ in range(data.draw(st.integers(1, 4))):
        packet[data.draw(st.integers(0, len(packet) - 1))] = data.draw(st.integers(0, 255))
    survives(decode, bytes(packet))


@pytest.mark.parametrize(
    ("decode", "packet"),
    [
        (wire.host_bound, b"\x93\xa5hello\xa2\xff\xfe\xa1x"),  # a name that is no text
        (wire.host_bound, b"\x94\xa5hello\xa1a\xa1x" + b"\x91" * 100_000),  # deeper than the stack
        (wire.from_child, b"\x82\xa4type\xa4good\xa1z" + b"\x91" * 100_000),
        (wire.to_child, b"\x82\xa4type\xa4stop\xa6reason\xa1\xff"),
        (wire.observation, b"\x82\xa4type\xabobservation\xa1z\xdf\xff\xff\xff\xff"),
        (wire.client_bound, wire.IN_MEMFD),
        (wire.client_bound, b""),
    ],
)
def test_a_hostile_packet_is_a_decoding_error(
    decode: Callable[[bytes], object], packet: bytes
) -> None:
    with pytest.raises(msgspec.MsgspecError):
        decode(packet)


def pair() -> tuple[socket.socket, socket.socket]:
    a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    a.setblocking(False)
    b.setblocking(False)
    return a, b


def camera(n: int) -> CameraSpec:
    return CameraSpec(
        id=CameraId(f"camera-{n:03d}"),
        name=f"Camera {n}",
        kind=SourceKind.RTSP,
        model=None,
        url=f"rtsp://user:password@10.0.0.{n % 250}:554/stream/with/a/long/path",
        display_url=f"rtsp://10.0.0.{n % 250}:554/stream/with/a/long/path",
        revision="0" * 16,
    )


@pytest.mark.parametrize("cameras", [1, 100, 1000])
def test_the_state_of_any_number_of_cameras_reaches_the_server(cameras: int) -> None:
    ours, theirs = pair()
    state = wire.TreeState(
        version=1,
        processes=(),
        models=(),
        cameras=tuple(
            wire.CameraStatus(
                id=CameraId(f"camera-{n:03d}"),
                state=CameraState.LIVE,
                reason="",
                since_wall=1.0,
                spec=camera(n),
                page=n,
            )
            for n in range(cameras)
        ),
    )
    before = set(os.listdir("/proc/self/fd"))
    wire.send(ours, wire.encode(state))
    assert wire.to_child(wire.hear(theirs)) == state
    assert set(os.listdir("/proc/self/fd")) == before
    ours.close()
    theirs.close()


def test_a_message_nobody_should_send_is_refused_by_the_sender() -> None:
    ours, theirs = pair()
    with pytest.raises(OSError, match="bytes"):
        wire.send(ours, bytes(wire.MEMFD_BYTES + 1))
    ours.close()
    theirs.close()


def test_descriptors_that_came_along_with_a_plain_message_are_closed() -> None:
    ours, theirs = pair()
    before = set(os.listdir("/proc/self/fd"))
    reader, writer = os.pipe()
    socket.send_fds(ours, [wire.encode(wire.Good())], [reader, writer])
    os.close(reader)
    os.close(writer)
    assert isinstance(wire.from_child(wire.hear(theirs)), wire.Good)
    reader, writer = os.pipe()
    socket.send_fds(ours, [wire.IN_MEMFD], [reader])  # no memory at all
    os.close(reader)
    os.close(writer)
    with pytest.raises(msgspec.MsgspecError):
        wire.from_child(wire.hear(theirs))
    assert set(os.listdir("/proc/self/fd")) == before
    ours.close()
    theirs.close()


def test_a_socket_can_be_reached_in_a_folder_with_a_path_of_any_length(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 100) / ("b" * 100)
    folder.mkdir(parents=True)
    with wire.listen(folder, "x.sock") as listener, wire.connect(str(folder), "x.sock") as client:
        server, _address = listener.accept()
        with server:
            wire.send(client, wire.encode(wire.Hello("me", ModelName("m"))))
            assert wire.host_bound(wire.hear(server)) == wire.Hello("me", ModelName("m"))
    with pytest.raises(OSError, match="refused"):
        wire.connect(str(folder), "x.sock")
