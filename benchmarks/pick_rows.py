# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What came of picks and of things put down, and the tables of it. `benchmarks/picking.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

OURS = 'candidates'
LOST = ('pointing', 'lifting', 'extent', 'refused', 'collision', 'miss', 'slip')
NOT_TRIED = ('pointing', 'lifting', 'extent', 'refused')
Key = tuple[str, str, str, str]


@dataclass(frozen=True)
class Row:
    """What became of one thing.

    camera, pointing, how: who saw it, who pointed at it, whose grasp it was. part: of the thing, if
    one was asked for. stage: 'held', or what lost it. possible: whether it, or its part, can be
    held at all. pushed: kinds of the neighbours that were moved by more than a centimetre or
    tipped. touched: what was hit. on_part: whether both fingers held the part asked for.
    score: of the grasp that was tried, of ours.
    """

    table: str
    camera: str
    pointing: str
    how: str
    seed: int
    number: int
    kind: str
    part: str
    stage: str
    possible: bool = False
    pushed: tuple[str, ...] = ()
    touched: str = ''
    reason: str = ''
    on_part: bool = False
    milliseconds: float = 0.0
    score: float = 0.0

    @property
    def held(self) -> bool:
        """Whether it is in the gripper at the end."""
        return self.stage == 'held'

    @property
    def key(self) -> Key:
        """Rows of a line of the table."""
        return self.table, self.camera, self.pointing, self.how


@dataclass(frozen=True)
class SpaceRow:
    """What became of a cube that was to be put where a question asks for space.

    stage: 'stands', 'touches' or 'tips'; 'pointing', or 'refused' where it was not put down.
    possible: whether it stands free at the place that the question means.
    """

    table: str
    camera: str
    pointing: str
    seed: int
    query: str
    stage: str
    possible: bool
    radius: float
    reason: str = ''


def summary(rows: Sequence[Row]) -> Iterator[str]:
    """Markdown: a line for each table, camera, pointing and way to grasp."""
    heads = ('table', 'camera', 'pointing', 'grasp', 'can be picked', 'held', 'pushed', 'no right')
    yield from _heads(heads)
    for key in dict.fromkeys(row.key for row in rows):
        some = [row for row in rows if row.key == key]
        can = [row for row in some if row.possible]
        tried = [row for row in some if row.stage not in NOT_TRIED]
        refused = [row for row in some if row.stage == 'refused']
        yield _line(
            *key,
            f'{len(can)} of {len(some)}',
            f'**{share(sum(row.held for row in can), len(can))}**',
            share(sum(bool(row.pushed) for row in tried), len(tried)),
            share(sum(not row.possible for row in refused), len(refused)),
            lost=Counter(row.stage for row in can),
        )


def by_kind(rows: Sequence[Row]) -> Iterator[str]:
    """Markdown: a line for each kind, of what can be picked."""
    yield from _heads(('kind', 'can be picked', 'held'))
    for kind in sorted({row.kind for row in rows}):
        some = [row for row in rows if row.kind == kind]
        can = [row for row in some if row.possible]
        yield _line(
            kind,
            f'{len(can)} of {len(some)}',
            share(sum(row.held for row in can), len(can)),
            lost=Counter(row.stage for row in can),
        )


def parts(rows: Sequence[Row]) -> Iterator[str]:
    """Markdown: of the parts that can be held, which were; of ours each part by itself too."""
    heads = ('table', 'camera', 'pointing', 'grasp', 'part', 'can be held', 'held by it')
    yield from _heads((*heads, 'held elsewhere'))
    for key in dict.fromkeys(row.key for row in rows):
        mine = [row for row in rows if row.key == key]
        names = sorted({f'{row.kind}: {row.part}' for row in mine}) if key[3] == OURS else []
        for name in ('all', *names):
            some = [row for row in mine if name in ('all', f'{row.kind}: {row.part}')]
            can = [row for row in some if row.possible]
            by_it = sum(row.held and row.on_part for row in can)
            yield _line(
                *key,
                name,
                f'{len(can)} of {len(some)}',
                f'**{share(by_it, len(can))}**',
                str(sum(row.held and not row.on_part for row in can)),
                lost=Counter(row.stage for row in can),
            )


def spaces(rows: Sequence[SpaceRow]) -> Iterator[str]:
    """Markdown: of the cubes put down, which stand free."""
    heads = ('table', 'camera', 'pointing', 'stands there', 'put down', 'stands free')
    stages = ('touches', 'tips', 'pointing', 'refused', 'refused rightly')
    yield '| ' + ' | '.join([*heads, *stages]) + ' |'
    yield '|---' * (len(heads) + len(stages)) + '|'
    for key in dict.fromkeys((row.table, row.camera, row.pointing) for row in rows):
        some = [row for row in rows if (row.table, row.camera, row.pointing) == key]
        put = [row for row in some if row.stage in ('stands', 'touches', 'tips')]
        stages_of = Counter(row.stage for row in some)
        refused = [row for row in some if row.stage == 'refused']
        cells = [
            *key,
            f'{sum(row.possible for row in some)} of {len(some)}',
            str(len(put)),
            f'**{share(stages_of["stands"], len(put))}**',
            *(str(stages_of[stage] or '') for stage in ('touches', 'tips', 'pointing', 'refused')),
            share(sum(not row.possible for row in refused), len(refused)),
        ]
        yield '| ' + ' | '.join(cells) + ' |'


def losses(rows: Sequence[Row]) -> Iterator[str]:
    """A line for each thing that can be held and was not."""
    for row in rows:
        if row.possible and (not row.held or (row.part and not row.on_part)):
            thing = f'{row.seed} {row.number} {row.kind} {row.part}'.strip()
            why = ', '.join(text for text in (row.stage, row.touched, row.reason) if text)
            pushed = f' pushed {" ".join(row.pushed)}' if row.pushed else ''
            yield f'{" ".join(row.key)} {thing}: {why}{pushed}'


def share(part: int, whole: int) -> str:
    """'12 of 20, 60 %'"""
    return f'{part} of {whole}, {100 * part / whole:.0f} %' if whole else '-'


def _heads(names: Sequence[str]) -> Iterator[str]:
    yield '| ' + ' | '.join([*names, *LOST]) + ' |'
    yield '|---' * (len(names) + len(LOST)) + '|'


def _line(*cells: str, lost: Counter[str]) -> str:
    return '| ' + ' | '.join([*cells, *(str(lost[stage] or '') for stage in LOST)]) + ' |'
