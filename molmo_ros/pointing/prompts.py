# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The questions, worded as the models were trained on them."""

from __future__ import annotations

import enum
import re

from molmo_ros.pointing.formatter import Style


class Mode(enum.Enum):
    """What is asked of the model; the values are those of PointQuery.srv."""

    POINT = 0
    COUNT = 1
    ASK = 2


POINT_PROMPT = "Point to {label}\nPlease say 'This isn't in the image.' if it is not in the image."
# Molmo2's data have one sentence for what is absent, here and in answers.
MOLMO2_POINT_PROMPT = "Point to {label}\nPlease say 'There are none.' if it is not in the image."
COUNT_PROMPT = 'How many {label} are there?'

# Wordings that Molmo was trained on, for writing training questions. Molmo has `Point to every
# {label}` in both lists, answered now with points and now with a count; here it asks for points.
POINT_PROMPTS = (
    POINT_PROMPT,
    'Point to all occurrences of "{label}"',
    'Point to any {label} in the image',
    'Point: Where are the {label}',
    'Show me where a {label} is.',
    'Locate the {label}.',
    'Find the {label}',
    'find {label}.',
    'Point to every {label}',
    'Point to a {label}',
    'Point to the {label} in the image.',
    'Object: {label}\nInstruction: Point to the object.',
)
COUNT_PROMPTS = (
    COUNT_PROMPT,
    'Count the {label}.',
    'Point to and count the {label} in the picture.',
)

# Lone surrogates cannot be encoded, and tokenizers refuse them.
_CONTROL = re.compile('[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+')
_CONTROL_BUT_NEWLINE = re.compile('[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+')
_DETERMINER = re.compile(
    r'(?:(?:all of|all|every|each|any)\s+)?(?:(?:the|an|a)\s+)?(?=\S)', re.IGNORECASE
)


def prompt_for(query: str, mode: Mode, style: Style = Style.MOLMO) -> str:
    """Return the text that stands between `User: ` and ` Assistant:`, or in Molmo2's turn.

    The user's words stay as they are, case included. Outer whitespace goes, and runs of control
    characters become one space; a question asked as it stands (ASK) keeps its line breaks, while in
    the templates a line break would end the phrase. Raises ValueError where nothing remains.
    """
    if mode is Mode.ASK:
        words = _CONTROL_BUT_NEWLINE.sub(' ', query.replace('\r\n', '\n')).strip()
    else:
        words = _CONTROL.sub(' ', query).strip()
    if not words:
        raise ValueError('the query is empty: say what to look for, for example "the red mug"')
    if mode is Mode.POINT:
        prompt = MOLMO2_POINT_PROMPT if style is Style.MOLMO2 else POINT_PROMPT
        return prompt.replace('{label}', words)
    if mode is Mode.COUNT:
        return COUNT_PROMPT.replace('{label}', words)
    return words


def label_for(query: str) -> str:
    """Return the phrase that the model is expected to repeat as the label of its points.

    Molmo writes the label lower-cased. Its training had articles and `every` in the prompt, not in
    the label, so they are dropped: `Every red mug.` becomes `red mug`. Drafting verifies this
    guess: a wrong one costs time and nothing else.
    """
    phrase = _CONTROL.sub(' ', query).strip().rstrip('.?!').strip()
    determiner = _DETERMINER.match(phrase)
    return (phrase[determiner.end() :] if determiner else phrase).lower()
