"""One object as it appears in the picture: drawn, turned, reduced, with its shadow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np

from saccade.demo.carton import draw_carton
from saccade.demo.drawing import OVERSAMPLING, Drawing, Floats, Light, Picture, floats
from saccade.demo.turned import draw_bottle, draw_can


class Label(StrEnum):
    """What the kiosk takes."""

    BOTTLE = "bottle"
    CAN = "can"
    CARTON = "carton"


#: In the order of the demo model's outputs.
CLASS_NAMES: tuple[str, ...] = tuple(label.value for label in Label)

_DRAW = {Label.BOTTLE: draw_bottle, Label.CAN: draw_can, Label.CARTON: draw_carton}
#: How dark the shadow of each is; plastic lets most of the light through.
_SHADOW = {Label.BOTTLE: 0.34, Label.CAN: 0.55, Label.CARTON: 0.55}
#: How far each stands up from the belt, millimetres: the length of its shadow.
_STANDS_MM = {Label.BOTTLE: 13.0, Label.CAN: 14.0, Label.CARTON: 17.0}


@dataclass(frozen=True, slots=True)
class Sprite:
    """An object in the picture's own pixels, its centre in the middle of its arrays.

    Attributes:
        colour: (h, w, 3) float32 BGR 0..255, already multiplied by its cover.
        cover: (h, w, 1) float32 0..1, shadow included.
        mask: (h, w) float32 0..1, the object alone.
        area_px: pixels of the object.
        extent_px: width and height of the object's own box.
    """

    label: Label
    colour: Floats
    cover: Floats
    mask: Floats
    area_px: float
    extent_px: tuple[float, float]


def make_sprite(
    label: Label, rng: np.random.Generator, *, light: Light, angle_rad: float, px_per_mm: float
) -> Sprite:
    """Draw one object.

    Args:
        label: what it is.
        rng: decides everything about its looks.
        light: the lamp, in the picture's frame.
        angle_rad: how its long axis is turned from the picture's x axis, clockwise.
        px_per_mm: its scale in the picture.
    """
    drawing = _DRAW[label](rng, light=light.turned(angle_rad), px_per_mm=px_per_mm * OVERSAMPLING)
    margin = math.ceil((_STANDS_MM[label] + 14.0) * px_per_mm)
    colour, cover, mask = _turned(drawing, angle_rad, margin)

    reach = _STANDS_MM[label] * px_per_mm / max(light.z, 0.3)
    shift = floats([[1, 0, -light.x * reach], [0, 1, -light.y * reach]])
    size = (mask.shape[1], mask.shape[0])
    cast = cv2.warpAffine(mask, shift, size, flags=cv2.INTER_LINEAR)
    cast = cv2.GaussianBlur(cast, (0, 0), max(0.8, 5.5 * px_per_mm))
    contact = cv2.GaussianBlur(mask, (0, 0), max(0.6, 2.2 * px_per_mm))
    dark = _SHADOW[label]
    shadow = np.clip(np.maximum(cast * dark, contact * dark * 1.15), 0.0, 0.9)
    under = 1.0 - (1.0 - shadow) * (1.0 - cover)

    y, x = np.nonzero(mask > 0.5)
    return Sprite(
        label=label,
        colour=colour,
        cover=np.asarray(under[..., None], np.float32),
        mask=mask,
        area_px=float(np.count_nonzero(mask > 0.5)),
        extent_px=(float(x.max() - x.min() + 1), float(y.max() - y.min() + 1)),
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """What of an object is in the picture.

    Attributes:
        box_px: x0, y0, x1, y1 of the part that is.
        share: of the object's pixels, 0..1.
    """

    box_px: tuple[float, float, float, float]
    share: float


def place(picture: Picture, sprite: Sprite, x_px: float, y_px: float) -> Seen | None:
    """Draw `sprite` with its centre at (x_px, y_px) into the picture, in place.

    Returns:
        What is seen of the object, or None when nothing is.
    """
    high, wide = sprite.mask.shape
    x, y = x_px - wide / 2, y_px - high / 2
    left, top = math.floor(x), math.floor(y)
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(picture.shape[1], left + wide + 1), min(picture.shape[0], top + high + 1)
    if x0 >= x1 or y0 >= y1:
        return None
    shift = floats([[1.0, 0.0, x - x0], [0.0, 1.0, y - y0]])
    size = (x1 - x0, y1 - y0)

    def moved(layer: Floats) -> Floats:
        out: Floats = cv2.warpAffine(layer, shift, size, flags=cv2.INTER_LINEAR)
        return out

    cover = moved(sprite.cover)[..., None]
    area = picture[y0:y1, x0:x1]
    blend = area * (1.0 - cover) + moved(sprite.colour)
    np.clip(blend, 0, 255, out=blend)
    area[:] = blend.astype(np.uint8)

    seen = (moved(sprite.mask) > 0.5).astype(np.uint8)
    pixels = float(cv2.countNonZero(seen))
    if not pixels:
        return None
    bx, by, bw, bh = cv2.boundingRect(seen)
    box = (float(x0 + bx), float(y0 + by), float(x0 + bx + bw), float(y0 + by + bh))
    return Seen(box, pixels / sprite.area_px)


def _turned(drawing: Drawing, angle_rad: float, margin: int) -> tuple[Floats, Floats, Floats]:
    """Return colour, cover and mask turned about the canvas's centre and reduced."""
    high, wide = drawing.mask.shape
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    width = math.ceil((abs(wide * cos) + abs(high * sin)) / OVERSAMPLING) + 2 * margin
    height = math.ceil((abs(wide * sin) + abs(high * cos)) / OVERSAMPLING) + 2 * margin
    k = 1.0 / OVERSAMPLING
    turn = floats(
        [
            [cos * k, -sin * k, width / 2 - k * (cos * wide - sin * high) / 2],
            [sin * k, cos * k, height / 2 - k * (sin * wide + cos * high) / 2],
        ]
    )

    # Half the size: a small blur first keeps thin print from flickering as it moves.
    def bring(layer: Floats) -> Floats:
        soft = cv2.GaussianBlur(layer, (3, 3), 0.7)
        out: Floats = cv2.warpAffine(soft, turn, (width, height), flags=cv2.INTER_LINEAR)
        return out

    return bring(drawing.colour), bring(drawing.cover), bring(drawing.mask)
