# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How a served model is asked, and how what it writes is read."""

from __future__ import annotations

import enum
import re

from molmo_ros.engine.answers import EngineError, InvalidQuestion, Question
from molmo_ros.engine.requests import prompt_of
from molmo_ros.pointing import (
    JsonStyle,
    Mode,
    Reading,
    Style,
    prompt_for,
    read_json_points,
    read_points,
)

# As their makers word it: Qwen3-VL's cookbooks, the guide of Gemini Robotics-ER.
_ASKED = {
    JsonStyle.QWEN: 'Locate every instance that belongs to the following: {phrase}. Report points '
    'in JSON format: [{"point_2d": [x, y], "label": "..."}, ...], x and y from 0 to 1000. If there '
    'is none, answer [].',
    JsonStyle.GEMINI: 'Point to {phrase}. The answer should follow the JSON format: '
    '[{"point": [y, x], "label": "..."}, ...]. The points are in [y, x] format normalized to '
    '0-1000. If there is none, answer [].',
}


class Manner(enum.Enum):
    """MOLMO, MOLMO2: tags, as in `pointing.Style`. JSON: lists with x before y in thousandths, as
    Qwen3-VL writes them; JSON_YX: y before x, as Gemini Robotics-ER does."""

    MOLMO = 'molmo'
    MOLMO2 = 'molmo2'
    JSON = 'json'
    JSON_YX = 'json_yx'

    @property
    def style(self) -> Style | None:
        """Of the tags; None where there are none."""
        return {Manner.MOLMO: Style.MOLMO, Manner.MOLMO2: Style.MOLMO2}.get(self)

    @property
    def _json_style(self) -> JsonStyle:
        return JsonStyle.GEMINI if self is Manner.JSON_YX else JsonStyle.QWEN

    @property
    def stop(self) -> str:
        """What the server may stop at: nothing but the label and the tag's end follows; '' none."""
        return {Manner.MOLMO: '" alt', Manner.MOLMO2: '">'}.get(self, '')

    def prompt(self, question: Question) -> str:
        """The question in words. Raises InvalidQuestion."""
        if self.style is not None or question.mode is Mode.ASK:
            return prompt_of(question, self.style or Style.MOLMO)
        try:
            # In one line and without control characters, as in a template of Molmo.
            phrase = ' '.join(prompt_for(question.query, Mode.ASK).split())
        except ValueError as error:
            raise InvalidQuestion(str(error)) from error
        return _ASKED[self._json_style].replace('{phrase}', phrase)

    def written(self, prompt: str) -> str:
        """How what the server reads ends where its template is right; '' where that is not known.

        The image's tokens come before it.
        """
        if self is Manner.MOLMO:
            return f' User: {prompt} Assistant:'
        if self is Manner.MOLMO2:
            return f'<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n'
        return ''

    def read(self, text: str, width: int, height: int) -> Reading:
        """What an answer about an image of that size says."""
        if self.style is not None:
            return read_points(text, width, height)
        return read_json_points(text, width, height, self._json_style)


_NAMES = (
    (Manner.MOLMO2, re.compile(r'molmo-?2', re.IGNORECASE)),
    (Manner.MOLMO, re.compile(r'molmo', re.IGNORECASE)),
    (Manner.JSON_YX, re.compile(r'gemini', re.IGNORECASE)),
    (Manner.JSON, re.compile(r'qwen-?(?:[3-9]|[1-9][0-9])[\w.]*-?vl', re.IGNORECASE)),
)
_UNKNOWN = (re.compile(r'molmo-?point', re.IGNORECASE),)


def manner_of(model: str, style: str) -> Manner:
    """The manner that `style` names, or with 'auto' the model's name. Raises EngineError."""
    choices = ', '.join(manner.value for manner in Manner)
    if style != 'auto':
        try:
            return Manner(style)
        except ValueError as error:
            raise EngineError(f'style is {style!r}, not one of auto, {choices}') from error
    if not any(name.search(model) for name in _UNKNOWN):
        for manner, name in _NAMES:
            if name.search(model):
                return manner
    raise EngineError(
        f'how {model} writes points cannot be told from its name: set style to one of {choices}'
    )
