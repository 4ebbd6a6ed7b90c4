# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The drafting grammar: what an answer's text so far forces, or at least suggests, to come next.

Pure functions of text; tokens are the engine's business. A draft is a guess that the engine puts
through the model and keeps as far as the model would have written it, so no guess can change the
answer. The number formats are `formatter`'s: one to three digits, a point and one decimal for
Molmo; three digits (four only for 1000) for Molmo2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

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
_COORDS = re.compile(r'coords="([0-9 \t:;,]*)')
_SEPARATOR = re.compile(r'[\t:;,]')
_ALT = re.compile(r'" alt="([^"<>]+)"')
_LEFT_FOR_LABEL = re.compile(r'" ?[a/>]')


@dataclass(frozen=True)
class _Progress:
    """How far an answer has come."""

    written: str  # since the last thing that was not forced
    guesses: tuple[str, ...] = ()  # what `written` may become, likeliest first
    end: str = ''  # what `written` becomes if no point follows; empty amid a point
    total: str = ''  # what a count says after `end`
    known: int = 0  # points whose two coordinates are complete
    left: bool = False  # whether nothing but the label can follow
    begun: int = 0  # characters of a point begun after the known ones


def draft(text: str, label: str, style: Style = Style.MOLMO) -> str:
    """Return the likely continuation of an answer, up to the next digit that must be seen.

    `text` is the answer so far, from right after `Assistant:` (Molmo's leading space included);
    `label` is `label_for(query)`. Empty where nothing can be guessed: at a digit, in prose, and at
    the end. A label that the model has written in alt counts for more than the one asked for.
    """
    progress = _progress(text, label, style)
    return _continuation(progress.written, progress.guesses)


def finished(text: str, max_points: int = 0, style: Style = Style.MOLMO) -> bool:
    """Return whether the answer's last coordinate is known, so that the rest need not be decoded.

    That is at the last digit of `max_points` points (0: no limit), at the last digit of `<point`,
    which holds one, where a list is left for its label, and at the end of an absence sentence.
    For POINT and COUNT; in prose (ASK) another tag may follow.
    """
    if text.strip() in (ABSENT, NOT_IN_IMAGE):
        return True
    progress = _progress(text, '', style)
    return progress.left or 0 < max_points <= progress.known


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
    return text + _continuation(progress.written, (end,))


def _continuation(written: str, guesses: Iterable[str]) -> str:
    for guess in guesses:
        if guess.startswith(written):
            return guess[len(written) :]
    return ''


def _progress(text: str, label: str, style: Style) -> _Progress:
    tags = list(_TAG.finditer(text))
    if not tags:
        return _Progress(text, _openings(style))
    tag = tags[-1]
    counting = text[: tag.start()].strip() == counting_head().strip()
    body = text[tag.start() :]
    return (_in_coords if style is Style.MOLMO2 else _in_tag)(body, label, counting)


def _openings(style: Style) -> tuple[str, ...]:
    tags = _tag_openings(style)
    counts = tuple(counting_head() + tag for tag in reversed(tags))
    return tuple(style.lead + start for start in (*tags, ABSENT, *counts, NOT_IN_IMAGE))


def _tag_openings(style: Style) -> tuple[str, ...]:
    return ('<points coords="1 1 ',) if style is Style.MOLMO2 else ('<point x="', '<points x1="')


def _in_tag(body: str, label: str, counting: bool) -> _Progress:
    """Molmo: `<point x= y= alt=>` or `<points x1= y1= ... alt=>`."""
    coordinates = list(_COORDINATE.finditer(body.partition('" alt')[0]))
    if not coordinates:
        return _Progress(body, _tag_openings(Style.MOLMO))
    last = coordinates[-1]
    axis, index, number = last.groups()
    written = body[last.end() :]
    before = [coordinate.end() for coordinate in coordinates[:-1] if coordinate.group(1) == 'y']
    begun = len(body) - before[-1] if before else 0
    if not written and number[-2:-1] != '.':
        return _Progress('', (_rest_of_percent(number),), known=len(before), begun=begun)
    if axis == 'x':
        return _Progress(written, (f'" y{index}="',), known=len(before), begun=begun)
    known = len(before) + 1
    several = body.startswith('<points')
    end = _end(written, label, Style.MOLMO, several)
    total = counting_tail(known) if counting else ''
    following = f'" x{int(index or known) + 1}="'
    leads_on = following.startswith(written) and not end.startswith(written)
    return _Progress(
        written,
        (following, end + total) if several else (end + total,),
        end,
        total,
        known,
        left=not several or _LEFT_FOR_LABEL.match(written) is not None,
        begun=len(written) if leads_on else 0,
    )


def _in_coords(body: str, label: str, counting: bool) -> _Progress:
    """Molmo2: `<points coords="image id x y id x y ...">`."""
    coords = _COORDS.search(body)
    if coords is None:
        return _Progress(body, _tag_openings(Style.MOLMO2))
    written = body[coords.end() :]
    *earlier, group = (part.split(' ') for part in _SEPARATOR.split(coords.group(1)))
    field, place = group[-1], len(group) - 1
    done = max(place - 1, 0) // 3
    known = sum((len(fields) - 1) // 3 for fields in earlier) + done
    if place == 0 or place % 3 or len(field) < 3:
        begun = 1 + len(' '.join(group[3 * done + 1 :] if done else group))
        return _Progress(*_next_field(field, place, known), known=known, begun=begun)
    known += 1
    end = _end(written, label, Style.MOLMO2, several=True)
    total = counting_tail(known) if counting else ''
    following = f' {known + 1} '
    unsure = field == '100' and not written  # it may become 1000
    return _Progress(
        written,
        (end + total, following) if known == 1 else (following, end + total),
        end,
        total,
        known - unsure,
        left=written.startswith('"'),
        begun=1 + len(' '.join(group[-3:])) if unsure else 0,
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
