# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What a step of a depth image's numbers is, in metres, and what speaks against it.

Integers are millimetres and floats are metres (REP 118) unless somebody says otherwise. Data sets
and some cameras differ; their pictures look alike, so only a scene that no robot camera sees, or
sees seldom, tells.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FLOATS = ('32FC1', '64FC1')

_MILLIMETRE, _METRE = 0.001, 1.0
_SUFFIXES = {'': 1.0, 'm': 1.0, 'cm': 0.01, 'mm': 0.001, 'um': 1e-6, 'µm': 1e-6, 'μm': 1e-6}
_NUMBER = r'\d+\.?\d*(?:e[-+]?\d+)?|\.\d+(?:e[-+]?\d+)?'
_UNIT = re.compile(rf'({_NUMBER})?\s*(?:/\s*({_NUMBER}))?\s*([a-zµμ]*)')
_SMALLEST, _LARGEST = 1e-7, 1.0
# RealSense and Orbbec, simulators, L515, D405 and other near ones, TUM, KITTI.
_USUAL = ('mm', 'm', '0.25mm', '0.1mm', '1/5000', '1/256')

# Metres, of the median. Nothing that a robot camera sees: a driver's mistake.
_PLAUSIBLE = (0.03, 25.0)
# What a camera before an arm or on a mobile robot sees; other units are proposed that give this.
_LIKELY = (0.15, 6.0)
# Nearer or farther, another usual unit is about as likely as millimetres.
_UNQUESTIONED = (0.25, 3.5)
_SCARCE = 0.01


@dataclass(frozen=True)
class DepthRemarks:
    """warning: what is implausible about a depth image; '' for nothing.

    assumed: what nothing said about its unit, where that may matter.
    """

    warning: str = ''
    assumed: tuple[str, ...] = ()


def read_unit(unit: str | float) -> float | None:
    """Metres a step of 'mm', '0.1mm', '1/5000', '1/256', 'm', 0.001, ...; None for 'auto' or ''.

    A number without a unit is metres. Raises ValueError.
    """
    text = str(unit).strip().lower()
    if text in ('auto', ''):
        return None
    match = _UNIT.fullmatch(text)
    number, divisor, suffix = match.groups() if match else (None, None, '?')
    if suffix in _SUFFIXES and (number or (suffix and not divisor)):
        over = float(divisor or 1)
        step = float(number or 1) / over * _SUFFIXES[suffix] if over else np.inf
        if _SMALLEST <= step <= _LARGEST:
            return step
    raise ValueError(
        f"depth_unit is '{unit}': give what a step of the depth is, as mm, 0.1mm, 1/5000 (of a "
        'metre), 0.001 (metres) or m; auto: integers are millimetres and floats are metres'
    )


def step_of(encoding: str, unit: float | None) -> float:
    """Metres a step: the unit, if one is given, or what REP 118 says of the encoding."""
    if unit is not None:
        return unit
    return _METRE if encoding in FLOATS else _MILLIMETRE


def depth_remarks(
    metres: NDArray[np.float32],
    encoding: str,
    unit: float | None = None,
    setting: str = 'depth_unit',
) -> DepthRemarks:
    """What there is to say about a depth image (H, W) in metres.

    encoding: as it came; 'mono16' or '' for integers whose unit no standard says. unit: metres a
    step where somebody said so. setting: the name of the parameter or option that says so.
    """
    step = step_of(encoding, unit)
    warning = depth_warning(metres, step, setting) or ''
    median = _median(_readings(metres))
    said = unit is not None or encoding in FLOATS
    standard = encoding == '16UC1'
    usual = standard and _UNQUESTIONED[0] <= median <= _UNQUESTIONED[1]
    if said or usual or not _PLAUSIBLE[0] <= median <= _PLAUSIBLE[1]:
        return DepthRemarks(warning)
    assumption = (
        f'depth: a step is taken as 1 mm{" (REP 118)" if standard else ""}, so that the median '
        f'depth is {median:.2f} m: set {setting} to what a step is'
    )
    return DepthRemarks(warning, (assumption,))


def depth_warning(
    metres: NDArray[np.float32], step: float | None = None, setting: str = 'depth_unit'
) -> str | None:
    """What is implausible about a depth image (H, W), in words; None if nothing is.

    step: metres that a step of its numbers was taken for. setting: what says so.
    """
    readings = _readings(metres)
    some = metres[::4, ::4].size
    if len(readings) < _SCARCE * some:
        return f'only {100 * len(readings) / max(some, 1):.1f} % of the depth image has readings'
    median = _median(readings)
    if _PLAUSIBLE[0] <= median <= _PLAUSIBLE[1]:
        return None
    if step is None:
        step = _METRE if median > _PLAUSIBLE[1] else _MILLIMETRE
    seen = f'{median:.0f} m' if median > 1 else f'{1e3 * median:.2f} mm'
    problem = f'the median depth is {seen} if a step is {_words(step)}{_suspicion(step, median)}'
    likely = [
        f'{name} (a median of {median / step * other:.2f} m)'
        for name in (_USUAL[:1] if step == _METRE else _USUAL)
        if (other := read_unit(name)) is not None
        and _LIKELY[0] <= median / step * other <= _LIKELY[1]
    ]
    if not likely:
        return f'{problem}; no usual {setting} makes it plausible: is it a depth image?'
    return f'{problem}; set {setting} to what it is; plausible: {", ".join(likely[:3])}'


def _suspicion(step: float, median: float) -> str:
    """What usually went wrong where REP 118 was not kept to."""
    if step == _METRE and median > _PLAUSIBLE[1]:
        return ', as if it were millimetres as 32FC1 (REP 118 has metres)'
    if step == _MILLIMETRE and median < _PLAUSIBLE[0]:
        return ', as if it were metres, or disparities, as 16UC1 (REP 118 has millimetres)'
    return ''


def _words(step: float) -> str:
    return f'{step:g} m' if step >= 0.1 else f'{1e3 * step:g} mm'


def _readings(metres: NDArray[np.float32]) -> NDArray[np.float32]:
    some = metres[::4, ::4]
    return some[np.isfinite(some)]


def _median(readings: NDArray[np.float32]) -> float:
    return float(np.median(readings)) if len(readings) else float('nan')
