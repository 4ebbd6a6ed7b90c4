# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever depth, calibration and parameters come, lifting and extents answer soundly."""

import pytest

from benchmarks.fuzz_lifting import judged, make_case

# Also those in which there once was a fault, by their numbers.
ONCE_WRONG = 8597, 7011663


@pytest.mark.parametrize('first', [*range(0, 400, 50), *ONCE_WRONG])
def test_nothing_is_raised_and_what_is_said_is_sound(first):
    """A node that raises here answers nobody; a covariance that is none stops a planner."""
    numbers = [first] if first in ONCE_WRONG else range(first, first + 50)
    found = {number: judged(make_case(number))[0] for number in numbers}
    assert not any(found.values()), {n: faults for n, faults in found.items() if faults}
