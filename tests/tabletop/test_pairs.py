# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Who asks whether a model finds what it never saw needs tables of nothing else."""

from benchmarks.pairs import WAYS, ask, row
from molmo_ros.engine import load_engine
from molmo_ros.engine.shipped import default_checkpoint
from molmo_ros.tabletop.world import HELD_OUT


def test_only_pairs_that_training_never_shows_are_asked_for() -> None:
    """And what is called found is on the thing: one table, the demo checkpoint."""
    results = list(ask(load_engine(default_checkpoint()), seed=7001))
    things = {(result.thing.kind, result.thing.colour) for result in results}
    assert things and things <= HELD_OUT
    assert {result.way for result in results} <= set(WAYS)
    for result in results:
        if result.hit:
            point = result.answer.points[0]
            assert result.thing.mask[int(point.v), int(point.u)]
    asked = [result for result in results if result.way == 'kind']
    hits = sum(result.hit for result in asked)
    assert f'| {hits}/{len(asked)} |' in row('all', results)
    assert any(result.hit for result in results)
