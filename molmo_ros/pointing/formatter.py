# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Points to text, letter for letter as Molmo writes them.

The one place for these strings: training targets and drafts are both made here.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

ABSENT = 'There are none.'
NOT_IN_IMAGE = "This isn't in the image."


class Style(enum.Enum):
    """How a generation writes: MOLMO (percent, leading space) or MOLMO2 (thousandths, none)."""

    MOLMO = 'molmo'
    MOLMO2 = 'molmo2'

    @property
    def lead(self) -> str:
        """What stands between `Assistant:` and the first word."""
        return ' ' if self is Style.MOLMO else ''


def format_points(
    points: Sequence[tuple[float, float]], label: str, style: Style = Style.MOLMO
) -> str:
    """Return the answer that points at `points`, (x, y) in percent of the image, x right, y down.

    Points are rounded to what the style can write (0.1 %) and sorted by x, then y, as Molmo was
    trained. No points give the absence sentence. The label is written as it is, unescaped, because
    Molmo writes it so. Raises ValueError for a coordinate outside 0..100.
    """
    return style.lead + (_tag(points, label, style) if points else ABSENT)


def format_count(
    points: Sequence[tuple[float, float]], label: str, style: Style = Style.MOLMO
) -> str:
    """Return the answer that points at `points` and counts them; arguments as `format_points`."""
    if not points:
        return style.lead + ABSENT
    return f'{style.lead}{counting_head()}{_tag(points, label, style)}{counting_tail(len(points))}'


def format_absence(prompt: str, style: Style = Style.MOLMO) -> str:
    """Return the answer to a prompt that asks to point at what is not there.

    A prompt that says how to answer then is answered so, others with the absence sentence.
    """
    return style.lead + (NOT_IN_IMAGE if NOT_IN_IMAGE in prompt else ABSENT)


def openings(style: Style = Style.MOLMO) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return how answers begin that point, a count's among them, and how those that deny do."""
    tags = ('<points coords="',) if style is Style.MOLMO2 else ('<point x="', '<points x1="')
    pointing, denying = (*tags, counting_head()), (ABSENT, NOT_IN_IMAGE)
    return tuple(style.lead + text for text in pointing), tuple(style.lead + t for t in denying)


def counting_head() -> str:
    """Return what a counting answer writes before its points."""
    return 'Counting the '


def counting_tail(count: int) -> str:
    """Return what a counting answer writes after its points."""
    return f' shows a total of {count}.'


def closing(label: str, style: Style, several: bool) -> str:
    """Return what follows the last coordinate, its closing quote first."""
    if style is Style.MOLMO2:
        return f'">{label}</points>'
    return f'" alt="{label}">{label}</{"points" if several else "point"}>'


def _tag(points: Sequence[tuple[float, float]], label: str, style: Style) -> str:
    # Sorted after rounding: text that is tied must be in the order of its second coordinate.
    tenths = sorted((_tenths(x), _tenths(y)) for x, y in points)
    several = len(tenths) > 1
    if style is Style.MOLMO2:
        triples = ' '.join(f'{i} {x:03d} {y:03d}' for i, (x, y) in enumerate(tenths, 1))
        return f'<points coords="1 {triples}' + closing(label, style, several)
    numbers = [str(i) if several else '' for i in range(1, len(tenths) + 1)]
    pairs = '" '.join(
        f'x{i}="{x / 10:.1f}" y{i}="{y / 10:.1f}' for i, (x, y) in zip(numbers, tenths, strict=True)
    )
    return f'<{"points" if several else "point"} {pairs}' + closing(label, style, several)


def _tenths(percent: float) -> int:
    if not 0 <= percent <= 100:
        raise ValueError(f'a coordinate must be in 0..100 percent of the image, not {percent}')
    return round(round(percent, 1) * 10)
