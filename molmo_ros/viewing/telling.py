# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Answers as HTML, and as lines to copy. What came from outside is escaped."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from math import isfinite

import numpy as np

from molmo_ros.output import xyz
from molmo_ros.pointing import Mode
from molmo_ros.viewing.views import Shown, ShownPoint

_SMALL = 'padding:0 0.7em;font-size:0.8em;line-height:1.45;overflow-wrap:anywhere'
_CELL = 'padding:1px 6px 1px 0;text-align:left;vertical-align:top;white-space:nowrap'
# One click takes all of it.
_CODE = (
    'font-size:0.75em;white-space:pre-wrap;overflow-wrap:anywhere;user-select:all;margin:2px 0;'
    'padding:6px;border:1px solid #8886;border-radius:4px'
)
_MOST_ROWS = 30


def said(text: str) -> str:
    """A sentence."""
    return f'<div style="{_SMALL}">{escape(text)}</div>' if text else ''


def answer_html(shown: Shown) -> str:
    """What was asked and what came of it."""
    head = [f'<b>{escape(shown.title)}</b>', escape(shown.status)]
    if shown.count is not None:
        head.append(f'count {shown.count}')
    if isfinite(shown.presence):
        head.append(f'presence {shown.presence:.2f}')
    parts = [' · '.join(head)]
    if shown.text:
        parts.append(f'<i>{escape(shown.text)}</i>')
    if shown.points:
        parts.append(_points_table(shown))
    return f'<div style="{_SMALL}">{"<br>".join(parts)}{_list(shown.notes)}</div>'


def stages_html(stages: Mapping[str, float]) -> str:
    """Milliseconds of each stage and of all."""
    rows = [[name, f'{1000 * spent:.1f}'] for name, spent in stages.items()]
    rows.append(['all', f'{1000 * sum(stages.values()):.1f}'])
    return f'<div style="{_SMALL}">{_table(["stage", "ms"], rows)}</div>'


def service_call(shown: Shown, service: str) -> str:
    """The same question by `ros2 service call`."""
    # JSON is YAML, and the shell sees one word.
    text = f'query: {json.dumps(shown.query, ensure_ascii=False)}'
    if shown.mode is not Mode.POINT:
        text += f', mode: {shown.mode.value}'
    if shown.view.frame:
        text += f', target_frame: {json.dumps(shown.view.frame, ensure_ascii=False)}'
    return f'ros2 service call {service} molmo_ros/srv/PointQuery {shlex.quote(f"{{{text}}}")}'


def python_code(shown: Shown, namespace: str) -> str:
    """The same question from Python."""
    mode = '' if shown.mode is Mode.POINT else f', mode=Mode.{shown.mode.name}'
    frame = f', target_frame={shown.view.frame!r}' if shown.view.frame else ''
    imports = ['from molmo_ros.ros.client import PointQueryClient']
    if mode:
        imports.insert(0, 'from molmo_ros.pointing import Mode')
    lines = [
        *imports,
        '',
        f'with PointQueryClient({repr(namespace) if namespace else ""}) as client:',
        '    client.wait_until_ready(120)',
        f'    answered = client.ask({shown.query!r}{mode}{frame})',
        '    for point in answered.points:',
        '        print(point.image.u, point.image.v, point.surface.position)',
    ]
    return '\n'.join(lines)


def code_html(titled: Iterable[tuple[str, str]]) -> str:
    """Lines to copy, each under its title."""
    return ''.join(
        f'<div style="{_SMALL}">{escape(title)}</div><pre style="{_CODE}">{escape(text)}</pre>'
        for title, text in titled
    )


def _points_table(shown: Shown) -> str:
    in_space = shown.view.capture.frame.depth is not None
    heads = ['', 'label', 'u, v', 'sure', *(['x y z (m)', '3D'] if in_space else [])]
    rows = [
        _row(number, point, in_space) for number, point in enumerate(shown.points[:_MOST_ROWS], 1)
    ]
    more = len(shown.points) - _MOST_ROWS
    return _table(heads, rows) + (f'and {more} more' if more > 0 else '')


def _row(number: int, point: ShownPoint, in_space: bool) -> list[str]:
    image, surface = point.image, point.surface
    sure = f'{image.confidence:.2f}' if isfinite(image.confidence) else '-'
    cells = [str(number), image.label, f'{image.u:.1f}, {image.v:.1f}', sure]
    if not in_space:
        return cells
    sigma = 1000 * float(np.sqrt(np.trace(surface.covariance)))
    exact = f'±{sigma:.1f} mm' if isfinite(sigma) else surface.status.name
    return [*cells, xyz(surface.position), exact]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return ''.join(f'<{tag} style="{_CELL}">{escape(cell)}</{tag}>' for cell in cells)

    body = ''.join(f'<tr>{line(row, "td")}</tr>' for row in rows)
    return (
        f'<div style="overflow-x:auto"><table style="border-collapse:collapse;font-size:0.92em">'
        f'<tr>{line(heads, "th")}</tr>{body}</table></div>'
    )


def _list(sentences: Sequence[str]) -> str:
    return ''.join(f'<div style="opacity:0.75">{escape(text)}</div>' for text in sentences)
