# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which room of the package may know which, and what it may cost to import one."""

import runpy
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from benchmarks.imports import imports_of, modules_of, room_of

PACKAGE = Path(__file__).parents[2] / 'molmo_ros'
# The modules beside the rooms: where files are and whether they came whole, what users are told,
# what may be missing, how figures are written, how processes begin and end.
ANYBODY = {'share', 'git_lfs', 'errors', 'extras', 'output', 'starting'}
LIBRARY = {'engine', 'evaluation', 'finetuning', 'grounding', 'pointing', 'spatial'}
ROOMS = {
    **{module: set[str]() for module in sorted(ANYBODY)},
    'model': set(),
    'pointing': set(),
    'spatial': set(),
    'grounding': {'pointing', 'spatial'},
    'engine': {'model', 'pointing'},
    'cameras': {'grounding', 'spatial'},
    'ros': {'cameras', 'engine', 'grounding', 'pointing', 'spatial'},
    'evaluation': {'engine', 'grounding', 'pointing', 'spatial'},
    # What one teaches with is laid out as what one measures on.
    'finetuning': {'engine', 'evaluation', 'model', 'pointing'},
    # `completion` asks the table of commands for the arguments of each.
    'commands': LIBRARY | {'cameras', 'cli', 'model', 'ros'},
    # The pages in the browser; the rendered table is one of their cameras. One writes a folder to
    # measure on.
    'viewing': {'cameras', 'commands', 'engine', 'evaluation', 'grounding', 'pointing', 'ros'}
    | {'spatial'},
    'tabletop': LIBRARY | {'cameras', 'commands', 'ros', 'viewing'},
    # It names the modules of commands, and imports the one that was asked for.
    'cli': set(),
}


MODULES = modules_of(PACKAGE.parent)


def test_every_module_belongs_to_a_room_with_known_neighbours():
    assert {room_of(name) for name in MODULES} - {'(package)'} == set(ROOMS)


def test_the_picture_of_the_rooms_shows_every_room():
    drawn = runpy.run_path(str(PACKAGE.parent / 'docs/draw_rooms.py'))['PURPOSE']
    assert set(drawn) == {path.parent.name for path in PACKAGE.glob('*/__init__.py')}


@pytest.mark.parametrize('room', ROOMS)
def test_a_room_knows_only_its_neighbours(room):
    for name in (name for name in MODULES if room_of(name) == room):
        known = {room_of(other) for other in imports_of(name, MODULES)} - {'(package)'}
        strangers = known - ROOMS[room] - ANYBODY - {room}
        assert not strangers, f'{name} imports {strangers}'


def test_only_what_shows_picks_knows_physics():
    """A table can be rendered, asked about and learnt from without MuJoCo."""
    shows = {'molmo_ros.tabletop.demo.picks'}
    for name in MODULES:
        if not name.startswith('molmo_ros.tabletop.physics'):
            known = [other for other in imports_of(name, MODULES) if '.physics' in other]
            assert not known or name in shows, f'{name} imports {known}'


