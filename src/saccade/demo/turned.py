"""Bottles and cans: solids of revolution that lie on the belt, drawn from their normals."""

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
    bump,
    cloud,
    floats,
    ground,
    mix,
    pick,
    small_print,
    smooth,
    write,
)

_BOTTLE_WORDS = ("AQUA", "SPRING", "FRESH", "ICE TEA", "LEMON", "POP")
_CAN_WORDS = ("COLA", "FIZZ", "LIME", "TONIC", "ORANGE", "BREW")
#: What clear plastic does to the light behind it (B, G, R).
_TINTS: tuple[Colour, ...] = ((244, 222, 186), (236, 236, 226), (150, 212, 130), (112, 172, 222))
_CAPS: tuple[Colour, ...] = (
    (206, 110, 40), (60, 60, 214), (238, 240, 240), (70, 160, 60), (40, 150, 240), (60, 56, 54),
)  # fmt: skip
_METAL: Colour = (206, 204, 200)
_CAP_MM = 15.0


@dataclass(frozen=True, slots=True)
class _Surface:
    """The visible half of a solid of revolution, per pixel of its canvas."""

    along: Floats  # millimetres from the foot, on the surface
    around: Floats  # -1..1, across the axis; the sine of the angle
    nx: Floats
    ny: Floats
    nz: Floats
    inside: Floats  # 0..1


def _grid(length: float, radius: float, scale: float) -> tuple[Floats, Floats]:
    """Return x (mm from the foot) and y (mm from the axis) for a canvas with an 8 mm rim."""
    rim = 8.0
    width, height = math.ceil((length + 2 * rim) * scale), math.ceil(2 * (radius + rim) * scale)
    x = (np.arange(width, dtype=np.float32) + 0.5) / scale - rim
    y = (np.arange(height, dtype=np.float32) + 0.5 - height / 2) / scale
    xs, ys = np.meshgrid(x, y)
    return xs.astype(np.float32), ys.astype(np.float32)


def _surface(
    xs: Floats, ys: Floats, profile: tuple[Floats, Floats], *, tilt: float, scale: float
) -> _Surface:
    """Find the surface under each pixel of a solid whose radius follows `profile`.

    Args:
        xs: millimetres from the foot along the axis, for each pixel.
        ys: millimetres from the axis, for each pixel.
        profile: (places along the axis in mm, radius there in mm), both (n,).
        tilt: sine of the angle by which the far end leans to the camera; rings then look curved.
        scale: pixels in a millimetre; edges are one pixel soft.
    """
    places, radii = profile

    def radius_at(x: Floats) -> Floats:
        return np.interp(x, places, radii).astype(np.float32)

    radius = radius_at(xs)
    along = xs
    for _ in range(3):  # along depends on the radius and the radius on along: three rounds settle
        t = np.clip(ys / np.maximum(radius, 1e-3), -1.0, 1.0)
        along = xs + tilt * radius * np.sqrt(1.0 - t * t)
        radius = radius_at(np.clip(along, places[0], places[-1]))
    t = np.clip(ys / np.maximum(radius, 1e-3), -1.0, 1.0)
    nz = np.sqrt(1.0 - t * t)
    slope = (radius_at(along + 0.6) - radius_at(along - 0.6)) / 1.2
    norm = np.sqrt(1.0 + slope * slope)
    sides = np.clip((radius - np.abs(ys)) * scale + 0.5, 0.0, 1.0)
    ends = np.clip((along - places[0]) * scale + 0.5, 0.0, 1.0) * np.clip(
        (places[-1] - along) * scale + 0.5, 0.0, 1.0
    )
    return _Surface(
        along=np.asarray(along, np.float32),
        around=np.asarray(t, np.float32),
        nx=np.asarray(-slope / norm, np.float32),
        ny=np.asarray(t / norm, np.float32),
        nz=np.asarray(nz / norm, np.float32),
        inside=np.asarray(sides * ends, np.float32),
    )


