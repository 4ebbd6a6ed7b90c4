# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The drafting grammar: what an answer's text so far forces, or at least suggests, to come next.

Functions of text, and `Follower`, which finds the same of a text that grows, without reading all
of it again; tokens are the engine's business. A draft is a guess that the engine puts through the
model and keeps as far as the model would have written it, so no guess can change the answer. The
number formats are `formatter`'s: one to three digits, a point and one decimal for Molmo; three
digits (four only for 1000) for Molmo2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from molmo_ros.pointing.formatter import (
    ABSENT,
    NOT_IN_IMAGE,
    Style,
    closing,
    counting_head,
    counting_tail,
)

_TAG = re.compile(r'<points?\b')
_COORDINATE = re.compile(r'\s([xy])([0-9]{0,6})="\s?([0-9]{0,3}(?:\.[0-9]?)?)')
_COORDS = 'coords="'
_IN_COORDS = re.compile(r'[0-9 \t:;,]*')
_FIELD_END = re.compile(r'[ \t:;,]')
_LABEL = '" alt'
_ALT = re.compile(r'" alt="([^"<>]+)"')
_LEFT_FOR_LABEL = re.compile(r'" ?[a/>]')
_STATED = re.compile(r'There are ([0-9]{1,4})(?: |\Z)')
_LONGEST_BEGUN = 16  # characters within which a tag, a coordinate, the label turn out to be one


@dataclass(frozen=True)
class Progress:
    """How far an answer has come."""

    written: str  # since the last thing that was not forced
    guesses: tuple[str, ...] = ()  # what `written` may become, likeliest first
    end: str = ''  # what `written` becomes if no point follows; empty amid a point
    total: str = ''  # what a count says after `end`
    known: int = 0  # points whose two coordinates are complete
    left: bool = False  # whether nothing but the label can follow
    begun: int = 0  # characters of a point begun after the known ones
    digit: bool = False  # whether a digit of a coordinate may follow, and nothing is forced


def draft(text: str, label: str, style: Style = Style.MOLMO) -> str:
    """Return the likely continuation of an answer, up to the next digit that must be seen.

    `text` is the answer so far, from right after `Assistant:` (Molmo's leading space included);
    `label` is `label_for(query)`. Empty where nothing can be guessed: at a digit, in prose, and at
    the end. A label that the model has written in alt counts for more than the one asked for.
    """
    follower = Follower(label, style)
    follower.read(text)
    return follower.draft()


def finished(text: str, max_points: int = 0, style: Style = Style.MOLMO) -> bool:
    """Return whether the answer's last coordinate is known, so that the rest need not be decoded.

    That is at the last digit of `max_points` points (0: no limit), at the last digit of `<point`,
    which holds one, where a list is left for its label, and at the end of an absence sentence.
    For POINT and COUNT; in prose (ASK) another tag may follow.
    """
    follower = Follower('', style)
    follower.read(text)
    return follower.finished(max_points)


def complete(text: str, label: str, style: Style = Style.MOLMO) -> str:
    """Return the canonical answer for one that `finished`: its tag closed, its count stated.

    A point that was only begun is taken back. A list that `max_points` cut short gets no count:
    how many there are was not seen.
    """
    progress = _progress(text, label, style)
    if progress.known and progress.begun:
        text = text[: -progress.begun]
        progress = _progress(text, label, style)
    end = progress.end + (progress.total if progress.left else '')
    return text + continuation(progress.written, (end,))


@dataclass
class _InTag:
    """How far a tag has been read: what ends before `at` is counted, and cannot change.

    stated: how many points Molmo2 said there are, before it points at them; 0 if it did not.
    known: complete points that another coordinate follows. point_at: where Molmo's last of those
    ends, or Molmo2's latest point begins. label_from: where Molmo's label is looked for. group_at,
    place: where Molmo2's group of fields begins, and how many of them are complete.
    """

    start: int
    counting: bool
    at: int
    stated: int = 0
    known: int = 0
    point_at: int = 0
    label_from: int = 0
    group_at: int = -1
    place: int = 0


