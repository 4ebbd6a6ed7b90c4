# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An evaluation as one page of HTML that needs nothing beside it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from string import Template
from typing import Any

from molmo_ros.evaluation.evaluate import Evaluated
from molmo_ros.evaluation.report.gallery import best, jpeg_uri, some, worst
from molmo_ros.evaluation.report.style import PAGE
from molmo_ros.output import millimetres, seconds
from molmo_ros.pointing import Mode

GALLERY = 12
MANY = 10
_TAG = re.compile(r'</?(?:points?|tracks?)\b[^>]*>?')

Figures = Mapping[str, Any]


def report_page(figures: Figures, results: Sequence[Evaluated]) -> str:
    """The page of an evaluation; figures are those of `summary`, with data and checkpoint."""
    parts = [
        _tiles(figures),
        section('By type of question', _topics(figures['topics'])),
        _breakdown(figures['by']),
        section('Confidence', _reliability(figures['calibration'])),
        _gallery('Worst', 'Wrong answers, the most confident first.', worst(results, GALLERY)),
        _gallery('Best', 'Right answers, the most confident first.', best(results, GALLERY)),
        _gallery('A random sample', 'As they come.', some(results, GALLERY)),
    ]
    title = f'{figures["model"]["name"]} on {figures["data"]}'
    lines = [model_line(figures['model']), _scope(figures), *figures['warnings']]
    return whole_page(title, lines, parts)


def whole_page(title: str, lines: Iterable[str], parts: Iterable[str]) -> str:
    """A page of sections, lines of text under its title."""
    return Template(PAGE).substitute(
        title=escape(title),
        lines='\n'.join(f'<p>{escape(line)}</p>' for line in lines),
        body='\n'.join(parts),
    )


def model_line(model: Mapping[str, Any]) -> str:
    """What was asked, in full; model: as in the figures."""
    digest = model.get('digest') or ''
    words = [
        model['checkpoint'],
        f'weights {digest[:12]}' if digest else '',
        f'adapter {model["adapter"]}' if model.get('adapter') else '',
        str(model.get('dtype') or ''),
        f'quantised to {model["quantization"]}'
        if model.get('quantization', 'none') != 'none'
        else '',
        f'max_crops {model["max_crops"]}' if model.get('max_crops') else '',
        str(model.get('device') or ''),
    ]
    return ' · '.join(filter(None, words))


def _scope(figures: Figures) -> str:
    cost = figures['cost']
    words = [
        f'{figures["pictures"]} pictures',
        f'{figures["questions"]} questions',
        f'{seconds(cost["median_s_new_picture"])} an answer on a new picture, '
        f'{seconds(cost["median_s_same_picture"])} on the same (medians)',
    ]
    if figures['left_out']:
        words.insert(2, f'{figures["left_out"]} left out for want of a picture')
    return ' · '.join(words)


def _tiles(figures: Figures) -> str:
    topics, counts, position = (figures[key] for key in ('topics', 'counts', 'position_of_hits'))
    tiles: list[tuple[str, str, str]] = []
    if figures['hits']['n']:
        tiles.append(
            (percent(figures['hits']['rate']), 'right where it is there', _of(figures['hits']))
        )
    if 'one' in topics:
        tiles.append((percent(topics['one']['rate']), 'hits for one thing', _of(topics['one'])))
    if figures['pointing']:
        scored = figures['pointing']
        shares = f'precision {scored["precision"]:.3f}, recall {scored["recall"]:.3f}'
        tiles.append((f'{scored["f1"]:.3f}', 'F1 where all are to be found', shares))
    if counts['n']:
        small = counts['up_to_6']
        tiles.append((percent(small['rate']), 'exact counts up to 6', _of(small)))
    if figures['absence']['n']:
        absence = figures['absence']
        tiles.append((percent(absence['rate']), 'right that there is none', _of(absence)))
    if position['n']:
        from_object = f'{millimetres(position["median_distance_to_object_m"])} from the object'
        tiles.append((millimetres(position['median_error_m']), '3D error (median)', from_object))
    if figures['calibration']['n']:
        error = figures['calibration']['error']
        tiles.append((percent(error), 'calibration error', f'{figures["calibration"]["n"]} points'))
    cells = ''.join(
        f'<div class="tile"><b>{value}</b><span>{escape(name)}</span>'
        f'<small>{escape(note)}</small></div>'
        for value, name, note in tiles
    )
    return f'<div class="tiles">{cells}</div>'


def percent(share: float) -> str:
    """'41.7 %'."""
    return '–' if math.isnan(share) else f'{100 * share:.1f}\u2009%'


def _of(rate: Figures) -> str:
    return f'{rate["right"]} of {rate["n"]}'


def section(title: str, content: str, style: str = '') -> str:
    """A part of a page; content is HTML."""
    return f'<section class="{style}"><h2>{escape(title)}</h2>{content}</section>'


def _breakdown(facts: Mapping[str, Mapping[str, Figures]]) -> str:
    sections = (
        section(f'By {fact}', _bars(values), 'wide' if len(values) > MANY else '')
        for fact, values in facts.items()
    )
    return f'<div class="pairs">{"".join(sections)}</div>'


