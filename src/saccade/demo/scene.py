"""A recycling kiosk's camera, drawn: bottles, cans and cartons pass on a belt, with the truth.

Everything is a function of (seed, index): any frame can be asked for, in any order. The scene
repeats itself after `loop_frames`, without a jump.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from saccade.demo.belt import BELT_BOTTOM, BELT_TOP, make_backdrop
from saccade.demo.drawing import Light, Picture
from saccade.demo.sprites import CLASS_NAMES, Label, Sprite, make_sprite, place
from saccade.errors import BadInput

__all__ = ["CLASS_NAMES", "MIN_VISIBLE", "KioskScene", "Label", "Truth"]

#: An object of which less than this share is in the picture is not in the truth.
MIN_VISIBLE = 0.40
#: How long a scene runs before it repeats, unless told otherwise.
LOOP_SECONDS = 40.0

_NOISE_TILES = 4
_MIN_SIDE = 64


@dataclass(frozen=True, slots=True)
class Truth:
    """An object that is really in the picture.

    Attributes:
        label: what it is.
        box_px: x0, y0, x1, y1 in pixels, clipped to the picture.
    """

    label: Label
    box_px: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class _Placed:
    """An object on the belt: where its centre is when the belt has not moved."""

    sprite: Sprite
    x_px: float
    y_px: float


class KioskScene:
    """One kiosk: its looks, its lamp, its camera and what passes on its belt.

    Args:
        seed: decides everything; the same seed gives the same pictures.
        width: of the pictures, pixels.
        height: of the pictures, pixels.
        fps: pictures in a second; the belt's speed in the picture follows from it.
        loop_frames: frames after which the scene repeats; None is 40 seconds of them. Under some
            12 seconds the belt runs faster: one round is at least two pictures long.

    Raises:
        BadInput: a size under 64 pixels, a rate or a loop that is not positive.
    """

    def __init__(
        self,
        seed: int,
        width: int = 640,
        height: int = 360,
        fps: float = 15.0,
        *,
        loop_frames: int | None = None,
    ) -> None:
        if width < _MIN_SIDE or height < _MIN_SIDE:
            raise BadInput(f"a scene of {width}x{height} pixels", fix="use at least 64x64")
        if fps <= 0 or (loop_frames is not None and loop_frames < 1):
            raise BadInput(
                f"a scene of {fps} frames a second that repeats after {loop_frames}",
                fix="both must be positive",
            )
        self.width, self.height, self.fps = width, height, fps
        self.loop_frames = loop_frames or max(1, round(LOOP_SECONDS * fps))
        rng = np.random.default_rng(seed)
        light = _light(rng)
        self._backdrop = make_backdrop(rng, width=width, height=height, light=light)
        self._direction = 1.0 if rng.random() < 0.6 else -1.0
        # The belt's way over one loop is a whole number of its pattern, so that the end meets the
        # start; the speed gives in for that, by less than half a pattern.
        wanted = height * float(rng.uniform(0.26, 0.46)) * self.loop_frames / fps
        pitch = self._backdrop.pitch_px
        self._track_px = max(round(wanted / pitch), math.ceil(2 * width / pitch)) * pitch
        scale = height / 360.0 * float(rng.uniform(0.80, 1.02))  # pixels in a millimetre
        self._objects = _fill_belt(
            rng, self._track_px, light=light, scale=scale, size=(width, height)
        )
        self._flicker = (int(rng.integers(1, 4)), float(rng.uniform(0.0, 0.025)))
        self._soft = float(rng.uniform(0.0, 0.75))
        sigma = float(rng.uniform(1.0, 4.0))
        shape = (_NOISE_TILES, height, width, 3)
        self._noise = (rng.normal(0, sigma, shape)).round().astype(np.int16)

    def render(
        self, index: int, *, backdrop: NDArray[np.uint8] | None = None
    ) -> tuple[NDArray[np.uint8], list[Truth]]:
        """Draw one frame.

        Args:
            index: which frame; any whole number.
            backdrop: (height, width, 3) uint8 BGR to put the objects on, instead of the kiosk.
                Training uses it.

        Returns:
            The picture, (height, width, 3) uint8 BGR, and what is in it, left to right.

        Raises:
            BadInput: `backdrop` has another shape than the scene.
        """
        step = index % self.loop_frames
        moved = self._direction * self._track_px * step / self.loop_frames
        if backdrop is None:
            picture = self._backdrop.at(moved)
        elif backdrop.shape == (self.height, self.width, 3):
            picture = backdrop.copy()
        else:
            raise BadInput(
                f"a backdrop of shape {backdrop.shape}",
                fix=f"give one of shape ({self.height}, {self.width}, 3)",
            )
        truths = []
        for placed in self._objects:
            # The track is a circle; each object is taken at its place nearest to the picture.
            half = self._track_px / 2
            x = (placed.x_px + moved - self.width / 2 + half) % self._track_px - half
            seen = place(picture, placed.sprite, x + self.width / 2, placed.y_px)
            if seen is not None and seen.share >= MIN_VISIBLE:
                truths.append(Truth(placed.sprite.label, seen.box_px))
        truths.sort(key=lambda truth: truth.box_px)
        return self._as_seen(picture, step), truths

    def _as_seen(self, picture: Picture, step: int) -> Picture:
        """Return the picture as this kiosk's camera would give it: lit, a little soft, noisy."""
        turns, depth = self._flicker
        gain = 1.0 + depth * math.sin(2 * math.pi * turns * step / self.loop_frames)
        lit = cv2.multiply(picture, self._backdrop.lamp, scale=gain / 128.0)
        if self._soft > 0.25:
            lit = cv2.GaussianBlur(lit, (3, 3), self._soft)
        # Few tiles, shifted anew for each frame, look like fresh noise and cost a tenth of it.
        pick = (step * 2654435761) & 0xFFFFFFFF
        tile = np.roll(self._noise[pick % _NOISE_TILES], (pick >> 8) % self.height, axis=0)
        out: Picture = cv2.add(lit, tile, dtype=cv2.CV_8U)
        return out


