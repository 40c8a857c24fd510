"""Draws what was found on a picture, readable on a thumbnail and on a 4K frame alike."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from saccade.vision.detections import Detections

U8 = NDArray[np.uint8]
Color = tuple[int, int, int]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_BLACK: Color = (0, 0, 0)
_WHITE: Color = (255, 255, 255)
#: The golden ratio's fraction: successive hues never come close to each other.
_HUE_STEP = 0.6180339887498949


def class_color(index: int) -> Color:
    """Return the colour of a class as B, G, R; always the same for the same index."""
    hue = (0.33 + index * _HUE_STEP) % 1.0
    # Three brightnesses, so that neighbours in hue of a long list of classes still differ.
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, (0.95, 0.75, 0.85)[index % 3])
    return round(blue * 255), round(green * 255), round(red * 255)


def text_color(background: Color) -> Color:
    """Return black or white, whichever reads better on a colour (at least 4.5 : 1)."""
    with_white = contrast(_WHITE, background)
    return _WHITE if with_white >= contrast(_BLACK, background) else _BLACK


def contrast(a: Color, b: Color) -> float:
    """Return the contrast ratio of two B, G, R colours, 1 to 21.

    Source: WCAG 2.2, definitions of contrast ratio and relative luminance.
    """
    light, dark = sorted((_luminance(a), _luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def draw_detections(bgr: U8, found: Detections, labels: Sequence[str]) -> None:
    """Draw boxes and "label score" on a picture, in place; the best scored lie on top.

    Args:
        bgr: (height, width, 3) uint8, C-contiguous.
        found: in the picture's pixels.
        labels: a name per class; a class beyond them is shown by its number.
    """
    thickness, _ = line_sizes(bgr.shape[1], bgr.shape[0])
    # All boxes first: a label must not be crossed by the box of its neighbour.
    worst_first = np.argsort(found.scores, kind="stable")
    corners = np.rint(found.boxes_px).astype(int)
    for i in worst_first:
        x1, y1, x2, y2 = corners[i].tolist()
        color = class_color(int(found.classes[i]))
        cv2.rectangle(bgr, (x1, y1), (x2, y2), color, thickness, cv2.LINE_AA)
    for i in worst_first:
        index = int(found.classes[i])
        name = labels[index] if 0 <= index < len(labels) else f"class {index}"
        text = f"{_drawable(name)} {found.scores[i]:.2f}"
        _label(bgr, text, (int(corners[i, 0]), int(corners[i, 1])), class_color(index))


def line_sizes(width: int, height: int) -> tuple[int, float]:
    """Return the (line thickness in pixels, font scale) for a picture of that size."""
    side = min(width, height)
    # A tile of 360 lines is shown small on a wall: thinner lines and smaller text are lost there.
    return max(1, round(side / 180)), max(0.35, side / 800)


def _label(bgr: U8, text: str, corner: tuple[int, int], color: Color) -> None:
    thickness, font_scale = line_sizes(bgr.shape[1], bgr.shape[0])
    height, width = bgr.shape[:2]
    weight = max(1, thickness // 2)
    (text_width, text_height), baseline = cv2.getTextSize(text, _FONT, font_scale, weight)
    margin = thickness + 1
    tall, wide = text_height + baseline + margin, text_width + 2 * margin
    # Above the box; inside it at the top of the picture; never out of sight at the right.
    left = max(0, min(corner[0], width - wide))
    top = corner[1] - tall if corner[1] >= tall else max(0, corner[1])
    top = min(top, max(0, height - tall))
    cv2.rectangle(bgr, (left, top), (left + wide, top + tall), color, cv2.FILLED)
    origin = (left + margin, top + text_height + margin // 2 + 1)
    cv2.putText(bgr, text, origin, _FONT, font_scale, text_color(color), weight, cv2.LINE_AA)


def _drawable(name: str) -> str:
    """Return a name with "?" for what OpenCV's Hershey fonts lack: all but ASCII."""
    return "".join(c if " " <= c <= "~" else "?" for c in name)


def _luminance(color: Color) -> float:
    blue, green, red = (_linear(channel / 255) for channel in color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else float(((channel + 0.055) / 1.055) ** 2.4)
