"""What a camera pays for a frame before its host sees it: the copy into a slot, and the letterbox.

Decoding comes before both and dwarfs them; it is shown apart, because no server can avoid it.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import material
from benchmarks.harness import Figure, Plan, Sample, Target, interleave
from saccade.cameras.sources import Picture, open_source
from saccade.desired import CameraSpec
from saccade.engine.ring import Layout, Ring, i420_bytes
from saccade.types import CameraId, SourceKind
from saccade.vision.letterbox import InputSpec, Letterbox
from saccade.vision.pixels import i420_into_input

TOPIC = "publish"
#: More than the caches hold, so that every copy reads memory as it does behind a decoder.
FRAMES = 24
INPUT = InputSpec(640, 640)
U8 = NDArray[np.uint8]
Item = TypeVar("Item")


def run(plan: Plan) -> list[Figure]:
    """Measure one frame's way from the decoder to the model's input."""
    with tempfile.TemporaryDirectory(prefix="saccade-bench-") as folder:
        clip = Path(folder) / "clip.mp4"
        material.write_clip(clip, FRAMES)
        return _measure(clip, plan)


def _measure(clip: Path, plan: Plan) -> list[Figure]:
    with_pictures = list(open_source(_spec(clip)).pictures())
    ring = Ring(3, Layout(i420_bytes(material.WIDTH, material.HEIGHT), INPUT.nbytes))
    plain = [_contiguous(picture) for picture in with_pictures]
    shape = (INPUT.height, INPUT.width, 3)
    repeats = 2 if plan.quick else 6

    def publish(picture: Picture) -> None:
        slot = ring.take()
        assert slot is not None
        picture.write(ring.frame(slot, picture.width, picture.height))
        ring.give_back(slot)

    def copy(frame: U8) -> None:
        slot = ring.take()
        assert slot is not None
        np.copyto(ring.frame(slot, material.WIDTH, material.HEIGHT), frame)
        ring.give_back(slot)

    ours, theirs = np.empty(shape, np.uint8), np.empty(shape, np.uint8)

    def letterbox(frame: U8) -> None:
        i420_into_input(frame, material.WIDTH, material.HEIGHT, INPUT, ours)

    def usual(frame: U8) -> None:
        _usual_letterbox(frame, theirs)

    def after_decoding(picture: Picture) -> None:
        slot = ring.take()
        assert slot is not None
        frame = ring.frame(slot, picture.width, picture.height)
        picture.write(frame)
        i420_into_input(frame, picture.width, picture.height, INPUT, ring.input(slot, *shape[:2]))
        ring.give_back(slot)

    samples = interleave(
        {
            "Picture.write into a slot": _each(publish, with_pictures, repeats),
            "numpy copy of the same bytes": _each(copy, plain, repeats),
            "i420_into_input": _each(letterbox, plain, repeats),
            "cvtColor, resize, pad": _each(usual, plain, repeats),
            "slot and letterbox": _each(after_decoding, with_pictures, repeats),
            "decoding (H.264, 1 thread)": lambda: _decode_us(clip),
        },
        plan.rounds * 3,
    )
    ring.close()
    return [
        samples.figure(
            TOPIC,
            "a decoded 1280x720 frame into its slot",
            ours="Picture.write into a slot",
            base="numpy copy of the same bytes",
            unit="us",
            target=Target(1.3, at_most=True),
        ),
        samples.figure(
            TOPIC,
            "letterbox of 1280x720 into 640x640",
            ours="i420_into_input",
            base="cvtColor, resize, pad",
            unit="us",
            target=Target(0.5, at_most=True),
        ),
        samples.figure(
            TOPIC,
            "slot and letterbox beside decoding",
            ours="slot and letterbox",
            base="decoding (H.264, 1 thread)",
            unit="us",
            note="Decoding is FFmpeg's work in the camera's process; it is here for proportion.",
        ),
    ]


def _each(work: Callable[[Item], None], items: Sequence[Item], repeats: int) -> Sample:
    """Return a sample: the median microseconds of one call over all items, several times over.

    The median of single calls and not their mean: one call is far shorter than a time slice, so
    another program's turn spoils few of them.
    """

    def sample() -> float:
        return statistics.median(_times_us(work, itertools.chain(*[items] * repeats)))

    return sample


def _times_us(work: Callable[[Item], None], items: Iterable[Item]) -> list[float]:
    times = []
    for item in items:
        began = time.perf_counter_ns()
        work(item)
        times.append((time.perf_counter_ns() - began) / 1e3)
    return times


def _decode_us(clip: Path) -> float:
    times, began = [], time.perf_counter_ns()
    for _frame in material.decoded(clip):
        now = time.perf_counter_ns()
        times.append((now - began) / 1e3)
        began = now
    return statistics.median(times[1:])


def _usual_letterbox(frame: U8, out: U8) -> None:
    """Letterbox as most code does: all pixels to RGB, resize, into the padded picture."""
    rgb = cv2.cvtColor(frame, cv2.COLOR_YUV2RGB_I420)
    box = Letterbox.fit(material.WIDTH, material.HEIGHT, INPUT)
    small = cv2.resize(rgb, (box.width, box.height), interpolation=cv2.INTER_LINEAR)
    out[:] = cv2.copyMakeBorder(
        small,
        box.top,
        INPUT.height - box.top - box.height,
        box.left,
        INPUT.width - box.left - box.width,
        cv2.BORDER_CONSTANT,
        value=(114, 114, 114),
    )


def _contiguous(picture: Picture) -> U8:
    out = np.empty((picture.height * 3 // 2, picture.width), np.uint8)
    picture.write(out)
    return out


def _spec(clip: Path) -> CameraSpec:
    return CameraSpec(
        id=CameraId("bench"),
        name="bench",
        kind=SourceKind.FILE,
        url=str(clip),
        display_url=clip.name,
        model=None,
        realtime=False,
    )