@pytest.mark.parametrize(
    'module, absent',
    [
        ('molmo_ros', 'torch transformers numpy rclpy'),
        ('molmo_ros.pointing', 'torch transformers numpy rclpy'),
        ('molmo_ros.spatial', 'torch transformers rclpy'),
        ('molmo_ros.engine', 'torch transformers rclpy'),
        ('molmo_ros.engine.answers', 'torch transformers rclpy'),
        ('molmo_ros.engine.confidence', 'torch transformers rclpy'),
        ('molmo_ros.engine.frame_cache', 'torch transformers rclpy'),
        ('molmo_ros.engine.remote.engine', 'torch transformers rclpy openai'),
        ('molmo_ros.engine.requests', 'torch transformers rclpy'),
        ('molmo_ros.engine.self_test', 'torch transformers rclpy'),
        ('molmo_ros.engine.shipped', 'torch transformers rclpy'),
        ('molmo_ros.engine.slots', 'torch transformers rclpy'),
        ('molmo_ros.engine.writer', 'torch transformers rclpy'),
        ('molmo_ros.grounding.picking', 'torch transformers rclpy'),
        ('molmo_ros.cameras.files', 'torch transformers rclpy'),
        ('molmo_ros.cameras.image_messages', 'torch transformers rclpy sensor_msgs'),
        ('molmo_ros.spatial.transform_tree', 'torch transformers rclpy pytransform3d'),
        ('molmo_ros.commands.ask', 'torch transformers rclpy embreex'),
        ('molmo_ros.commands.check_camera', 'torch transformers rclpy embreex'),
        ('molmo_ros.cli', 'torch transformers rclpy'),
        ('molmo_ros.viewing.command', 'torch transformers rclpy viser'),
        ('molmo_ros.viewing.labelling.command', 'torch transformers rclpy viser'),
        ('molmo_ros.viewing.session', 'torch transformers rclpy viser'),
        ('molmo_ros.commands.finetune', 'torch transformers rclpy peft'),
        ('molmo_ros.tabletop.demo.demo', 'torch transformers mujoco viser'),
        ('molmo_ros.tabletop.physics.film', 'torch transformers rclpy mujoco'),
        ('molmo_ros.ros.point_query_node', 'torch transformers embreex viser'),
    ],
)
def test_importing_a_room_is_light(module, absent):
    code = f'import {module}, sys; print(*sys.modules.keys() & set({absent.split()}))'
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


def test_an_engine_for_a_server_needs_no_torch():
    """What a remote engine is written with, driven by the node's worker."""
    code = """
        import sys

        sys.modules['torch'] = sys.modules['transformers'] = None  # importing them raises

        import numpy as np
        from molmo_ros.engine import Answer, Engine, EngineError, Question
        from molmo_ros.engine.requests import (
            Stopwatch, as_engine_error, check_image, continue_or_stop, prompt_of,
        )
        from molmo_ros.pointing import read_points
        from molmo_ros.ros.engine_worker import EnginePhase, EngineWorker

        def served(prompt):
            if 'plug' in prompt:
                raise ConnectionError('the server went away')
            return ' <point x="25.0" y="50.0" alt="lid">lid</point>'

        class RemoteEngine(Engine):
            def answer_each(self, image, questions):
                for one in questions:
                    try:
                        one.tell(self._answered(image, one))
                    except Exception as error:
                        one.tell(as_engine_error(error))

            def _answered(self, image, one):
                check_image(image)
                continue_or_stop(one.should_stop)
                stage = Stopwatch()
                with stage('decode'):
                    text = served(prompt_of(one.question))
                reading = read_points(text, image.shape[1], image.shape[0])
                seconds = stage.seconds
                return Answer(text, reading.points, reading.count, reading.absent, 1, seconds)

            def close(self):
                pass

        worker = EngineWorker(lambda progress: RemoteEngine())
        while worker.state.phase is EnginePhase.LOADING:
            pass
        image = np.zeros((40, 80, 3), np.uint8)
        lid, plug, nothing = (
            worker.submit(image, Question(query), lambda: False) for query in ('lid', 'plug', ' ')
        )
        (point,) = lid.result(10).points
        print(point.u, point.v, sep='\\n')
        print(*(repr(asked.exception(10)) for asked in (plug, nothing)), sep='\\n')
        assert worker.close(10)
    """
    result = subprocess.run([sys.executable, '-c', dedent(code)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    u, v, plug, nothing = result.stdout.splitlines()
    assert (float(u), float(v)) == (20, 20)
    assert plug.startswith('EngineError') and 'the server went away' in plug
    assert nothing.startswith('InvalidQuestion')


def test_no_room_of_a_robot_knows_the_page():
    robots = {'model', 'pointing', 'spatial', 'grounding', 'engine', 'cameras', 'ros', 'commands'}
    assert not [room for room in robots if {'viewing', 'tabletop'} & ROOMS[room]]
