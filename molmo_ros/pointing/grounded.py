# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The drafting grammar of MolmoPoint, whose points are tokens instead of numbers.

As `grammar`, of texts in which a token of a point is written as its kind and number:
<points coords="<PATCH_7><SUBPATCH_2><LOCATION_4>1<PATCH_90>...2<END>">mugs</point>. Which patch and
which part of it has to be seen. The place within a part is seen too, but the model reads every one
alike, so one is drafted in the place of whichever it will be (see `ANY_LOCATION`), and what follows
with it.
"""

from __future__ import annotations

import re

from molmo_ros.pointing.formatter import (
    ABSENT,
    NOT_IN_IMAGE,
    counting_head,
    counting_tail,
)
from molmo_ros.pointing.grammar import Follower, Progress, continuation, stated_before
from molmo_ros.pointing.parser import clean_label

ANY_LOCATION = '<LOCATION_4>'

_HEAD = '<points coords="'
_LOCATION = '<LOCATION_'
_TAG = re.compile(r'<points coords="([^"]*)(?:">([^<]*)(?:</points?>?)?)?')
_TOKEN = re.compile(r'<(PATCH|SUBPATCH|LOCATION|END)(?:_[0-9]{1,6})?>')
_BEGINNINGS = ('<PATCH_', '<SUBPATCH_', '<LOCATION_', '<END>')


class GroundedFollower(Follower):
    """See `Follower`."""

    def __init__(self, label: str) -> None:
        super().__init__(label)

    def _look(self, text: str, settled: int) -> Progress:
        return progress(text, self._label)


def progress(text: str, label: str) -> Progress:
    """How far an answer has come."""
    begin = text.rfind('<points')
    if begin < 0 or not text.startswith(_HEAD, begin):
        return Progress(text, _openings(text) if begin < 0 else (text[:begin] + _HEAD,))
    before, body = text[:begin], text[begin + len(_HEAD) :]
    known, stated = body.count(_LOCATION), stated_before(before)
    total = '.' if stated else ''
    if before.strip() == counting_head().strip():
        total = counting_tail(known)
    close = f'">{label}</point>'
    latest = max(body.rfind(beginning) for beginning in _BEGINNINGS)
    last = _TOKEN.match(body, latest) if latest >= 0 else None
    if last is None:
        return Progress('', known=known, begun=0)
    kind, written = last.group(1), body[last.end() :]
    if kind == 'END':
        return Progress(written, (close + total,), close, total, known, left=True)
    if kind == 'SUBPATCH':
        begun = len(body) - body.rfind('<PATCH_')
        return Progress(written, (f'{ANY_LOCATION}{known + 1}',), known=known, begun=begun)
    if kind == 'PATCH':
        return Progress(written, known=known, begun=len(body) - last.start())
    number = str(known)
    # Where there is no token for no more points, the list ends in words.
    left = written.lstrip().removeprefix(number).startswith('"')
    guesses = (number + close + total,) if left else (number,)
    return Progress(written, guesses, number + close, total, known, left)


def complete(text: str, label: str) -> str:
    """As `grammar.complete`."""
    now = progress(text, label)
    if now.known and now.begun:
        text = text[: -now.begun]
        now = progress(text, label)
    end = now.end + (now.total if now.left else '')
    return text + continuation(now.written, (end,))


def label_at(text: str, place: int) -> str:
    """The label of a point whose tokens begin at a place of an answer; empty outside of tags."""
    for tag in _TAG.finditer(text):
        if tag.start(1) <= place < tag.end(1):
            return clean_label(tag.group(2) or '')
    return ''


def without_points(text: str) -> str:
    """The words around the points, for `read_points`."""
    return _TAG.sub(' ', text)


def _openings(text: str) -> tuple[str, ...]:
    stated = stated_before(text)
    if stated:
        return (f'There are {stated} {_HEAD}',)
    return (_HEAD, ABSENT, counting_head() + _HEAD, NOT_IN_IMAGE)
