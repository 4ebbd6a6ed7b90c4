# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The language of points: prompts, what Molmo writes, what it means, and what comes next."""

from molmo_ros.pointing.formatter import (
    ABSENT,
    NOT_IN_IMAGE,
    Style,
    format_absence,
    format_count,
    format_points,
    openings,
)
from molmo_ros.pointing.grammar import Follower, complete, draft, finished
from molmo_ros.pointing.hearing import bare_phrase, in_known_words
from molmo_ros.pointing.json_points import JsonStyle, read_json_points
from molmo_ros.pointing.parser import read_points
from molmo_ros.pointing.points import ImagePoint, Reading, centred, from_centred
from molmo_ros.pointing.prompts import (
    COUNT_PROMPTS,
    POINT_PROMPTS,
    Mode,
    label_for,
    prompt_for,
)
from molmo_ros.pointing.spelling import respelt

__all__ = [
    'ABSENT',
    'COUNT_PROMPTS',
    'NOT_IN_IMAGE',
    'POINT_PROMPTS',
    'Follower',
    'ImagePoint',
    'JsonStyle',
    'Mode',
    'Reading',
    'Style',
    'bare_phrase',
    'centred',
    'complete',
    'draft',
    'finished',
    'format_absence',
    'format_count',
    'format_points',
    'from_centred',
    'in_known_words',
    'label_for',
    'openings',
    'prompt_for',
    'read_json_points',
    'read_points',
    'respelt',
]
