# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A rendered table in the terms of the questions that are asked about it."""

from __future__ import annotations

import itertools
from math import dist

import numpy as np

from molmo_ros.evaluation.samples import Mask, Percent
from molmo_ros.pointing import Mode, from_centred, label_for
from molmo_ros.tabletop.questions import TableQuestion, Target, Thing, Topic, World
from molmo_ros.tabletop.questions.table import PLAIN, Name, Table
from molmo_ros.tabletop.samples.table_views import TableView
from molmo_ros.tabletop.world import TableSpec
from molmo_ros.tabletop.world.patterns import ON_OBJECTS
from molmo_ros.tabletop.world.shapes import kind_of

_TABLE = 0


def world_of(spec: TableSpec) -> World:
    """All that can stand on tables of that specification."""
    parts = {
        kind: tuple(part.name for part in kind_of(kind).parts if part.name) for kind in spec.kinds
    }
    return World(
        spec.kinds,
        spec.colours,
        tuple(ON_OBJECTS) if spec.rich else (PLAIN,),
        {kind: names for kind, names in parts.items() if names},
    )


def things_of(view: TableView) -> tuple[Thing, ...]:
    """What stands on the table, in the scene's order."""
    return tuple(
        Thing(
            truth.kind,
            truth.colour,
            truth.pattern,
            percent(truth.target, view),
            tuple(truth.position.tolist()),
            truth.size,
            100 * float(truth.mask.mean()),
            truth.visible_fraction,
            {name: percent(part.target, view) for name, part in truth.parts.items()},
        )
        for truth in view.truths
    )


def understood(text: str, view: TableView, spec: TableSpec) -> TableQuestion | None:
    """A question in somebody's own words, if they are `[the] [PATTERN] [COLOUR] KIND`.

    None where they are not, and where it is not plain that they fit one thing or nothing.
    """
    name = _names(world_of(spec)).get(' '.join(label_for(text).split()))
    things = things_of(view)
    members = None if name is None else Table(things).certain(name)
    if members is None or len(members) > 1:
        return None
    topic = Topic.ONE if members else Topic.ABSENT
    targets = tuple(Target(things[index].target, index) for index in members)
    return TableQuestion(topic, text, Mode.POINT, targets)


def _names(world: World) -> dict[str, Name]:
    """What things of a kind can be called; `plain` has no meaning by itself."""
    patterns = [pattern for pattern in world.patterns if pattern != PLAIN]
    choices = itertools.product(('', *patterns), ('', *world.colours), world.kinds)
    return {f'{name.adjectives}{name.kind}': name for name in itertools.starmap(Name, choices)}


def percent(pixel: tuple[float, float], view: TableView) -> Percent:
    """(x, y) in percent of the picture from a pixel whose integers are at pixel centres."""
    height, width = view.picture.depth.shape
    u, v = from_centred(*pixel)
    return 100 * u / width, 100 * v / height


def is_bare(view: TableView, x: float, y: float) -> bool:
    """Whether the table is seen at (x, y) in percent; what lies flat on it counts as table."""
    height, width = view.picture.depth.shape
    row, column = int(y / 100 * height), int(x / 100 * width)
    inside = 0 <= row < height and 0 <= column < width
    return bool(inside and view.picture.instances[row, column] == _TABLE)


def masks_of(view: TableView, question: TableQuestion) -> tuple[Mask, ...]:
    """The mask of every target of a question, in their order."""
    return tuple(_mask(view, question, target) for target in question.targets)


def _mask(view: TableView, question: TableQuestion, target: Target) -> Mask:
    if target.thing is None:
        assert question.between is not None, 'free table is asked for between two things'
        return _free_table(view, question.between)
    truth = view.truths[target.thing]
    return truth.mask if target.part is None else truth.parts[target.part].mask


def _free_table(view: TableView, between: tuple[int, int]) -> Mask:
    """Table within a quarter of the distance of two things from the middle between them."""
    a, b = (view.truths[index].target for index in between)
    height, width = view.picture.depth.shape
    v, u = np.ogrid[:height, :width]
    from_middle = np.hypot(u - (a[0] + b[0]) / 2, v - (a[1] + b[1]) / 2)
    return (view.picture.instances == _TABLE) & (from_middle <= dist(a, b) / 4)
