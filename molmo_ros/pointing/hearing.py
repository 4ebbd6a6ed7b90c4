# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From what people type to the bare phrase, for a model that was taught bare phrases alone.

Releases are asked in the user's own words; see `prompts`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from molmo_ros.pointing.prompts import Mode, label_for

_QUOTES = re.compile('["`\u201c\u201d\u201e\u00ab\u00bb]+')
_SINGLE = "'\u2018\u2019"  # may stand within a word too
_ENDS = ' \t\n.,;:!?'
_LOOK = 'image|picture|photo|photograph|scene|view|frame'

# What may stand before the thing asked for. Longer forms first: the first that fits is taken.
_BEFORE = (
    r'(?:hey|hi|hello|ok|okay|robot|please|kindly|thanks|so|then|now|just)\b,?',
    r'(?:do|can) you (?:see|find|have)\b',
    r'(?:can|could|would|will) you\b',
    r"(?:i would|i'd) like(?: you)? to\b",
    r"(?:i would|i'd) like\b",
    r"(?:i am|i'm|we are|we're) (?:looking|searching) for\b",
    r'i (?:want|need)(?: you)? to\b',
    r'i (?:want|need)\b',
    r'(?:help me(?: to)?|try to|go and)\b',
    r'(?:is|are) there\b(?: any\b)?',
    r'how many\b',
    r'(?:the )?number of\b',
    r"where(?: can i find| is| are|'s|s)\b",
    r'(?:show|tell) me where\b',
    r'(?:show|give|bring|hand|pass|fetch|get) me\b',
    r'(?:point|aim)(?: me)?(?: out| at| to| towards)?\b',
    r'(?:look|search) (?:at|for)\b',
    r'(?:find|locate|show|get|grab|grasp|bring|fetch|take|touch|detect|identify|highlight)\b',
    r'(?:pick|lift)(?: up)?\b',
    r'(?:reach for|move to|go to)\b',
    r'count\b',
)
_LEAD = re.compile(rf'(?:{"|".join(_BEFORE)})\s+(?=\S)', re.IGNORECASE)
# What may stand behind it.
_AFTER = (
    r'(?:,\s*|\s+)(?:please|thanks|thank you|for me|right now|now|here|robot)',
    r'\s+(?:are|is) there(?: (?:on|in) the \w+)?',
    r'\s+(?:do|can) you see',
    rf'\s+in (?:the|this) (?:{_LOOK})',
)
_TAIL = re.compile(rf'(?:{"|".join(_AFTER)})\Z', re.IGNORECASE)
_IS = re.compile(r'\s+(?:is|are)(?: located)?\Z|\s+located\Z', re.IGNORECASE)
_UP = re.compile(r'\s+up\Z', re.IGNORECASE)
_MINE = re.compile(r'(?:my|your|our|this|that|these|those)\s+(?=\S)', re.IGNORECASE)
_SOME = re.compile(r'(?:some|any)(?: of the)?\s+(?=\S)', re.IGNORECASE)
_HISSING = ('s', 'x', 'z', 'ch', 'sh')
_ARTICLE = re.compile(r'\ban? (?=([a-z]))', re.IGNORECASE)


def bare_phrase(query: str, mode: Mode = Mode.POINT) -> str:
    """The thing asked for, without what only makes it a request.

    Quotes and closing punctuation go, words of courtesy, verbs and question words before it, and
    what closes a request behind it: `Could you pick up "the mug", please?` becomes `the mug`, `how
    many mugs are there?` becomes `mugs`. `my` and `this` become `the`; what is counted (COUNT)
    loses its article, as `label_for` has it. A query of nothing else comes back as it is, so that
    the result is never empty where the query was not. A question asked as it stands (ASK) does so
    too.
    """
    if mode is Mode.ASK:
        return query
    phrase = ' '.join(_QUOTES.sub(' ', query).split())
    before = None
    while phrase != before:
        before = phrase
        phrase = _stripped(phrase)
    phrase = _SOME.sub('', _MINE.sub('the ', phrase, count=1), count=1)
    if mode is Mode.COUNT:
        phrase = label_for(phrase)
    return phrase or query


def _stripped(phrase: str) -> str:
    """One layer less."""
    phrase = phrase.rstrip(_ENDS)
    if len(phrase) > 2 and phrase[0] in _SINGLE and phrase[-1] in _SINGLE:
        phrase = phrase[1:-1].strip()
    lead = _LEAD.match(phrase)
    if lead:
        phrase = phrase[lead.end() :]
        words = lead[0].lower()
        if 'where' in words:
            phrase = _IS.sub('', phrase)
        if words.startswith(('pick', 'lift')):
            phrase = _UP.sub('', phrase)
    tail = _TAIL.search(phrase)
    return phrase[: tail.start()] if tail and tail.start() else phrase


def in_known_words(phrase: str, synonyms: Mapping[str, str]) -> str:
    """The phrase with words replaced by those to say instead.

    synonyms: the former, in lower case and singular, to the latter; plurals and articles follow.
    """
    if not synonyms:
        return phrase
    # Longer ones first: 'wine glass' before 'glass'.
    words = sorted(synonyms, key=len, reverse=True)
    known = re.compile(rf'\b({"|".join(map(re.escape, words))})(e?s)?\b(?!-)', re.IGNORECASE)

    def said(match: re.Match[str]) -> str:
        word = synonyms[match[1].lower()]
        if not match[2]:
            return word
        return word + ('es' if word.endswith(_HISSING) else 's')

    found = known.sub(said, phrase)
    if found == phrase:
        return phrase
    return _ARTICLE.sub(lambda a: 'an ' if a[1].lower() in 'aeiou' else 'a ', found)
