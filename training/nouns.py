# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Nouns for what no rendered table has, so that a model learns to deny it.

nouns.txt holds them, a hyphen where two words stand together. It lacks the things of the tables,
other words for them and their classes (cup, fruit, bird, tool, ball, box), their parts, and what
may be seen in any picture (table, shadow, wood).
"""

from __future__ import annotations

from pathlib import Path

NOUNS = tuple(
    sorted(
        {word.replace('-', ' ') for word in Path(__file__).with_suffix('.txt').read_text().split()}
    )
)
KEPT = NOUNS[3::8]
"""Never trained on: what a checkpoint is measured with."""
TAUGHT = tuple(noun for noun in NOUNS if noun not in set(KEPT))
