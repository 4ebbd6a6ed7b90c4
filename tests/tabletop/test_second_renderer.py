# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A second renderer shows the same things in the same places."""

import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from molmo_ros.evaluation.samples import InvalidData
from molmo_ros.tabletop.samples.data_set import rich_samples
from molmo_ros.tabletop.samples.second_renderer import rerendered, second_picture
from molmo_ros.tabletop.world import RICH, make_scene, render

SIZE = (320, 200)


def test_what_is_on_the_table_is_where_it_was():
    pytest.importorskip('pybullet')
    scene = make_scene(5000, RICH)
    vivid = [replace(item, albedo=(1.0, 0.0, 1.0), pattern='plain') for item in scene.objects]
    scene = replace(scene, objects=tuple(vivid))
    with_things = second_picture(scene, *SIZE)
    bare = second_picture(replace(scene, objects=(), clutter=()), *SIZE)
    instances = render(scene, *SIZE).instances
    changed = np.abs(with_things.astype(int) - bare).sum(2) > 30
    assert with_things.shape == (SIZE[1], SIZE[0], 3)
    for number, item in enumerate(scene.objects, 1):
        seen = instances == number
        assert changed[seen].mean() > 0.9, item.kind
    red, green, _ = np.moveaxis(with_things.astype(int), 2, 0)
    near_things = cv2.dilate((instances > 0).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert not ((green < 0.6 * red) & ~near_things).any()


def test_the_questions_stay_and_the_picture_is_another():
    pytest.importorskip('pybullet')
    samples = list(rich_samples([5000], size=SIZE))
    again = list(rerendered(samples, RICH, SIZE))
    assert [sample.query for sample in again] == [sample.query for sample in samples]
    assert not np.array_equal(again[0].image(), samples[0].image())
    assert again[0].image() is again[1].image()


def test_without_pybullet_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pybullet', None)
    with pytest.raises(InvalidData, match=r'molmo-ros\[evaluate\]'):
        rerendered(rich_samples([5000], size=SIZE), RICH, SIZE)
