"""What the drawn objects share: light, palettes, printed art and a few curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]
Colour = tuple[float, float, float]  # B, G, R, each 0..255

#: Objects are drawn at this many times their size in the picture, then reduced: smooth edges.
OVERSAMPLING = 2

#: Printed grounds, and inks that read well on them (B, G, R).
GROUNDS: tuple[Colour, ...] = (
    (58, 52, 205), (170, 92, 32), (74, 142, 44), (36, 148, 238), (128, 60, 118), (46, 46, 48),
    (148, 150, 36), (196, 120, 60), (62, 92, 232), (52, 190, 226), (140, 176, 62), (110, 74, 200),
)  # fmt: skip
INKS: tuple[Colour, ...] = (
    (246, 248, 250), (238, 240, 226), (88, 214, 250), (214, 236, 246), (250, 228, 190),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Light:
    """Where the lamp is, as a unit vector to it: x right, y down, z to the camera."""

    x: float
    y: float
    z: float

    def turned(self, angle_rad: float) -> Light:
        """Return the same lamp seen from an object that lies turned by `angle_rad`."""
        cos, sin = math.cos(angle_rad), math.sin(angle_rad)
        return Light(self.x * cos + self.y * sin, self.y * cos - self.x * sin, self.z)

    def on(self, nx: Floats | float, ny: Floats | float, nz: Floats | float) -> Floats:
        """Return how much light a surface with that unit normal gets, 0..1 (Lambert)."""
        lit = np.maximum(np.asarray(nx) * self.x + np.asarray(ny) * self.y + nz * self.z, 0.0)
        return np.asarray(lit, np.float32)

    def glint(self, nx: Floats, ny: Floats, nz: Floats, *, sharpness: float) -> Floats:
        """Return the lamp's mirror highlight, 0..1 (Blinn-Phong half vector, camera at +z)."""
        half = math.sqrt(self.x**2 + self.y**2 + (self.z + 1.0) ** 2)
        cosine = (nx * self.x + ny * self.y + nz * (self.z + 1.0)) / half
        return np.asarray(np.power(np.clip(cosine, 0.0, 1.0), sharpness), np.float32)


@dataclass(frozen=True, slots=True)
class Drawing:
    """One object alone, its long axis along x, on a canvas that it fills without touching the rim.

    Attributes:
        colour: (h, w, 3) float32 BGR 0..255, already multiplied by `cover`; may exceed it where
            light is added (glints on a clear bottle).
        cover: (h, w) float32 0..1, how much of what lies behind is hidden.
        mask: (h, w) float32 0..1, the outline filled: what counts as the object.
    """

    colour: Floats
    cover: Floats
    mask: Floats


def floats(values: ArrayLike) -> Floats:
    """Return `values` as float32."""
    return np.asarray(values, np.float32)


def pick(rng: np.random.Generator, colours: Sequence[Colour]) -> Colour:
    """Return one of `colours`, slightly off, as prints are."""
    blue, green, red = colours[int(rng.integers(len(colours)))]
    shift = rng.uniform(-12, 12, 3)
    return (
        float(np.clip(blue + shift[0], 0, 255)),
        float(np.clip(green + shift[1], 0, 255)),
        float(np.clip(red + shift[2], 0, 255)),
    )


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return `first` with `share` (0..1) of `second` in it."""
    a, b = first, second
    keep = 1.0 - share
    return (
        a[0] * keep + b[0] * share,
        a[1] * keep + b[1] * share,
        a[2] * keep + b[2] * share,
    )


def smooth(low: float, high: float, values: Floats) -> Floats:
    """Return the smooth step of `values` from 0 at `low` to 1 at `high`."""
    t = np.clip((values - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), np.float32)


def bump(values: Floats, centre: float, width: float) -> Floats:
    """Return a Gaussian bump of height 1."""
    return np.asarray(np.exp(-(((values - centre) / width) ** 2)), np.float32)


def cloud(rng: np.random.Generator, height: int, width: int, *, grain: int) -> Floats:
    """Return soft noise, (height, width) float32 about 0 with deviation about 1.

    Args:
        rng: decides where the blobs are.
        height: in pixels.
        width: in pixels.
        grain: size of its blobs in pixels.
    """
    small = rng.normal(size=(height // grain + 3, width // grain + 3)).astype(np.float32)
    big = cv2.resize(small, None, fx=grain, fy=grain, interpolation=cv2.INTER_CUBIC)
    out: Floats = big[grain : grain + height, grain : grain + width]
    return out


def ground(height: int, width: int, colour: Colour) -> Picture:
    """Return a canvas of one colour, (height, width, 3) uint8."""
    return np.full((height, width, 3), colour, np.float32).astype(np.uint8)


def write(
    canvas: Picture,
    text: str,
    centre: tuple[float, float],
    *,
    size_px: float,
    room_px: float,
    colour: Colour,
) -> None:
    """Write `text` in place, centred, its letters at most `size_px` high and `room_px` wide."""
    font = cv2.FONT_HERSHEY_DUPLEX
    scale = size_px / 21.0  # the font's capitals are 21 pixels high at scale 1
    (width, _), _ = cv2.getTextSize(text, font, scale, max(1, round(size_px / 5.5)))
    scale *= min(1.0, room_px / max(width, 1))
    thick = max(1, round(scale * 21.0 / 5.5))
    (width, height), _ = cv2.getTextSize(text, font, scale, thick)
    at = (round(centre[0] - width / 2), round(centre[1] + height / 2))
    cv2.putText(canvas, text, at, font, scale, colour, thick, cv2.LINE_AA)


def small_print(
    canvas: Picture,
    rng: np.random.Generator,
    box: tuple[int, int, int, int],
    *,
    line_px: int,
    colour: Colour,
) -> None:
    """Draw lines that look like text too small to read into `box` (x0, y0, x1, y1)."""
    x0, y0, x1, y1 = box
    for y in range(y0 + line_px, y1, line_px * 2):
        end = x0 + int((x1 - x0) * rng.uniform(0.55, 1.0))
        cv2.line(canvas, (x0, y), (end, y), colour, max(1, line_px // 2), cv2.LINE_AA)


def bar_code(canvas: Picture, rng: np.random.Generator, box: tuple[int, int, int, int]) -> None:
    """Draw a bar code on white into `box` (x0, y0, x1, y1)."""
    x0, y0, x1, y1 = box
    cv2.rectangle(canvas, (x0, y0), (x1, y1), (240, 240, 240), -1)
    x = x0 + 3
    while x < x1 - 4:
        wide = int(rng.integers(1, 4))
        cv2.rectangle(canvas, (x, y0 + 3), (x + wide - 1, y1 - 3), (30, 30, 30), -1)
        x += wide + int(rng.integers(1, 4))
