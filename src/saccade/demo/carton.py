"""Cartons: a drink box that lies on its back, seen a little from the side."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from saccade.demo.drawing import (
    GROUNDS,
    INKS,
    Colour,
    Drawing,
    Floats,
    Light,
    Picture,
    bar_code,
    cloud,
    floats,
    ground,
    mix,
    pick,
    small_print,
    write,
)

_WORDS = ("MILK", "OAT", "JUICE", "SOY", "KEFIR", "MANGO")
_PAPERS: tuple[Colour, ...] = ((244, 246, 246), (226, 240, 246), (250, 240, 226))
_LEAF: Colour = (66, 150, 70)
_RIM_MM = 8.0

Point = tuple[float, float]
Quad = tuple[Point, Point, Point, Point]
Normal = tuple[float, float, float]
_Face = tuple[Picture, Quad, Normal]
_ROOF_NORMAL: Normal = (0.58, 0.0, 0.81)


def _front_art(rng: np.random.Generator, width: int, height: int) -> Picture:
    """Return the printed front, upright: (height, width, 3) uint8."""
    base = pick(rng, GROUNDS)
    paper = pick(rng, _PAPERS)
    art = ground(height, width, paper)
    split = round(height * rng.uniform(0.34, 0.5))
    x = np.arange(width + 1)
    wave = split + height * 0.05 * np.sin(x / width * 2 * math.pi + rng.uniform(0, 6))
    hill = np.concatenate(
        [np.stack([x, wave], 1), [[width, height], [0, height]]]
        if rng.random() < 0.6
        else [np.stack([x, wave], 1), [[width, 0], [0, 0]]]
    ).astype(np.int32)
    cv2.fillPoly(art, [hill], base, cv2.LINE_AA)
    word = _WORDS[int(rng.integers(len(_WORDS)))]
    high = bool(art[round(height * 0.16), width // 2].sum() > 600)
    colour = mix(base, (30, 20, 20), 0.25) if high else pick(rng, INKS)
    write(
        art,
        word,
        (width * 0.5, height * 0.17),
        size_px=height * 0.14,
        room_px=width * 0.84,
        colour=colour,
    )
    middle, big = (round(width * 0.5), round(height * 0.63)), round(width * 0.25)
    fruit = pick(rng, ((40, 140, 245), (60, 70, 226), (80, 190, 120), (246, 248, 250)))
    cv2.circle(art, middle, round(big * 1.18), pick(rng, INKS), -1, cv2.LINE_AA)
    cv2.circle(art, middle, big, fruit, -1, cv2.LINE_AA)
    shine = (middle[0] - big // 3, middle[1] - big // 3)
    cv2.circle(art, shine, max(1, big // 4), mix(fruit, (255, 255, 255), 0.5), -1, cv2.LINE_AA)
    leaf = (middle[0] + big // 2, middle[1] - big)
    cv2.ellipse(
        art, leaf, (max(2, big // 2), max(1, big // 5)), -30, 0, 360, _LEAF, -1, cv2.LINE_AA
    )
    box = (round(width * 0.14), round(height * 0.88), round(width * 0.86), round(height * 0.96))
    ink = mix(base, (60, 60, 60), 0.5) if art[box[1], box[0]].sum() > 600 else pick(rng, INKS)
    small_print(art, rng, box, line_px=max(2, height // 90), colour=ink)
    return art


def _side_art(rng: np.random.Generator, width: int, height: int, base: Colour) -> Picture:
    """Return the printed side, upright: a table of lines and a bar code."""
    art = ground(height, width, base)
    ink = mix(base, (250, 250, 250), 0.7) if sum(base) < 420 else mix(base, (40, 40, 40), 0.7)
    box = (round(width * 0.18), round(height * 0.12), round(width * 0.82), round(height * 0.55))
    small_print(art, rng, box, line_px=max(2, height // 60), colour=ink)
    bar_code(
        art,
        rng,
        (round(width * 0.2), round(height * 0.68), round(width * 0.8), round(height * 0.9)),
    )
    return art


def _laid(art: Picture, quad: Quad, scale: float, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """Return `art` laid on `quad` (top left, top right, bottom right, bottom left; mm) and where.

    Upright art has its top at the carton's top, which lies towards +x.
    """
    height, width = art.shape[:2]
    source = floats([[0, 0], [width, 0], [width, height], [0, height]])
    target = floats(quad) * floats(scale)
    turn = cv2.getPerspectiveTransform(source, target)
    size = (shape[1], shape[0])
    face = cv2.warpPerspective(
        art, turn, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    fixed = np.round(target * 256).astype(np.int32)  # fillPoly's fixed point: 8 bits of fraction
    where = np.zeros(shape, np.uint8)
    cv2.fillPoly(where, [fixed], 255, cv2.LINE_AA, 8)
    return face.astype(np.float32), where.astype(np.float32) / np.float32(255)


def _paint_cap(
    colour: Floats, rng: np.random.Generator, roof: Quad, *, scale: float, shade: float
) -> None:
    """Draw the screw cap, if this carton has one, on its front roof. In place."""
    if rng.random() > 0.6:
        return
    centre = np.mean(np.array(roof), axis=0) * scale
    big = max(2.0, 9.5 * scale)
    cap = pick(rng, ((60, 60, 214), (206, 110, 40), (238, 240, 240), (70, 160, 60)))
    at = (round(float(centre[0])), round(float(centre[1])))
    for axes, tone in (((0.95, 1.06), 0.45), ((0.86, 1.0), 0.8), ((0.62, 0.74), 1.0)):
        ellipse = (max(1, round(big * axes[0])), max(1, round(big * axes[1])))
        tint = tuple(min(255.0, c * tone * (0.55 + 0.5 * shade)) for c in cap)
        cv2.ellipse(colour, at, ellipse, 0, 0, 360, tint, -1, cv2.LINE_AA)


@dataclass(frozen=True, slots=True)
class _Box:
    """The faces of a carton that lies with its top towards +x, in millimetres on its canvas."""

    width: float
    height: float
    depth: float  # of the side, foreshortened
    down: bool  # the side that shows is at +y, else at -y
    size: tuple[float, float]  # of the canvas: across, along
    front: Quad
    side: Quad
    roof: Quad
    seal: Quad
    fold: Quad


def _box(rng: np.random.Generator) -> _Box:
    """Choose a carton's proportions and lay its faces out in oblique projection."""
    width = float(rng.uniform(66, 92))
    height = float(width * rng.uniform(1.45, 1.95))
    depth = float(width * rng.uniform(0.24, 0.42))
    gable, fin = float(width * rng.uniform(0.36, 0.46)), float(rng.uniform(10, 14))
    down = bool(rng.random() < 0.5)
    rim, tall = _RIM_MM, width + depth
    x0, x1 = rim, rim + height
    x2, x3 = x1 + gable, x1 + gable + fin
    near, far = (rim, rim + width) if down else (rim + tall, rim + depth)
    push = depth if down else -depth  # from the front's edge to the side's
    # Upright art's left is at -y after the turn (top towards +x), so left is always the lower y.
    low, high = min(near, far), max(near, far)
    ridge_low, ridge_high = low + push / 2, high + push / 2
    outer = far + push
    tip = far + push / 2  # the fold ends in a point; a millimetre there keeps the mapping regular
    return _Box(
        width=width,
        height=height,
        depth=depth,
        down=down,
        size=(tall + 2 * rim, height + gable + fin + 2 * rim),
        front=((x1, low), (x1, high), (x0, high), (x0, low)),
        side=((x1, far), (x1, outer), (x0, outer), (x0, far)),
        roof=((x2, ridge_low), (x2, ridge_high), (x1, high), (x1, low)),
        seal=((x3, ridge_low), (x3, ridge_high), (x2, ridge_high), (x2, ridge_low)),
        fold=((x2, tip), (x2, tip + math.copysign(1.0, push)), (x1, outer), (x1, far)),
    )