class Follower:
    """Reads an answer while it is written.

    What has settled is not read again, so a whole answer takes time in proportion to its length.
    """

    def __init__(self, label: str, style: Style = Style.MOLMO) -> None:
        self._label, self._style = label, style
        self._text, self._settled = '', 0
        self.progress = Progress('')
        self._from = 0  # no tag begins before, but the one in `_tag`
        self._tag: _InTag | None = None

    def read(self, text: str, settled: int = 0) -> None:
        """Take the answer so far; its first `settled` characters will not change any more."""
        self._text, self._settled = text, settled
        self.progress = self._look(text, settled)

    def draft(self) -> str:
        """See the function `draft`."""
        return continuation(self.progress.written, self.progress.guesses)

    def after(self, more: str) -> tuple[str, bool]:
        """What `draft` would be after some more text, and whether a digit comes there."""
        progress = self._look(self._text + more, self._settled)
        return continuation(progress.written, progress.guesses), progress.digit

    def finished(self, max_points: int = 0) -> bool:
        """See the function `finished`."""
        if self._text.strip() in (ABSENT, NOT_IN_IMAGE):
            return True
        return self.progress.left or 0 < max_points <= self.progress.known

    def _look(self, text: str, settled: int) -> Progress:
        tag = self._tag
        for match in _TAG.finditer(text, self._from):
            if tag is None or tag.start != match.start():
                before = text[: match.start()]
                tag = _InTag(
                    match.start(),
                    before.strip() == counting_head().strip(),
                    match.start(),
                    stated_before(before),
                    label_from=match.start(),
                )
            if match.end() < settled:  # the character after it may unmake one
                self._tag, self._from = tag, match.start()
        if tag is None:
            self._from = max(self._from, settled - _LONGEST_BEGUN)
            return Progress(text, _openings(self._style, text))
        if tag is self._tag:
            self._from = max(self._from, settled - _LONGEST_BEGUN)
        read = _in_coords if self._style is Style.MOLMO2 else _in_tag
        return read(text, settled, tag, self._label)


def _progress(text: str, label: str, style: Style) -> Progress:
    follower = Follower(label, style)
    follower.read(text)
    return follower.progress


def continuation(written: str, guesses: Iterable[str]) -> str:
    """What the first of the guesses that begins as what is written adds to it."""
    for guess in guesses:
        if guess.startswith(written):
            return guess[len(written) :]
    return ''


def stated_before(text: str) -> int:
    """How many points a text says there are, as `There are 3 `; 0 where it begins otherwise."""
    stated = _STATED.match(text)
    return int(stated.group(1)) if stated else 0


def _openings(style: Style, text: str) -> tuple[str, ...]:
    tags = _tag_openings(style)
    if style is Style.MOLMO2 and (stated := _STATED.match(text)):
        return tuple(f'There are {stated.group(1)} {tag}' for tag in tags)
    counts = tuple(counting_head() + tag for tag in reversed(tags))
    return tuple(style.lead + start for start in (*tags, ABSENT, *counts, NOT_IN_IMAGE))


def _tag_openings(style: Style) -> tuple[str, ...]:
    return ('<points coords="1 1 ',) if style is Style.MOLMO2 else ('<point x="', '<points x1="')


