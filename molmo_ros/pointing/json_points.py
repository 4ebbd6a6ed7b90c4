# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Points that others than Molmo write, as JSON in thousandths of the image.

Qwen3-VL writes [{"point_2d": [x, y], "label": "mug"}], Gemini Robotics-ER [{"point": [y, x],
"label": "mug"}]; which of the two numbers is x no text tells, so the style has to be said. Both may
put a fence of backticks or words around it, and a list cut short counts as far as its points are
whole. A box counts as its centre.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from molmo_ros.pointing.parser import MAX_CHARACTERS, absence_in, clean_label, stated_count
from molmo_ros.pointing.points import ImagePoint, Reading

_SCALE = 1000
_DEPTH = 8  # of lists and objects within each other
_POINT_KEYS = ('point_2d', 'point', 'points', 'coordinates', 'bbox_2d', 'box_2d', 'bbox', 'box')
_LABEL_KEYS = ('label', 'name', 'text', 'description')
_COUNT_KEYS = ('count', 'total')
_OBJECT = re.compile(r'\{[^{}]{1,2000}\}')
_BARE = re.compile(r'\[\s{0,8}([0-9]{1,4}(?:\.[0-9]{1,6})?)\s{0,8},\s{0,8}'
                   r'([0-9]{1,4}(?:\.[0-9]{1,6})?)\s{0,8}\]')  # fmt: skip
_FENCE = re.compile(r'```[a-z]{0,16}')


class JsonStyle(enum.Enum):
    """Which number of a pair comes first: QWEN x, GEMINI y."""

    QWEN = 'qwen3-vl'
    GEMINI = 'gemini-er'


def read_json_points(text: str, width: int, height: int, style: JsonStyle) -> Reading:
    """Read a JSON answer about an image of `width` x `height` pixels; no text makes it raise.

    As `read_points`: points in pixels of that image, those outside of it and repeated ones left
    out. `count` is what a field "count" or "total", or the words around, state. An empty list, or
    words that say so, is absence. Raises ValueError for a size below one pixel.
    """
    if width < 1 or height < 1:
        raise ValueError(f'an image has at least one pixel, not {width} x {height}')
    text = _FENCE.sub(' ', text[:MAX_CHARACTERS])
    whole, words = _parsed(text)
    pairs = list(_pairs(whole, '', style)) or list(_pieces(text, style))
    points: dict[tuple[float, float], ImagePoint] = {}
    for x, y, label in pairs:
        if 0 <= x <= _SCALE and 0 <= y <= _SCALE:
            place = x / _SCALE * width, y / _SCALE * height
            points.setdefault(place, ImagePoint(*place, clean_label(label)))
    count = _count(whole)
    if count is None:
        count = stated_count(words)
    none = whole in ([], {}) or absence_in(words, count)
    absent = not points and (count == 0 or none)
    return Reading(tuple(points.values()), 0 if absent else count, absent)


def _parsed(text: str) -> tuple[Any, str]:
    """The list or object that a text begins with, words before it left out, or None; the words."""
    begin = next((place for place, letter in enumerate(text) if letter in '[{'), len(text))
    try:
        value, end = json.JSONDecoder().raw_decode(text, begin)
    except (ValueError, RecursionError):
        return None, text.strip()
    return value, f'{text[:begin]} {text[end:]}'.strip()


def _pieces(text: str, style: JsonStyle) -> Iterator[tuple[float, float, str]]:
    """The points of a list that is cut short: of the objects that are whole, else bare pairs."""
    seen = False
    for match in _OBJECT.finditer(text):
        try:
            value = json.loads(match[0])
        except (ValueError, RecursionError):
            continue
        seen = True
        yield from _pairs(value, '', style)
    if not seen:
        for pair in _BARE.finditer(text):
            yield *_ordered([float(pair[1]), float(pair[2])], style), ''


def _pairs(
    value: Any, label: str, style: JsonStyle, depth: int = 0
) -> Iterator[tuple[float, float, str]]:
    if depth > _DEPTH:
        return
    if isinstance(value, dict):
        label = next((str(value[key]) for key in _LABEL_KEYS if value.get(key)), label)
        if _is_number(value.get('x')) and _is_number(value.get('y')):
            yield float(value['x']), float(value['y']), label
            return
        known = [value[key] for key in _POINT_KEYS if key in value]
        inner = known[:1] or [one for one in value.values() if isinstance(one, (list, dict))]
        for one in inner:
            yield from _pairs(one, label, style, depth + 1)
    elif isinstance(value, list):
        if len(value) in (2, 4) and all(map(_is_number, value)):
            yield *_ordered(_centre(value), style), label
            return
        for one in value:
            yield from _pairs(one, label, style, depth + 1)


def _centre(numbers: Sequence[float]) -> Sequence[float]:
    """A point as it is; of a box, whose corners are two points, its middle."""
    half = len(numbers) // 2
    if half == 1:
        return numbers
    return [(a + b) / 2 for a, b in zip(numbers[:half], numbers[half:], strict=True)]


def _ordered(pair: Sequence[float], style: JsonStyle) -> tuple[float, float]:
    """x, y."""
    first, second = float(pair[0]), float(pair[1])
    return (second, first) if style is JsonStyle.GEMINI else (first, second)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e6


def _count(value: Any) -> int | None:
    if not isinstance(value, dict):
        return None
    for key in _COUNT_KEYS:
        stated = value.get(key)
        if isinstance(stated, int) and not isinstance(stated, bool) and stated >= 0:
            return stated
    return None