def _light(rng: np.random.Generator) -> Light:
    """Return a lamp above the belt, off to a side."""
    angle = float(rng.uniform(0, 2 * math.pi))
    lean = float(rng.uniform(0.30, 0.62))
    return Light(lean * math.cos(angle), lean * math.sin(angle), math.sqrt(1 - lean * lean))


def _fill_belt(
    rng: np.random.Generator, track_px: int, *, light: Light, scale: float, size: tuple[int, int]
) -> tuple[_Placed, ...]:
    """Lay objects along the track, sometimes close, sometimes far apart, never on each other."""
    width, height = size
    top, bottom = height * BELT_TOP, height * BELT_BOTTOM
    labels = list(Label)
    placed: list[_Placed] = []
    at = 0.0
    bag: list[Label] = []
    while True:
        if not bag:  # each of the three comes as often as the others, in any order
            bag = [labels[int(i)] for i in rng.permutation(len(labels))]
        label = bag.pop()
        angle = float(rng.normal(0.0, 0.45) + (math.pi if rng.random() < 0.5 else 0.0))
        if rng.random() < 0.3:
            angle = float(rng.uniform(0, 2 * math.pi))
        shown = scale * float(rng.uniform(0.92, 1.08))
        sprite = make_sprite(label, rng, light=light, angle_rad=angle, px_per_mm=shown)
        wide, high = sprite.extent_px
        gap = width * (
            float(rng.uniform(0.015, 0.12))
            if rng.random() < 0.35
            else float(rng.uniform(0.2, 0.95))
        )
        if placed and at + wide + gap > track_px - width * 0.02:
            return tuple(placed)
        free = max(0.0, (bottom - top - high) / 2)
        y = (top + bottom) / 2 + float(rng.uniform(-0.9, 0.9)) * free
        placed.append(_Placed(sprite, at + wide / 2, y))
        at += wide + gap