def _topics(topics: Mapping[str, Figures]) -> str:
    note = '<p class="lead">How often the answer is right; thin lines are 95&nbsp;% intervals.</p>'
    return note + _bars(topics)


def _bars(rates: Mapping[str, Figures]) -> str:
    rows = ''.join(_bar(name, rate) for name, rate in rates.items() if rate['n'])
    return f'<div class="bars{" many" if len(rates) > MANY else ""}">{rows}</div>'


def _bar(name: str, rate: Figures) -> str:
    low, high = (100 * bound for bound in rate['interval_95'])
    extra = f' · F1 {rate["f1"]:.3f}' if 'f1' in rate else ''
    return (
        f'<div class="bar"><span class="name">{escape(name)}</span>'
        f'<span class="track"><i style="width:{100 * rate["rate"]:.1f}%"></i>'
        f'<u style="left:{low:.1f}%;width:{high - low:.1f}%"></u></span>'
        f'<span class="value">{percent(rate["rate"])}</span>'
        f'<span class="note">{_of(rate)}{extra}</span></div>'
    )


def _reliability(calibration: Figures) -> str:
    if not calibration['n']:
        return '<p>No point came with a confidence.</p>'
    return (
        f'<div class="reliability">{_diagram(calibration["bins"], calibration["n"])}'
        '<p>How often points of a confidence are right: on the dashed line where the confidence '
        'means what it says, above it where the model is better than it thinks. The area of a '
        'dot is the share of the points. The expected calibration error, the mean distance from '
        f'the line, is <b>{percent(calibration["error"])}</b> over {calibration["n"]} points.'
        '</p></div>'
    )


def _diagram(bins: Iterable[Figures], n: int) -> str:
    """Confidence to the right, share that is right upwards, in a square of 200 units."""
    dots = [(200 * b['confidence'], 200 * (1 - b['right']), b) for b in bins]
    line = ' '.join(f'{x:.1f},{y:.1f}' for x, y, _ in dots)
    circles = ''.join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{3 + 13 * math.sqrt(b["n"] / n):.1f}">'
        f'<title>{b["n"]} points of confidence {b["low"]:.1f} to {b["high"]:.1f}: '
        f'{percent(b["right"])} right</title></circle>'
        for x, y, b in dots
    )
    ticks = ''.join(
        f'<line class="grid" x1="0" y1="{at}" x2="200" y2="{at}"/>'
        f'<line class="grid" x1="{at}" y1="0" x2="{at}" y2="200"/>'
        f'<text x="{at}" y="215" text-anchor="middle">{at / 2:.0f}</text>'
        f'<text x="-6" y="{204 - at}" text-anchor="end">{at / 2:.0f}</text>'
        for at in (0, 50, 100, 150, 200)
    )
    return (
        '<svg viewBox="-42 -12 262 256" role="img" aria-label="reliability diagram">'
        f'{ticks}<line class="ideal" x1="0" y1="200" x2="200" y2="0"/>'
        f'<polyline points="{line}"/>{circles}'
        '<text x="100" y="234" text-anchor="middle">confidence, %</text>'
        '<text transform="translate(-32 100) rotate(-90)" text-anchor="middle">right, %</text>'
        '</svg>'
    )


def _gallery(title: str, note: str, results: Sequence[Evaluated]) -> str:
    if not results:
        return ''
    cards = ''.join(map(_card, results))
    return section(title, f'<p class="lead">{note}</p><div class="gallery">{cards}</div>')


def _card(result: Evaluated) -> str:
    sample, verdict = result.sample, result.judgement.verdict
    tone = 'right' if verdict.right else 'wrong'
    return (
        f'<figure><img src="{jpeg_uri(result)}" alt="{escape(sample.query)}" loading="lazy">'
        f'<figcaption><span class="badge {tone}">{escape(verdict.value)}</span>'
        f'<b>{escape(asked(result))}</b><q>{escape(said(result))}</q>'
        f'<small>{escape(details(result))}</small></figcaption></figure>'
    )


def asked(result: Evaluated) -> str:
    """The question, in words."""
    query = result.sample.query
    return f'how many {query}?' if result.sample.mode is Mode.COUNT else query


def details(result: Evaluated, where: bool = True) -> str:
    """How well it answers. where: and what the question is about."""
    sample, answer = result.sample, result.answer
    words = [sample.topic, sample.image_id] if where else []
    if sample.mode is Mode.COUNT:
        words.append(f'said {answer.how_many}, there are {sample.count}')
    elif result.judgement.pointing is not None and sample.targets:
        words.append(f'F1 {result.judgement.pointing.f1:.2f}')
    confidences = [point.confidence for point in answer.points]
    if confidences and not any(map(math.isnan, confidences)):
        words.append(f'confidence {min(confidences):.2f}')
    return ' · '.join(words)


def said(result: Evaluated, longest: int = 150) -> str:
    """What the answer says, without the tags that points are written as; how many there are."""
    answer = result.answer
    words = ' '.join(_TAG.sub(' ', answer.text).split())
    shortened = words if len(words) <= longest else f'{words[: longest - 1]}…'
    number = len(answer.points)
    points = '1 point' if number == 1 else f'{number} points' if number else ''
    return ' · '.join(filter(None, [shortened, points])) or 'nothing'