def _faces(rng: np.random.Generator, box: _Box, scale: float) -> tuple[_Face, ...]:
    """Print the carton: each face's art, place and unit normal, in the order they are painted."""
    high = max(8, round(box.height * scale))
    art = _front_art(rng, max(8, round(box.width * scale)), high)
    base, top = _colour_at(art, round(art.shape[0] * 0.98)), _colour_at(art, 1)
    flank = _side_art(rng, max(8, round(box.depth * 2 * scale)), high, base)
    seal = ground(24, 96, mix(top, (235, 235, 235), 0.35))
    for y in range(4, 24, 6):  # the crimp of the seal
        cv2.line(seal, (0, y), (96, y), mix(top, (120, 120, 120), 0.5), 1, cv2.LINE_AA)
    outward = 1.0 if box.down else -1.0
    return (
        (flank, box.side, (0.0, outward * 0.90, 0.43)),
        (ground(24, 24, mix(top, base, 0.3)), box.fold, (0.35, outward * 0.88, 0.32)),
        (ground(24, 48, top), box.roof, _ROOF_NORMAL),
        (seal, box.seal, (0.15, 0.0, 0.98)),
        (art, box.front, (0.0, 0.0, 1.0)),
    )


def _colour_at(art: Picture, row: int) -> Colour:
    """Return the colour near the left edge of that row."""
    blue, green, red = (float(c) for c in art[row, 2])
    return blue, green, red