def _wrapped(art: Picture, at: _Surface, *, start: float, scale: float, roll: float) -> Floats:
    """Return flat `art` (rows around, columns along from `start` mm) laid on the surface."""
    height = art.shape[0]
    angle = np.arcsin(np.clip(at.around, -1.0, 1.0)) / math.pi + 0.5 + roll  # 0..1: half way round
    map_x = (at.along - start) * scale
    map_y = np.mod(angle, 1.0) * (height - 1)
    laid = cv2.remap(
        art,
        np.asarray(map_x, np.float32),
        np.asarray(map_y, np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    out: Floats = laid.astype(np.float32)
    return out


def _pattern(art: Picture, rng: np.random.Generator, *, ink: Colour, other: Colour) -> None:
    """Print one of four patterns over the whole of `art`. In place."""
    height, width = art.shape[:2]
    style = int(rng.integers(4))
    if style == 0:  # rings
        for share in (0.12, 0.2, 0.82):
            x = round(width * share)
            cv2.rectangle(art, (x, 0), (x + max(2, width // 22), height), ink, -1)
    elif style == 1:  # a wave along the axis
        steps = np.arange(width)
        wave = height * (0.5 + 0.16 * np.sin(steps / width * 2 * math.pi + rng.uniform(0, 6)))
        for y, colour, thick in ((0.16, other, 0.16), (0.0, ink, 0.05)):
            line = np.stack([steps, wave + height * y], 1).astype(np.int32)
            cv2.polylines(art, [line], False, colour, max(2, round(height * thick)), cv2.LINE_AA)
    elif style == 2:  # slanted bars
        step = max(6, width // 7)
        for x in range(-height, width + height, step):
            cv2.line(art, (x, 0), (x + height // 2, height), other, max(2, step // 3), cv2.LINE_AA)
    else:  # two halves
        cv2.rectangle(art, (round(width * 0.62), 0), (width, height), other, -1)
        x = round(width * 0.62)
        cv2.rectangle(art, (x - width // 40, 0), (x + width // 40, height), ink, -1)


def _band_art(
    rng: np.random.Generator, length: float, radius: float, scale: float, words: tuple[str, ...]
) -> Picture:
    """Return printed art for half the way round: `length` mm by half the girth."""
    width, height = max(8, round(length * scale)), max(8, round(math.pi * radius * scale))
    base = pick(rng, GROUNDS)
    ink = pick(rng, INKS)
    other = pick(rng, GROUNDS)
    art = ground(height, width, base)
    _pattern(art, rng, ink=ink, other=other)
    centre = (width * 0.5, height * 0.5)
    if rng.random() < 0.5:
        axes = (round(width * 0.36), round(height * 0.24))
        middle = (round(centre[0]), round(centre[1]))
        cv2.ellipse(art, middle, axes, 0, 0, 360, mix(base, (20, 20, 20), 0.35), -1, cv2.LINE_AA)
        cv2.ellipse(art, middle, axes, 0, 0, 360, ink, max(1, height // 40), cv2.LINE_AA)
    word = words[int(rng.integers(len(words)))]
    write(art, word, centre, size_px=height * 0.26, room_px=width * 0.74, colour=ink)
    edge = (round(width * 0.1), round(height * 0.06), round(width * 0.5), round(height * 0.2))
    small_print(art, rng, edge, line_px=max(2, height // 50), colour=ink)
    if rng.random() < 0.5:
        bar_code(
            art,
            rng,
            (round(width * 0.6), round(height * 0.82), round(width * 0.9), round(height * 0.97)),
        )
    return art


def draw_can(rng: np.random.Generator, *, light: Light, px_per_mm: float) -> Drawing:
    """Draw a drink can that lies with its lid leaning to the camera.

    Args:
        rng: decides size, print, dents and lean.
        light: the lamp, seen from the can.
        px_per_mm: size of the drawing.
    """
    scale = px_per_mm
    radius = float(rng.uniform(28.0, 33.5))
    length = float(rng.choice([112.0, 116.0, 140.0]) * rng.uniform(0.95, 1.03))
    tilt = float(rng.uniform(0.26, 0.46))
    rim = radius * 0.83
    places = np.array([0, 3, 9, length - 13, length - 4, length - 3, length], np.float32)
    radii = np.array([0.76, 0.84, 1, 1, 0.82, 0.85, 0.85], np.float32) * radius
    xs, ys = _grid(length + radius * tilt, radius + 2, scale)
    at = _surface(xs, ys, (places, radii), tilt=tilt, scale=scale)

    art = _band_art(rng, length - 16, radius, scale, _CAN_WORDS)
    colour = _wrapped(art, at, start=6, scale=scale, roll=float(rng.uniform(-0.18, 0.18)))
    bare = np.maximum(1 - smooth(4.5, 6.0, at.along), smooth(length - 10, length - 8.5, at.along))
    colour = colour * (1 - bare[..., None]) + floats(_METAL) * bare[..., None]

    colour = _as_metal(colour, at, rng, light=light, bare=bare, scale=scale)
    plate, lid = _can_lid((xs - length) / (rim * tilt), ys / rim, rng, sharp=rim * tilt * scale)
    colour = colour * (1 - lid[..., None]) + plate * lid[..., None]
    cover = floats(np.maximum(at.inside, lid))
    return Drawing(floats(np.clip(colour, 0, 255) * cover[..., None]), cover, cover)


def _as_metal(
    colour: Floats,
    at: _Surface,
    rng: np.random.Generator,
    *,
    light: Light,
    bare: Floats,
    scale: float,
) -> Floats:
    """Return printed `colour` as it shines on a can; `bare` (0..1) is where nothing is printed."""
    # Dents: the metal's mirror image of the room bends with them.
    grain = max(6, round(11 * scale))
    dent = cloud(rng, *colour.shape[:2], grain=grain) * float(rng.uniform(0.01, 0.07))
    seen = floats(at.around + dent)
    lamp = float(np.clip(light.y * 0.62, -0.7, 0.7))
    room = (
        0.40
        + 0.95 * bump(seen, lamp, 0.15)
        + 0.36 * bump(seen, lamp - math.copysign(0.72, lamp), 0.13)
        - 0.14 * bump(seen, lamp + 0.34, 0.10)
        - 0.14 * bump(seen, lamp - 0.34, 0.10)
    )
    lit = (0.26 + 0.62 * light.on(at.nx, at.ny, at.nz)) * (0.55 + 0.75 * room)
    shine = 150 * bump(seen, lamp, 0.085) * (0.55 + 0.45 * bare) + 34 * room * bare
    colour = colour * lit[..., None] + shine[..., None]
    return floats(colour * (0.55 + 0.45 * smooth(0.0, 0.5, at.nz))[..., None])


def _can_lid(
    ex: Floats, ey: Floats, rng: np.random.Generator, *, sharp: float
) -> tuple[Floats, Floats]:
    """Return a lid with rim, tab and mouth, and where it is.

    Args:
        ex: along the can, in lid radii from its centre, for each pixel.
        ey: across the can, likewise.
        rng: decides how the brushed metal is turned.
        sharp: pixels in the lid's short radius; its edge is one pixel soft.
    """
    reach = np.sqrt(ex * ex + ey * ey)
    lid = np.clip((1.0 - reach) * sharp + 0.5, 0.0, 1.0)
    sweep = np.arctan2(ey, ex) * 2.0 + float(rng.uniform(0, 6))
    plate = 176 + 34 * np.cos(sweep) + 12 * np.cos(sweep * 2.5)
    plate = plate - 70 * bump(reach, 0.84, 0.05) + 60 * bump(reach, 0.95, 0.05)
    mouth = bump(np.sqrt((ex * 1.1) ** 2 + ((ey - 0.45) * 2.2) ** 2), 0.0, 0.42)
    tab = np.sqrt((ex * 2.2) ** 2 + ((ey + 0.10) * 1.9) ** 2)
    plate = plate - 96 * smooth(0.45, 0.75, mouth) + 44 * (1 - smooth(0.62, 0.72, tab))
    plate = plate - 90 * (1 - smooth(0.20, 0.28, np.abs(tab - 0.30))) * 0.6
    return floats(np.clip(plate, 24, 255)[..., None] * (floats(_METAL) / 206.0)), floats(lid)


def _bottle_profile(
    rng: np.random.Generator, length: float, radius: float
) -> tuple[Floats, Floats]:
    """Return the outline of a bottle: foot, ribbed body, shoulder, neck, collar, cap."""
    places = np.arange(0, length + 0.25, 0.5, dtype=np.float32)
    neck_r = float(rng.uniform(10.5, 12.5))
    cap_r = neck_r + float(rng.uniform(2.2, 3.4))
    cap_from, neck_from = length - _CAP_MM, length - float(rng.uniform(30, 36))
    shoulder_from = length * float(rng.uniform(0.56, 0.66))
    radii = radius * (0.80 + 0.20 * smooth(0, 9, places))
    low, high = length * 0.10, length * 0.30
    ribs = smooth(low, low + 6, places) * (1 - smooth(high - 6, high, places))
    radii = radii - ribs * rng.uniform(0.5, 1.3) * (1 + np.cos(places / rng.uniform(1.3, 2.0)))
    fall = smooth(shoulder_from, neck_from, places)
    radii = radii * (1 - fall) + neck_r * fall
    radii = radii + (cap_r - neck_r + 1.5) * bump(places, cap_from - 5.0, 2.2)
    radii = np.where(places >= cap_from, cap_r, radii)
    radii = radii - 3.0 * smooth(length - 2.0, length, places)
    return places, np.asarray(radii, np.float32)


def draw_bottle(rng: np.random.Generator, *, light: Light, px_per_mm: float) -> Drawing:
    """Draw a clear plastic bottle: what lies behind it shows through, but for label and cap.

    Args:
        rng: decides size, shape, tint, label and cap.
        light: the lamp, seen from the bottle.
        px_per_mm: size of the drawing.
    """
    scale = px_per_mm
    length, radius = float(rng.uniform(168, 232)), float(rng.uniform(27.0, 34.0))
    places, radii = _bottle_profile(rng, length, radius)
    xs, ys = _grid(length, radius, scale)
    at = _surface(xs, ys, (places, radii), tilt=float(rng.uniform(0.02, 0.12)), scale=scale)
    lit = 0.42 + 0.74 * light.on(at.nx, at.ny, at.nz)
    crumple = cloud(rng, *xs.shape, grain=max(5, round(7 * scale)))

    # Clear plastic hides more towards its edge, where one looks through more of it.
    tint = floats(pick(rng, _TINTS))
    edge = 1.0 - at.nz
    cover = 0.30 + 0.42 * edge**1.6 + 0.03 * crumple
    body = tint * (lit * (0.86 + 0.05 * crumple) * (1.0 - 0.35 * edge))[..., None]
    wall = bump(np.abs(at.around), 0.93, 0.055)  # the dark line inside the rim
    body = body * (1.0 - 0.45 * wall[..., None])

    paper, on_label = _bottle_label(at, rng, length=length, radius=radius, scale=scale)
    paper = paper * (lit * (0.94 + 0.02 * crumple))[..., None]
    lid, on_cap = _bottle_cap(at, rng, length=length)
    lid = lid * lit[..., None]
    for layer, share in ((paper, on_label), (lid, on_cap)):
        body = body * (1 - share[..., None]) + layer * share[..., None]
        cover = cover * (1 - share) + 0.99 * share
    cover = np.clip(cover, 0.0, 1.0) * at.inside

    # Light on top: the lamp's long streak, a weaker one through the far wall, glints on ribs.
    clear = 1.0 - np.maximum(on_label, on_cap)
    lamp = float(np.clip(light.y * 0.62, -0.7, 0.7))
    bent = at.around + 0.035 * crumple
    streak = bump(bent, lamp, 0.06) * (0.5 + 0.5 * np.clip(1 + crumple * 0.4, 0, 1.6))
    through = bump(bent, -lamp * 1.05, 0.16)
    glint = light.glint(at.nx, at.ny, at.nz, sharpness=60.0)
    added = clear * (165 * streak + 52 * through + 120 * glint) + (1 - clear) * 46 * glint
    colour = body * cover[..., None] + (added * at.inside)[..., None]
    return Drawing(floats(np.clip(colour, 0, 255)), floats(cover), at.inside)


def _bottle_label(
    at: _Surface, rng: np.random.Generator, *, length: float, radius: float, scale: float
) -> tuple[Floats, Floats]:
    """Return a bottle's paper label, unlit, and where it is."""
    start = length * float(rng.uniform(0.30, 0.34))
    end = start + length * float(rng.uniform(0.20, 0.26))
    art = _band_art(rng, end - start, radius, scale, _BOTTLE_WORDS)
    paper = _wrapped(art, at, start=start, scale=scale, roll=float(rng.uniform(-0.2, 0.2)))
    begins, ends = (
        smooth(start - 0.4, start + 0.4, at.along),
        smooth(end - 0.4, end + 0.4, at.along),
    )
    return paper, floats(begins * (1 - ends))


def _bottle_cap(at: _Surface, rng: np.random.Generator, *, length: float) -> tuple[Floats, Floats]:
    """Return a bottle's screw cap with its knurls, unlit, and where it is."""
    start = length - _CAP_MM
    cap = floats(pick(rng, _CAPS))
    angle = np.arcsin(np.clip(at.around, -1, 1))
    knurl = 0.88 + 0.12 * np.cos(angle * 46.0) * (at.along < length - 3)
    knurl = knurl * (1 - 0.5 * bump(at.along, start + 2.6, 0.5))
    return floats(cap * knurl[..., None]), smooth(start - 0.3, start + 0.3, at.along)
