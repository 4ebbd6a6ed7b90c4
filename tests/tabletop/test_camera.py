# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The tabletop as a camera: steady frames, and nothing in them that a real camera lacks."""

import dataclasses

import numpy as np
import pytest

from molmo_ros.grounding.frame import Frame
from molmo_ros.tabletop.world import TabletopCamera, make_scene, render


@pytest.fixture(scope='module')
def camera():
    camera = TabletopCamera(seed=6, width=320, height=240, frame_id='some_optical_frame')
    yield camera
    camera.close()


def test_a_frame_is_the_picture_of_the_scene(camera):
    frame = camera.read()
    picture = render(make_scene(6), 320, 240, smooth=True)
    np.testing.assert_array_equal(frame.color, picture.color)
    np.testing.assert_array_equal(frame.depth, picture.depth)
    np.testing.assert_array_equal(frame.camera.K, picture.camera.K)
    assert (frame.camera.width, frame.camera.height) == (320, 240)
    assert frame.color.dtype == np.uint8
    assert frame.depth.dtype == np.float32
    assert frame.frame_id == camera.frame_id == 'some_optical_frame'


def test_every_read_has_a_stamp_of_its_own(camera):
    stamps = [camera.read().stamp for _ in range(5)]
    assert sorted(set(stamps)) == stamps


def test_a_reader_cannot_spoil_the_picture_of_the_next(camera):
    frame = camera.read()
    with pytest.raises(ValueError, match='read-only'):
        frame.color[0, 0] = 0
    with pytest.raises(ValueError, match='read-only'):
        frame.depth[0, 0] = 0


def test_frames_carry_no_truth():
    names = {field.name for field in dataclasses.fields(Frame)}
    assert names == {'color', 'depth', 'camera', 'stamp', 'frame_id'}


def test_the_pose_puts_the_depth_on_the_table(camera):
    frame, T = camera.read(), camera.T_world_optical
    truth = render(make_scene(6), 320, 240)
    v, u = np.nonzero(truth.instances == 0)
    points = frame.camera.ray(u, v) * frame.depth[v, u, None]
    heights = points @ T[2, :3] + T[2, 3]
    assert np.abs(heights).max() < 1e-4
