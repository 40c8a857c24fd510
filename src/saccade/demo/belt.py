"""The kiosk around the objects: its panels, rails, lamp and moving belt."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from saccade.demo.drawing import (
    Colour,
    Floats,
    Light,
    Picture,
    cloud,
    floats,
    ground,
    mix,
    pick,
    write,
)

#: Heights in the picture, as shares of it: the belt lies between the two.
BELT_TOP, BELT_BOTTOM = 0.175, 0.865
_RAIL = 0.045  # height of each metal rail
#: The belt's pattern repeats after this share of the picture's height.
_PITCH = 0.5

_RUBBERS: tuple[Colour, ...] = (
    (62, 60, 58),
    (74, 66, 56),
    (66, 72, 58),
    (84, 80, 76),
    (52, 50, 50),
)
_PANELS: tuple[Colour, ...] = (
    (96, 128, 44), (122, 92, 34), (84, 74, 66), (150, 146, 136), (70, 120, 70), (112, 66, 48),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Backdrop:
    """What is there when the belt is empty.

    Attributes:
        still: (h, w, 3) uint8 BGR, everything that does not move.
        belt: (belt height, w + pitch + 2, 3) uint8, the belt's pattern; periodic with `pitch_px`.
        top_px: first row of the belt in the picture.
        pitch_px: the pattern's period.
        lamp: (h, w, 3) uint8, 128 is unchanged: the lamp's pool of light and its colour.
    """

    still: Picture
    belt: Picture
    top_px: int
    pitch_px: int
    lamp: Picture

    def at(self, moved_px: float) -> Picture:
        """Return a new picture with the belt `moved_px` (either sign) from where it started."""
        out = self.still.copy()
        high, wide = self.belt.shape[0], self.still.shape[1]
        start = (-moved_px) % self.pitch_px
        left = int(start)
        # Half a pixel of belt matters: whole steps only would make it tremble.
        shift = floats([[1.0, 0.0, left - start], [0.0, 1.0, 0.0]])
        cut = cv2.warpAffine(
            self.belt[:, left : left + wide + 1], shift, (wide + 1, high), flags=cv2.INTER_LINEAR
        )
        out[self.top_px : self.top_px + high] = cut[:, :wide]
        return out


def _brushed(rng: np.random.Generator, height: int, width: int, tone: Colour) -> Floats:
    """Return brushed metal, (height, width, 3) float32: streaks along x under a soft sheen."""
    streaks = rng.normal(0, 9, (height, width)).astype(np.float32)
    streaks = cv2.GaussianBlur(streaks, (0, 0), sigmaX=14, sigmaY=0.4) * 2.6
    round_off = np.sin(np.linspace(0.25, math.pi - 0.15, height)).astype(np.float32)[:, None]
    sheen = 0.55 + 0.55 * round_off
    return np.asarray((floats(tone) + streaks[..., None]) * sheen[..., None], np.float32)


def _belt_pattern(rng: np.random.Generator, height: int, pitch: int, width: int) -> Picture:
    """Return rubber with cleats, worn and dusty; repeats along x after `pitch`."""
    rubber = pick(rng, _RUBBERS)
    tile = np.zeros((height, pitch, 3), np.float32) + floats(rubber)
    style = int(rng.integers(3))
    fine = np.tile(rng.normal(0, 3.4, (height, pitch)).astype(np.float32), (1, 3))
    fine = cv2.GaussianBlur(fine, (0, 0), 0.7)[:, pitch : 2 * pitch]
    tile += fine[..., None] * 2.0
    unit = height / 248.0
    x = np.arange(pitch, dtype=np.float32)
    if style == 0:  # low cleats across
        for start in (0.0, 0.5):
            edge = (x - pitch * start - 6) / max(unit, 0.2)
            tile += (24 * np.exp(-((edge / 2.2) ** 2)) - 22 * np.exp(-(((edge - 4) / 2.6) ** 2)))[
                None, :, None
            ]
    elif style == 1:  # chevrons
        y = np.abs(np.arange(height, dtype=np.float32) - height / 2)[:, None]
        phase = np.mod(x[None] + y * 0.55, pitch / 3) / max(unit, 0.2)
        tile += (
            15 * np.exp(-(((phase - 8) / 2.2) ** 2)) - 15 * np.exp(-(((phase - 12) / 2.4) ** 2))
        )[..., None]
    else:  # a fine diamond grip
        y = np.arange(height, dtype=np.float32)[:, None]
        turns = round(pitch / (9 * max(unit, 0.2)))
        across = 2 * math.pi * turns / pitch
        tile += (6.5 * np.sin(x[None] * across) * np.sin(y * across))[..., None]
    wide = np.tile(tile, (1, math.ceil((width + pitch + 2) / pitch), 1))[:, : width + pitch + 2]
    rows = cloud(rng, height, 4, grain=max(3, height // 24))[:, :1] * 3.2  # tracks worn along x
    wide = wide + rows[..., None]
    away = np.abs(np.linspace(-1, 1, height, dtype=np.float32))[:, None, None]
    wide = wide * (1.05 - 0.42 * away**5)  # darker under the rails
    for y in (round(height * 0.045), round(height * 0.955)):
        cv2.line(
            wide,
            (0, y),
            (wide.shape[1], y),
            mix(rubber, (70, 200, 235), 0.55),
            max(1, round(2 * unit)),
        )
    return np.asarray(np.clip(wide, 0, 255), np.uint8)


def _recycling_sign(canvas: Picture, centre: tuple[int, int], radius: int, colour: Colour) -> None:
    """Draw three arrows that chase each other."""
    for part in range(3):
        turn = part * 120 - 90
        cv2.ellipse(
            canvas, centre, (radius, radius), turn, 14, 96, colour, max(2, radius // 3), cv2.LINE_AA
        )
        tip = math.radians(turn + 118)
        at = math.radians(turn + 92)
        along = (centre[0] + radius * math.cos(tip), centre[1] + radius * math.sin(tip))
        inner = (centre[0] + radius * 0.55 * math.cos(at), centre[1] + radius * 0.55 * math.sin(at))
        outer = (centre[0] + radius * 1.45 * math.cos(at), centre[1] + radius * 1.45 * math.sin(at))
        cv2.fillPoly(
            canvas, [np.array([along, inner, outer]).astype(np.int32)], colour, cv2.LINE_AA
        )


def _panel(rng: np.random.Generator, width: int, height: int) -> Picture:
    """Return the kiosk's painted front above and the hazard strip below the belt."""
    paint = pick(rng, _PANELS)
    still = ground(height, width, paint)
    top = round(height * (BELT_TOP - _RAIL))
    fade = np.linspace(1.12, 0.78, max(top, 1), dtype=np.float32)[:, None, None]
    still[:top] = np.clip(still[:top] * fade, 0, 255).astype(np.uint8)
    ink: Colour = (236, 242, 240)
    middle = top * 0.52
    sign = max(3, round(top * 0.26))
    _recycling_sign(still, (round(height * 0.12), round(middle)), sign, ink)
    text_at = (round(height * 0.55), middle)
    write(
        still,
        "BOTTLES  CANS  CARTONS",
        text_at,
        size_px=top * 0.27,
        room_px=height * 0.62,
        colour=ink,
    )
    # A small display and a status lamp to the right.
    x1, x0 = width - round(height * 0.06), width - round(height * 0.46)
    y0, y1 = round(top * 0.22), round(top * 0.82)
    cv2.rectangle(still, (x0, y0), (x1, y1), mix(paint, (10, 10, 10), 0.8), -1, cv2.LINE_AA)
    cv2.rectangle(
        still, (x0, y0), (x1, y1), mix(paint, (200, 200, 200), 0.35), max(1, height // 240)
    )
    write(
        still, "INSERT ITEM", ((x0 + x1) / 2, (y0 + y1) / 2), size_px=top * 0.2,
        room_px=(x1 - x0) * 0.8, colour=(150, 226, 150),
    )  # fmt: skip
    cv2.circle(
        still,
        (x0 - round(height * 0.05), round(middle)),
        max(2, round(top * 0.09)),
        (90, 220, 90),
        -1,
        cv2.LINE_AA,
    )

    low = round(height * (BELT_BOTTOM + _RAIL))
    still[low:] = floats(mix(paint, (30, 30, 30), 0.72)).astype(np.uint8)
    step, strip = round(height * 0.06), max(3, round((height - low) * 0.34))
    for x in range(-step, width + step, step * 2):
        shape = np.array(
            [[x, low + strip], [x + step, low + strip], [x + step + strip, low], [x + strip, low]]
        )
        cv2.fillPoly(still, [shape.astype(np.int32)], (48, 188, 232), cv2.LINE_AA)
    return still


def _lamp(rng: np.random.Generator, width: int, height: int, light: Light) -> Picture:
    """Return the light's map: brightest towards the lamp, dim in the corners, tinted."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    cx, cy = width * (0.5 + 0.45 * light.x), height * (0.5 + 0.4 * light.y)
    away = np.hypot((x - cx) / width, (y - cy) / width)
    gain = float(rng.uniform(1.0, 1.32)) * (1.08 - float(rng.uniform(0.25, 0.65)) * away**2)
    warm = float(rng.uniform(-0.07, 0.07))
    tint = floats([1 - warm, 1.0, 1 + warm])
    return np.asarray(np.clip(gain[..., None] * tint * 128, 0, 255), np.uint8)


def make_backdrop(rng: np.random.Generator, *, width: int, height: int, light: Light) -> Backdrop:
    """Draw the kiosk with an empty belt.

    Args:
        rng: decides paint, rubber, pattern and lamp.
        width: of the picture, pixels.
        height: of the picture, pixels.
        light: the lamp that also lights the objects.
    """
    still = _panel(rng, width, height)
    top, bottom = round(height * BELT_TOP), round(height * BELT_BOTTOM)
    rail = round(height * _RAIL)
    metal: Colour = (178, 174, 168)
    for start in (top - rail, bottom):
        bar = _brushed(rng, rail, width, metal)
        still[start : start + rail] = np.clip(bar, 0, 255).astype(np.uint8)
        for x in range(round(height * 0.1), width, round(height * 0.36)):
            bolt = (x, start + rail // 2)
            cv2.circle(still, bolt, max(2, rail // 4), (92, 90, 88), -1, cv2.LINE_AA)
            cv2.circle(still, bolt, max(1, rail // 7), (190, 188, 184), -1, cv2.LINE_AA)
    pitch = round(height * _PITCH)
    belt = _belt_pattern(rng, bottom - top, pitch, width)
    shade = 1.0 - 0.45 * np.exp(-np.arange(bottom - top, dtype=np.float32) / (height * 0.018))
    belt = np.clip(belt * shade[:, None, None], 0, 255).astype(np.uint8)  # the upper rail's shadow
    return Backdrop(
        still=still, belt=belt, top_px=top, pitch_px=pitch, lamp=_lamp(rng, width, height, light)
    )
