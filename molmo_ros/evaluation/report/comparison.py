# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Two runs side by side, as one page of HTML that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from molmo_ros.evaluation.comparing import Pair
from molmo_ros.evaluation.evaluate import Evaluated
from molmo_ros.evaluation.report.gallery import jpeg_uri
from molmo_ros.evaluation.report.page import (
    asked,
    details,
    model_line,
    percent,
    said,
    section,
    whole_page,
)

GALLERY = 24
"""Of the questions that only one has right, at most so many are shown."""

Figures = Mapping[str, Any]


def comparison_page(figures: Figures, pairs: Sequence[Pair], first: Sequence[str] = ()) -> str:
    """The page of a comparison; figures are those of `comparison`. first: sections before them."""
    a, b = (figures[side]['model'] for side in 'ab')
    names = names_of(figures)
    parts = [
        _tiles(figures, names),
        *first,
        section('By type of question', _topics(figures, names)),
        _gallery(f'Only {names[1]} is right', [pair for pair in pairs if pair.only_b], names),
        _gallery(f'Only {names[0]} is right', [pair for pair in pairs if pair.only_a], names),
    ]
    lines = [
        f'A: {model_line(a)}',
        f'B: {model_line(b)}',
        *notes(figures),
        f'{figures["questions"]} questions about {figures["pictures"]} pictures, asked of both',
    ]
    return whole_page(f'{names[0]} and {names[1]} on {figures["a"]["data"]}', lines, parts)


def names_of(figures: Figures) -> tuple[str, str]:
    """What the two are called; told apart where they have one name."""
    a, b = (figures[side]['model']['name'] for side in 'ab')
    return (a, b) if a != b else (f'{a} (A)', f'{b} (B)')


def notes(figures: Figures) -> list[str]:
    """What keeps the two from being alike but for the model, and what was left out."""
    a, b = figures['a'], figures['b']
    found = []
    if figures['a_alone'] or figures['b_alone']:
        found.append(
            f'left out, because the other run lacks them: {figures["a_alone"]} questions of A, '
            f'{figures["b_alone"]} of B'
        )
    one, other = ({**side['about'], 'photometric': side['photometric']} for side in (a, b))
    for name in {**one, **other}:
        if one.get(name) != other.get(name):
            found.append(f'{name} is {one.get(name)} for A and {other.get(name)} for B')
    for side in 'ab':
        if figures[f'{side}_taught']:
            found.append(
                f'{side.upper()} was taught from the pictures of {figures[f"{side}_taught"]} of '
                'these questions: there its answers show what it remembers'
            )
    return found


def p_value(p: float) -> str:
    """'0.031', '< 0.0001'."""
    return '< 0.0001' if p < 0.0001 else f'{p:.4f}' if p < 0.01 else f'{p:.2f}'


def points(share: float) -> str:
    """A difference of shares in percentage points: '+4.2'."""
    return f'{100 * share:+.1f}'.replace('-', '−')


def _tiles(figures: Figures, names: Sequence[str]) -> str:
    every = figures['all']
    low, high = every['interval_95']
    tiles = [
        (percent(every[side]['rate']), name, f'{every[side]["right"]} of {every["n"]} right')
        for side, name in zip('ab', names, strict=True)
    ]
    tiles += [
        (
            points(every['difference']),
            'percentage points from A to B',
            f'{points(low)} to {points(high)}',
        ),
        (
            p_value(every['p']),
            "p (McNemar's test)",
            f'only one right: {every["only_a_right"]} and {every["only_b_right"]}',
        ),
    ]
    cells = ''.join(
        f'<div class="tile"><b>{escape(value)}</b><span>{escape(name)}</span>'
        f'<small>{escape(note)}</small></div>'
        for value, name, note in tiles
    )
    return f'<div class="tiles">{cells}</div>'


def _topics(figures: Figures, names: Sequence[str]) -> str:
    a, b = names
    legend = (
        f'<p class="lead"><i class="key one"></i> {escape(a)} <i class="key other"></i> '
        f'{escape(b)}; thin lines are 95&nbsp;% intervals. p is for each type by itself: of '
        'twenty, one is below 0.05 by chance.</p>'
    )
    rows = ''.join(_row(topic, one) for topic, one in figures['topics'].items())
    return f'{legend}<div class="bars">{rows}</div>'


def _row(topic: str, figures: Figures) -> str:
    tracks = ''.join(_track(figures[side], style) for side, style in (('a', 'one'), ('b', 'other')))
    shares = f'{percent(figures["a"]["rate"])}<br>{percent(figures["b"]["rate"])}'
    return (
        f'<div class="bar two"><span class="name">{escape(topic)}</span><span>{tracks}</span>'
        f'<span class="value">{shares}</span><span class="note">of {figures["n"]} · '
        f'{points(figures["difference"])} ·<br> p {escape(p_value(figures["p"]))}</span></div>'
    )


def _track(rate: Figures, style: str) -> str:
    low, high = (100 * bound for bound in rate['interval_95'])
    return (
        f'<span class="track {style}"><i style="width:{100 * rate["rate"]:.1f}%"></i>'
        f'<u style="left:{low:.1f}%;width:{high - low:.1f}%"></u></span>'
    )


def _gallery(title: str, pairs: Sequence[Pair], names: Sequence[str]) -> str:
    if not pairs:
        return section(title, '<p class="lead">Never.</p>')
    shown = _spread(pairs, GALLERY)
    some = f'{len(shown)} of these {len(pairs)} questions.' if len(shown) < len(pairs) else ''
    cards = ''.join(_card(pair, names) for pair in shown)
    return section(title, f'<p class="lead">{some}</p><div class="pairs-shown">{cards}</div>')


def _spread(pairs: Sequence[Pair], most: int) -> list[Pair]:
    """At most so many, evenly from all of them."""
    count = min(len(pairs), most)
    return [pairs[i * len(pairs) // count] for i in range(count)]


def _card(pair: Pair, names: Sequence[str]) -> str:
    sides = ''.join(_side(one, name) for one, name in zip((pair.a, pair.b), names, strict=True))
    sample = pair.a.sample
    return (
        f'<article><header><b>{escape(asked(pair.a))}</b><small>{escape(sample.topic)} · '
        f'{escape(sample.image_id)}</small></header><div class="sides">{sides}</div></article>'
    )


def _side(result: Evaluated, name: str) -> str:
    verdict = result.judgement.verdict
    tone = 'right' if verdict.right else 'wrong'
    picture = jpeg_uri(result)
    return (
        f'<figure><img src="{picture}" alt="{escape(asked(result))}" loading="lazy">'
        f'<figcaption><span class="badge {tone}">{escape(verdict.value)}</span>'
        f'<b>{escape(name)}</b><q>{escape(said(result))}</q>'
        f'<small>{escape(details(result, where=False))}</small></figcaption></figure>'
    )
