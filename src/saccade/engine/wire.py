"""The messages between processes: msgspec structs in msgpack, one in each SEQPACKET packet.

Two dialects share this file because both are read by the same few lines: a client and a host speak
of slots; a child and the supervisor speak of facts and orders. No pickle, ever.
"""

from __future__ import annotations

import array
import contextlib
import errno
import os
import socket
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec.msgpack import Decoder

from saccade.desired import CameraSpec, ModelSpec
from saccade.errors import ErrorInfo
from saccade.types import CameraId, CameraState, HostName, ModelName, ModelStatus

#: The largest packet a peer may send. Linux refuses longer ones at its default socket buffer; what
#: is longer (the state of 200 cameras, 20,000 labels) travels in a memfd, see `send`.
PACKET_BYTES: Final = 192 * 1024
#: The packet that says "read the memfd that came with me": msgpack never starts with this byte.
IN_MEMFD: Final = b"\xc1memfd"
#: The longest message a memfd may hold.
MEMFD_BYTES: Final = 64 * 1024 * 1024

# ---------------------------------------------------------------- client and host


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="hello"):
    """A client says who it is and which model it wants; the first message of a connection."""

    client: str
    model: ModelName


class Lend(msgspec.Struct, frozen=True, array_like=True, tag="lend"):
    """The client lends its ring; the memfd travels with it. A second one replaces the first."""

    slots: int
    slot_bytes: int
    input_offset: int
    load: int = 0  # of the model the ring was made for: `ModelInfo.load`


class Submit(msgspec.Struct, frozen=True, array_like=True, tag="submit"):
    """One slot is on loan until its answer, or the end of the connection."""

    slot: int
    generation: int
    seq: int
    admitted: int  # requests this client has under way, this one included
    deadline_ns: int  # monotonic; an answer after it is of no use


class ModelInfo(msgspec.Struct, frozen=True, array_like=True, tag="model"):
    """What the host knows of a model; sent at hello and whenever it changes."""

    name: ModelName
    status: ModelStatus
    reason: str
    width: int = 0  # of its input; 0: not known yet
    height: int = 0
    color: str = "rgb"
    pad: str = "center"
    pad_value: int = 114
    max_batch: int = 1
    labels: tuple[str, ...] = ()
    demo: bool = False
    #: Which load of the model this is; it grows with each. A ring is lent to one load: what was
    #: sent to the load before must not be read as this one's input, which may have another size.
    load: int = 0


class Answer(msgspec.Struct, frozen=True, array_like=True, tag="answer"):
    """The loan ends with what the model saw, in input pixels."""

    slot: int
    generation: int
    seq: int
    detections: bytes  # vision.detections.Detections.pack
    infer_ns: int
    batch: int


class Refusal(msgspec.Struct, frozen=True, array_like=True, tag="refusal"):
    """The loan ends without an answer."""

    slot: int
    generation: int
    seq: int
    error: ErrorInfo


HostBound = Hello | Lend | Submit
ClientBound = ModelInfo | Answer | Refusal

# ---------------------------------------------------------------- child and supervisor


class ModelFact(msgspec.Struct, frozen=True, kw_only=True, tag="model_fact"):
    """A host reports what became of a model; the supervisor moves its lifecycle."""

    name: ModelName
    status: ModelStatus
    reason: str = ""
    index: int = 0  # where its counters are in the host's page
    device: str = ""
    family: str = ""
    width: int = 0
    height: int = 0
    labels: int = 0
    load_ms: float | None = None
    warmup_ms: float | None = None
    error: ErrorInfo | None = None


class CameraFact(msgspec.Struct, frozen=True, kw_only=True, tag="camera_fact"):
    """A camera reports a change of its state."""

    id: CameraId
    state: CameraState
    reason: str = ""


class Good(msgspec.Struct, frozen=True, tag="good"):
    """The process has done its work once: deaths from now on are not a bad start."""


