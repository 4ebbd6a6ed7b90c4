# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The language of points: prompts, what Molmo writes, and the points it means."""

from molmo_ros.pointing.formatter import format_points
from molmo_ros.pointing.parser import read_points
from molmo_ros.pointing.points import ImagePoint, Reading
from molmo_ros.pointing.prompts import Mode, label_for, prompt_for

__all__ = [
    'ImagePoint',
    'Mode',
    'Reading',
    'format_points',
    'label_for',
    'prompt_for',
    'read_points',
]
