# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Points as JSON, as other models than Molmo write them, in thousandths of the image.

`[{"point_2d": [x, y], "label": "mug"}]` (Qwen3-VL) and `[{"point": [y, x], "label": "mug"}]`
(Gemini Robotics-ER), in prose or a code fence; `bbox_2d` and `box_2d` count with their middle. What
was cut short counts as far as its points are complete.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from molmo_ros.pointing.parser import MAX_CHARACTERS, MAX_LABEL, read_points
from molmo_ros.pointing.points import ImagePoint, Reading
from molmo_ros.pointing.prompts import Mode, prompt_for

_NUMBERS = r'\[\s{0,16}(-?[0-9][0-9.\s,\-]{0,120})\]'
_PLACE = re.compile(rf'"(point|point_2d|bbox_2d|box_2d)"\s{{0,16}}:\s{{0,16}}{_NUMBERS}')
_LABEL = re.compile(r'"label"\s{0,16}:\s{0,16}("(?:[^"\\]|\\.){0,800}")')
_EMPTY = re.compile(r'\[\s*\]')

_ASKED = {
    False: 'Locate every instance that belongs to the following: {phrase}. Report points in JSON '
    'format: [{"point_2d": [x, y], "label": "..."}, ...], x and y from 0 to 1000. If there is '
    'none, answer [].',
    True: 'Point to {phrase}. The answer should follow the JSON format: [{"point": [y, x], '
    '"label": "..."}, ...]. The points are in [y, x] format normalized to 0-1000. If there is '
    'none, answer [].',
}


def json_prompt(query: str, y_first: bool) -> str:
    """The question for points, or for a count, which the points are. Raises ValueError where the
    query is empty."""
    # In one line and without control characters, as in a template of Molmo.
    phrase = ' '.join(prompt_for(query, Mode.ASK).split())
    return _ASKED[y_first].replace('{phrase}', phrase)


def read_json_points(text: str, width: int, height: int, y_first: bool) -> Reading:
    """Read an answer about an image of `width` x `height` pixels; no text makes it raise.

    Points come in pixels, in the order of the text; one outside the image is dropped, and so is
    one read before. An empty list says that there is none. Text without JSON is read as Molmo's.
    """
    text = text[:MAX_CHARACTERS]
    seen: dict[tuple[float, float], ImagePoint] = {}
    found = False
    for x, y, label in _places(text, y_first):
        found = True
        if 0 <= x <= 1000 and 0 <= y <= 1000:
            point = ImagePoint(x / 1000 * width, y / 1000 * height, label)
            seen.setdefault((x, y), point)
    if found:
        return Reading(tuple(seen.values()))
    if _EMPTY.search(text):
        return Reading((), 0, absent=True)
    return read_points(text, width, height)


def _places(text: str, y_first: bool) -> Iterator[tuple[float, float, str]]:
    matches = list(_PLACE.finditer(text))
    for index, match in enumerate(matches):
        try:
            numbers = [float(word) for word in match.group(2).split(',')]
        except ValueError:
            continue
        if 'box' in match.group(1):
            if len(numbers) != 4:
                continue
            numbers = [(numbers[0] + numbers[2]) / 2, (numbers[1] + numbers[3]) / 2]
        if len(numbers) != 2:
            continue
        x, y = reversed(numbers) if y_first else numbers
        yield x, y, _label(text, matches, index)


def _label(text: str, matches: list[re.Match[str]], index: int) -> str:
    """Of the same object: between its braces, before the place or after it."""
    match = matches[index]
    begin = text.rfind('{', matches[index - 1].end() if index else 0, match.start())
    end = text.find('}', match.end())
    label = _LABEL.search(text, max(begin, 0), end if end >= 0 else len(text))
    if label is None:
        return ''
    try:
        words = str(json.loads(label.group(1)))
    except ValueError:
        return ''
    printable = ''.join(c if c.isprintable() else ' ' for c in words)
    return ' '.join(printable.split())[:MAX_LABEL]
