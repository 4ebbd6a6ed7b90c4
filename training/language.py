# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How the demo checkpoint wants to be asked; see `molmo_ros.model.config.LanguageConfig`.

other_words.txt holds the English words that are one letter off one that it knows: those of SCOWL's
smaller list (Copyright 2000-2011 by Kevin Atkinson, free to use, copy, modify, distribute and sell
with this notice) that may name something, and those of `nouns`.
"""

from __future__ import annotations

from pathlib import Path

from molmo_ros.model.config import LanguageConfig
from molmo_ros.tabletop.questions.wording import plural
from training.questions import WORLD

_BESIDES = """
all and away behind between big biggest camera closest each empty every everything far
farthest free from front furthest gap in item items large largest left leftmost little nearest
object objects of on right rightmost small smallest space spot table the thing things tiniest
to
"""

# Other words for what it was taught, that need no learning.
SYNONYMS = {
    word: known
    for known, words in {
        'ball': ('sphere', 'orb'),
        'book': ('novel', 'paperback', 'textbook'),
        'bowl': ('basin',),
        'box': ('cube', 'crate', 'carton', 'package'),
        'brush': ('paintbrush', 'paint brush'),
        'can': ('tin', 'tin can', 'soda can', 'drinks can'),
        'cone': ('traffic cone',),
        'duck': ('rubber duck', 'toy duck', 'duckling', 'ducky'),
        'glass': ('wine glass', 'wineglass', 'goblet'),
        'hammer': ('mallet',),
        'lamp': ('desk lamp', 'table lamp'),
        'mug': ('cup', 'teacup', 'coffee cup', 'coffee mug'),
        'pan': ('frying pan', 'skillet'),
        'plate': ('dish', 'saucer'),
        'ring': ('hoop',),
        'scissors': ('shears', 'pair of scissors'),
        'spoon': ('teaspoon', 'tablespoon'),
        'purple': ('violet', 'lilac'),
        'red': ('crimson', 'scarlet'),
        'blue': ('azure', 'navy'),
        'green': ('emerald',),
        'yellow': ('golden',),
        'striped': ('stripy', 'stripey'),
        'spotted': ('dotted', 'spotty', 'polka dot'),
        'checked': ('checkered', 'chequered'),
    }.items()
    for word in words
}

KNOWN = frozenset(
    word
    for phrase in (
        *_BESIDES.split(),
        *WORLD.kinds,
        *map(plural, WORLD.kinds),
        *WORLD.colours,
        *WORLD.patterns,
        *(part for parts in WORLD.parts.values() for part in parts),
        *SYNONYMS,
        *map(plural, SYNONYMS),
    )
    for word in phrase.split()
)

LANGUAGE = LanguageConfig(
    lower_case=True,
    bare_phrases=True,
    words=' '.join(sorted(KNOWN)),
    other_words=' '.join(Path(__file__).with_name('other_words.txt').read_text().split()),
    synonyms=SYNONYMS,
)