def _in_tag(text: str, settled: int, tag: _InTag, label: str) -> Progress:
    """Molmo: `<point x= y= alt=>` or `<points x1= y1= ... alt=>`."""
    label_at = text.find(_LABEL, tag.label_from)
    if label_at < 0:
        tag.label_from = max(tag.label_from, settled - _LONGEST_BEGUN)
    stop = len(text) if label_at < 0 else label_at
    last = None
    known, point_end = tag.known, tag.point_at
    for coordinate in _COORDINATE.finditer(text, tag.at, stop):
        if last is not None and last.group(1) == 'y':
            known, point_end = known + 1, last.end()
        last = coordinate
        if coordinate.start() + _LONGEST_BEGUN <= settled:
            tag.at, tag.known, tag.point_at = coordinate.start(), known, point_end
    if last is None:
        tag.at = max(tag.at, min(settled, stop) - _LONGEST_BEGUN)
        return Progress(text[tag.start :], _tag_openings(Style.MOLMO))
    axis, index, number = last.groups()
    written = text[last.end() :]
    begun = len(text) - point_end if known else 0
    if not written and number[-2:-1] != '.':
        rest = _rest_of_percent(number)
        return Progress('', (rest,), known=known, begun=begun, digit=not rest)
    if axis == 'x':
        return Progress(written, (f'" y{index}="',), known=known, begun=begun)
    known += 1
    several = text.startswith('<points', tag.start)
    end = _end(written, label, Style.MOLMO, several)
    total = counting_tail(known) if tag.counting else ''
    following = f'" x{int(index or known) + 1}="'
    leads_on = following.startswith(written) and not end.startswith(written)
    return Progress(
        written,
        (following, end + total) if several else (end + total,),
        end,
        total,
        known,
        left=not several or _LEFT_FOR_LABEL.match(written) is not None,
        begun=len(written) if leads_on else 0,
    )


def _in_coords(text: str, settled: int, tag: _InTag, label: str) -> Progress:
    """Molmo2: `<points coords="image id x y id x y ...">`."""
    if tag.group_at < 0:
        found = text.find(_COORDS, tag.at)
        if found < 0:
            tag.at = max(tag.at, settled - _LONGEST_BEGUN)
            return Progress(text[tag.start :], _tag_openings(Style.MOLMO2))
        tag.at = tag.group_at = found + len(_COORDS)
    stop = _IN_COORDS.match(text, tag.at).end()  # type: ignore[union-attr]
    now = replace(tag)
    for match in _FIELD_END.finditer(text, tag.at, stop):
        now.at = match.end()
        if match[0] == ' ':
            now.place += 1
            if now.place % 3 == 1:
                now.point_at = now.at
        else:
            now.known += now.place // 3
            now.group_at, now.place = now.at, 0
        if now.at <= settled:
            tag.at, tag.known, tag.place = now.at, now.known, now.place
            tag.point_at, tag.group_at = now.point_at, now.group_at
    written, field, place = text[stop:], text[now.at : stop], now.place
    done = max(place - 1, 0) // 3
    known = now.known + done
    if place == 0 or place % 3 or len(field) < 3:
        begun = 1 + stop - (now.point_at if done else now.group_at)
        digit = place > 0 and place % 3 != 1 and len(field) < 3
        return Progress(*_next_field(field, place, known), known=known, begun=begun, digit=digit)
    known += 1
    end = _end(written, label, Style.MOLMO2, several=True)
    total = counting_tail(known) if tag.counting else '.' if tag.stated else ''
    following = f' {known + 1} '
    ends = known >= tag.stated if tag.stated else known == 1
    unsure = field == '100' and not written  # it may become 1000
    return Progress(
        written,
        (end + total, following) if ends else (following, end + total),
        end,
        total,
        known - unsure,
        left=written.startswith('"'),
        begun=1 + stop - now.point_at if unsure else 0,
    )


def _next_field(field: str, place: int, known: int) -> tuple[str, tuple[str, ...]]:
    """Return what is written of a field of `coords` and what it may become."""
    if place == 0:
        return field, () if known else ('1 1 ',)
    if place % 3 == 1:
        return field, (f'{known + 1} ',)
    return '', (' ',) if place % 3 == 2 and len(field) >= 3 else ()


def _rest_of_percent(number: str) -> str:
    if number in ('100', '100.'):
        return '.0'[number.count('.') :]
    return '.' if number == '0' or (len(number) == 2 and number.isdigit()) else ''


def _end(written: str, label: str, style: Style, several: bool) -> str:
    alt = _ALT.match(written)
    return closing(alt.group(1) if alt else label, style, several)