def _shade(light: Light, normal: Normal) -> float:
    """Return how bright card with that normal is."""
    return 0.40 + 0.68 * float(light.on(*normal))


def draw_carton(rng: np.random.Generator, *, light: Light, px_per_mm: float) -> Drawing:
    """Draw a gable-top carton: front and one side face, roof, and the sealed fin on top.

    Args:
        rng: decides size, print, cap and which side shows.
        light: the lamp, seen from the carton.
        px_per_mm: size of the drawing.
    """
    scale = px_per_mm
    box = _box(rng)
    shape = (math.ceil(box.size[0] * scale), math.ceil(box.size[1] * scale))
    colour = np.zeros((*shape, 3), np.float32)
    cover = np.zeros(shape, np.float32)
    for picture, quad, normal in _faces(rng, box, scale):
        face, where = _laid(picture, quad, scale, shape)
        lit = face * _shade(light, normal)
        colour = floats(colour * (1 - where[..., None]) + lit * where[..., None])
        cover = np.maximum(cover, where)
    for start, end, tone in (  # worn edges
        (box.front[0], box.front[1], 0.25),
        (box.roof[0], box.roof[1], 0.35),
        (box.side[0], box.side[3], 0.3),
    ):
        ends = [tuple(round(v * scale) for v in point) for point in (start, end)]
        veil = np.zeros(shape, np.float32)
        cv2.line(veil, ends[0], ends[1], 1.0, max(1, round(0.9 * scale)), cv2.LINE_AA)
        colour = floats(colour * (1 - tone * veil[..., None]))
    _paint_cap(colour, rng, box.roof, scale=scale, shade=_shade(light, _ROOF_NORMAL))
    # Card is never flat: a soft sheen from the lamp's side and a few dull patches.
    wear = cloud(rng, *shape, grain=max(6, round(15 * scale))) * float(rng.uniform(0.015, 0.045))
    slope = np.linspace(-0.5, 0.5, shape[0], dtype=np.float32)[:, None] * light.y
    slope = slope + np.linspace(-0.5, 0.5, shape[1], dtype=np.float32)[None, :] * light.x
    colour = floats(colour * (1.0 + wear + 0.22 * slope)[..., None])
    return Drawing(floats(np.clip(colour, 0, 255) * cover[..., None]), cover, cover)
