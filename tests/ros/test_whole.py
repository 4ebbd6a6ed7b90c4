# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The node as users start it, with a camera and a real, if tiny and untaught, Molmo."""

import time

import numpy as np
import pytest

from benchmarks.random_molmo import (
    ONE_POINT,
    random_molmo,
    save_checkpoint,
    tilt,
    tiny_config,
    tiny_tokenizer,
)
from molmo_ros.ros.answering import Status
from molmo_ros.ros.client import PointQueryClient
from molmo_ros.spatial import LiftStatus
from molmo_ros.tabletop.world import make_scene, render

WIDTH, HEIGHT, SEED = 160, 120, 5004


@pytest.fixture(scope='module')
def pointing_at_one_place(tmp_path_factory):
    """A checkpoint that points at (61.5, 61.5) percent, whatever it is asked."""
    folder = tmp_path_factory.mktemp('tiny')
    tokenizer, model = tiny_tokenizer(), random_molmo(tiny_config('qwen2'), seed=0)
    tilt(model, tokenizer, [ONE_POINT])
    save_checkpoint(model, tokenizer, folder)
    return folder


def test_from_a_question_to_metres_through_every_part(run, pointing_at_one_place):
    node = ['-p', f'checkpoint:={pointing_at_one_place}', '-p', 'device:=cpu']
    camera = ['-p', f'seed:={SEED}', '-p', f'width:={WIDTH}', '-p', f'height:={HEIGHT}']
    namespace = ['--ros-args', '-r', '__ns:=/whole']
    with (
        run('-m', 'molmo_ros.ros.point_query_node', *namespace, *node),
        run('-m', 'molmo_ros.tabletop.camera_node', *namespace, *camera),
        PointQueryClient('whole') as client,
    ):
        assert client.wait_until_ready(300), client.engine_state
        end = time.monotonic() + 60
        # The camera may start more slowly than the node, and is not heard at once.
        while (answered := client.ask('the red mug')).message and time.monotonic() < end:
            pass
        assert answered.status is Status.SUCCESS, answered.message
        (point,) = answered.points
        assert point.image.u == pytest.approx(0.615 * WIDTH)
        assert point.image.v == pytest.approx(0.615 * HEIGHT)
        assert 0 < point.image.confidence <= 1
        assert {'preprocess', 'vision', 'prefill', 'decode'} <= set(answered.stage_times)
        picture = render(make_scene(SEED), WIDTH, HEIGHT)
        truth = picture.depth[int(point.image.v), int(point.image.u)]
        assert point.surface.status is LiftStatus.OK
        assert point.surface.position[2] == pytest.approx(truth, abs=0.01)
        on_table = client.ask('the red mug', target_frame='table')
        T = make_scene(SEED).T_world_camera
        expected = T[:3, :3] @ point.surface.position + T[:3, 3]
        np.testing.assert_allclose(on_table.points[0].surface.position, expected, atol=5e-3)


def test_who_names_no_checkpoint_reads_in_the_log_what_the_demos_can_see(run):
    with run('-m', 'molmo_ros.ros.point_query_node', '--ros-args', '-r', '__ns:=/unnamed') as node:
        log: list[str] = []
        while not any('ready after' in line for line in log):
            log.append(node.stderr.readline())
            assert log[-1], log
    (told,) = [line for line in log if 'rendered tables only' in line]
    assert 'molmo-ros fetch allenai/Molmo2-4B' in told