class Wanted(msgspec.Struct, frozen=True, tag="wanted"):
    """The server passes on what should run from now on."""

    cameras: tuple[CameraSpec, ...]
    models: tuple[ModelSpec, ...]


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """Finish what is under way and leave."""

    reason: str = ""


class Load(msgspec.Struct, frozen=True, tag="load"):
    """A host is to load a model and prove it."""

    spec: ModelSpec


class Unload(msgspec.Struct, frozen=True, tag="unload"):
    """A host is to let a model go."""

    name: ModelName


class ProcessState(msgspec.Struct, frozen=True, kw_only=True):
    """One process as the supervisor sees it."""

    name: str
    role: str
    state: str
    pid: int
    page: int
    restarts: int
    started_at: float
    reason: str = ""


class ModelState(msgspec.Struct, frozen=True, kw_only=True):
    """One model as the supervisor sees it."""

    name: ModelName
    host: HostName
    status: ModelStatus
    reason: str
    since_wall: float
    fact: ModelFact | None
    spec: ModelSpec
    page: int
    last_error: ErrorInfo | None = None
    last_error_wall: float | None = None


class CameraStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One camera as the supervisor sees it."""

    id: CameraId
    state: CameraState
    reason: str
    since_wall: float
    spec: CameraSpec
    page: int


class TreeState(msgspec.Struct, frozen=True, kw_only=True, tag="tree"):
    """All of it, sent to the server and the router whenever something changed."""

    version: int
    processes: tuple[ProcessState, ...]
    models: tuple[ModelState, ...]
    cameras: tuple[CameraStatus, ...]


class Happened(msgspec.Struct, frozen=True, kw_only=True, tag="happened"):
    """The supervisor tells the router of a fact that is worth an event."""

    kind: str
    severity: str
    message: str
    camera: CameraId | None = None
    model: ModelName | None = None
    data: dict[str, str | int | float | None] = {}


FromChild = ModelFact | CameraFact | Good | Wanted
ToChild = Stop | Load | Unload | TreeState | Happened

# ---------------------------------------------------------------- camera to router and server


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """One object on one frame, in native pixels."""

    label: str
    confidence: float
    box_px: tuple[float, float, float, float]


class Observation(msgspec.Struct, frozen=True, kw_only=True, tag="observation"):
    """What a model saw on one frame of one camera."""

    camera: CameraId
    model: ModelName
    seq: int
    at: float  # monotonic capture time, seconds
    at_wall: float
    width: int
    height: int
    seen: tuple[Seen, ...]
    appear_frames: int
    leave_seconds: float


class Tile(msgspec.Struct, frozen=True, kw_only=True, tag="tile"):
    """The header of one picture for people; its JPEG follows."""

    camera: CameraId
    size: str
    seq: int
    width: int
    height: int
    at: float
    at_wall: float
    objects: int


class Watch(msgspec.Struct, frozen=True, tag="watch"):
    """The server says which picture sizes of this camera somebody is looking at."""

    sizes: tuple[str, ...]


_encoder = msgspec.msgpack.Encoder()
_HOST_BOUND: Final[Decoder[HostBound]] = Decoder(HostBound)
_CLIENT_BOUND: Final[Decoder[ClientBound]] = Decoder(ClientBound)
_FROM_CHILD: Final[Decoder[FromChild]] = Decoder(FromChild)
_TO_CHILD: Final[Decoder[ToChild]] = Decoder(ToChild)
_OBSERVATION: Final = Decoder(Observation)

encode = _encoder.encode


MessageT = TypeVar("MessageT")


def _decode(decoder: Decoder[MessageT], packet: bytes) -> MessageT:
    """Decode a packet; whatever is wrong with it is one kind of error.

    Raises:
        msgspec.MsgspecError: it is no message. msgspec itself raises UnicodeDecodeError for a bad
            string and RecursionError for a deep nesting: both are the packet's fault as well.
    """
    try:
        return decoder.decode(packet)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(f"not a message: {type(error).__name__}") from None


def host_bound(packet: bytes) -> HostBound:
    """Decode a packet from a client. Raises msgspec.MsgspecError."""
    return _decode(_HOST_BOUND, packet)


def client_bound(packet: bytes) -> ClientBound:
    """Decode a packet from a host. Raises msgspec.MsgspecError."""
    return _decode(_CLIENT_BOUND, packet)


def from_child(packet: bytes) -> FromChild:
    """Decode a packet from a child of the supervisor. Raises msgspec.MsgspecError."""
    return _decode(_FROM_CHILD, packet)


def to_child(packet: bytes) -> ToChild:
    """Decode a packet from the supervisor. Raises msgspec.MsgspecError."""
    return _decode(_TO_CHILD, packet)


def observation(packet: bytes) -> Observation:
    """Decode a packet from a camera to the router. Raises msgspec.MsgspecError."""
    return _decode(_OBSERVATION, packet)


# ---------------------------------------------------------------- sockets


def short_address(folder_fd: int, name: str) -> str:
    """Return an address below 108 bytes for a socket in a folder with a path of any length."""
    return f"/proc/self/fd/{folder_fd}/{name}"


def listen(folder: Path, name: str, kind: int = socket.SOCK_SEQPACKET) -> socket.socket:
    """Bind and listen on `folder/name`, replacing what a dead supervisor left there."""
    folder_fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(FileNotFoundError):
            (folder / name).unlink()
        sock = socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC)
        try:
            sock.bind(short_address(folder_fd, name))
        except OSError:
            sock.close()
            raise
    finally:
        os.close(folder_fd)
    sock.listen(128)
    sock.setblocking(False)
    return sock


def connect(folder: str, name: str, kind: int = socket.SOCK_SEQPACKET) -> socket.socket:
    """Connect to `folder/name`; the answer is a non-blocking socket.

    Raises:
        OSError: nobody listens there.
    """
    folder_fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock = socket.socket(socket.AF_UNIX, kind | socket.SOCK_CLOEXEC)
        try:
            sock.setblocking(False)
            sock.connect(short_address(folder_fd, name))
        except OSError:
            sock.close()
            raise
    finally:
        os.close(folder_fd)
    return sock


def send(sock: socket.socket, packet: bytes) -> None:
    """Send one encoded message, of any length up to `MEMFD_BYTES`.

    Raises:
        BlockingIOError: the peer does not read.
        OSError: the peer is gone, or the message is longer than that.
    """
    if len(packet) <= PACKET_BYTES:
        sock.send(packet)
        return
    if len(packet) > MEMFD_BYTES:
        raise OSError(errno.EMSGSIZE, f"a message of {len(packet)} bytes")
    fd = os.memfd_create("saccade-message", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(packet)
        socket.send_fds(sock, [IN_MEMFD], [fd])
    finally:
        os.close(fd)


def hear(sock: socket.socket) -> bytes:
    """Return the next message's packet; b"" at the end. Descriptors that came along are closed.

    Raises:
        BlockingIOError: nothing is there.
    """
    packet, fds = receive(sock)
    for fd in fds:
        os.close(fd)
    return packet


def receive(sock: socket.socket) -> tuple[bytes, list[int]]:
    """Return the next message's packet and the descriptors that came with it; b"" at the end.

    Raises:
        BlockingIOError: nothing is there.
    """
    fds = array.array("i")
    try:
        packet, ancillary, _flags, _address = sock.recvmsg(
            PACKET_BYTES, socket.CMSG_SPACE(4 * fds.itemsize), socket.MSG_CMSG_CLOEXEC
        )
    except (ConnectionResetError, BrokenPipeError):
        return b"", []
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    if packet == IN_MEMFD and fds:
        packet = _contents(fds.pop(0))
    return packet, list(fds)


def _contents(fd: int) -> bytes:
    """Return what a peer's memfd holds; IN_MEMFD, which decodes to nothing, if it is none."""
    try:
        size = min(os.fstat(fd).st_size, MEMFD_BYTES)
        return os.pread(fd, size, 0) or IN_MEMFD
    except OSError:
        return IN_MEMFD
    finally:
        os.close(fd)
