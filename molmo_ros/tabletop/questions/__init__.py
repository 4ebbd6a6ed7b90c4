# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What people ask a robot about a table, and the right answer in Molmo's words.

A question is only asked where it has one right answer on that table. Used to train the demo
model and to measure any model; plain Python.
"""

from molmo_ros.tabletop.questions.asking import ask
from molmo_ros.tabletop.questions.question import (
    TableQuestion,
    Target,
    Topic,
    answer_for,
    prompt_of,
)
from molmo_ros.tabletop.questions.table import Thing, World

__all__ = [
    'TableQuestion',
    'Target',
    'Thing',
    'Topic',
    'World',
    'answer_for',
    'ask',
    'prompt_of',
]
