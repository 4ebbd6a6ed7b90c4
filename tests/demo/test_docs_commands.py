# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every line that the pages tell people to type runs here, or stands below with why it does not."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from molmo_ros.action import PointQuery as PointQueryAction
from molmo_ros.srv import PointQuery
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from molmo_ros.cli import COMMANDS, main
from molmo_ros.ros.domain import free_domain
from molmo_ros.tabletop.demo.processes import NodeProcesses

ROOT = Path(__file__).parents[2]
# README.md's are in test_readme.py.
PAGES = [
    *sorted((ROOT / 'docs').rglob('*.md')),
    *(ROOT / name for name in ('CONTRIBUTING.md', 'docker/README.md', 'training/README.md')),
]
# What a line has (a pattern), and why it is not run. The first that fits counts.
NOT_RUN = {
    'docker ': 'wants Docker; tests/packaging/test_docker.py reads the Dockerfile',
    'gpu-box|FIRST:|ray start': 'wants a server; tests/engine/test_remote.py has one',
    'allenai/': 'downloads a release of Molmo',
    'pip install': 'installs; tests/packaging/test_extras.py knows that each extra exists',
    'eval pixmo-': 'wants a data set that is not here; tests/evaluation has its layout',
    'fetch pictures': 'asks for addresses; tests/evaluation/test_downloads.py has a server',
    'eval point-bench': 'wants a data set that is not here; tests/evaluation has its layout',
    'check-camera --ros --image': 'wants a RealSense; tests/ros/test_check_camera.py runs it',
    'check-camera --ros --ros-args': 'listens to a camera; tests/ros/test_check_camera.py runs it',
    'calibrate depth wall': 'wants views of a wall; tests/cli/test_calibrate_depth.py makes some',
    'calibrate depth --ros': 'listens to a camera; tests/ros/test_calibrate_depth.py runs it',
    'molmo-ros view': 'runs until Ctrl-C; tests/viewing opens it',
    'label import': 'wants labels of others; tests/evaluation/test_importing.py has some',
    'molmo-ros label': 'runs until Ctrl-C; tests/viewing opens it',
    'demo --view': 'runs until Ctrl-C; tests/viewing opens it',
    'python -m training': 'trains for a day; tests/training goes the same way in small',
    'https://': 'asks an address that is none; tests/cli/test_ask.py has one that is',
    '--open': 'opens a window; tests/cli/test_ask.py has a viewer',
    'photo.jpg$': 'waits for somebody to type; tests/cli/test_ask.py types',
    'webcam': 'wants a webcam; tests/cameras/test_pictures.py stands one in',
    '--camera realsense': 'wants a RealSense; tests/cameras has recordings of one',
    '--at (3|3.5|12.5|7)\\b': 'wants a recording of that length; tests/cameras has short ones',
    '(kitchen/|clip.mp4)': 'names pictures of the reader; tests/cli/test_ask.py has such',
    'completion bash': 'writes into the home of who types it; tests/cli/test_commands.py reads it',
    'lifting.py --checkpoint': 'times the model for a minute',
    'benchmarks.picking': 'picks for an hour; tests/tabletop/test_physics.py picks a few things',
    'benchmarks.real_grasps': 'wants real frames, which do not come with the package',
    'benchmarks.soak': 'runs for an hour; tests/ros/test_faults.py has its faults one by one',
    'benchmarks.beside_server': 'wants a server; tests/engine/test_beside_server.py has one',
    'benchmarks.gpu': 'is for a GPU; tests/engine/test_gpu_script.py runs it in small',
    'ros2 ': 'wants ros2cli; launch arguments, fields and programs are compared below',
    'colcon ': 'wants a distribution of ROS 2',
    'sudo ': 'installs with apt',
    'export ': 'changes the shell it is typed into',
    'source ': 'changes the shell it is typed into',
    'make ': 'is what set this up; its targets are compared below',
    'python3 -m venv': 'makes an environment, to measure its size',
    'grep -v torch': 'is for the line below it, which installs',
}
# What makes a line shorter that would take minutes.
SHORTER = {
    'eval tabletop': ['--limit', '2'],
    'finetune my_parts': ['--steps', '1'],
    'benchmarks/': ['--scenes', '1'],
}


def lines_of(page):
    """The lines to type: in fences of the language sh or none, and indented by four."""
    text = page.read_text()
    fenced = re.findall(r'^```(?:sh)?\n(.*?)^```', text, re.M | re.S)
    rest = re.sub(r'^```.*?^```', '', text, flags=re.M | re.S)
    indented = re.findall(r'(?<=\n)\n((?: {4,6}\S.*\n)+)', rest)
    joined = re.sub(r'\\\n\s*', '', '\n'.join([*fenced, *indented]))
    lines = [re.sub(r'\s+# .*$', '', line.strip()) for line in joined.splitlines()]
    starts = (
        *('molmo-ros', 'python', 'ros2', 'make', 'pip', 'sudo', 'docker', 'source', 'export'),
    )
    others = ('cd ', 'grep', 'sed', 'v/bin', 'colcon')
    return [line for line in lines if line.startswith((*starts, *others))]


LINES = [(page, line) for page in PAGES for line in lines_of(page)]


def reason(line):
    return next((why for words, why in NOT_RUN.items() if re.search(words, line)), None)


RUN = [line for _, line in LINES if reason(line) is None]


def programs(name):
    return [shlex.split(line) for _, line in LINES if line.split()[0] == name]


def shown(words):
    return ' '.join(words[:5])


def test_there_are_lines_of_each_kind_and_no_reason_too_many():
    assert len(RUN) > 12 and programs('ros2') and programs('make')
    used = {
        next(words for words in NOT_RUN if re.search(words, line))
        for _, line in LINES
        if reason(line)
    }
    assert used == set(NOT_RUN)


@pytest.fixture(scope='module')
def desk(demonstration, tmp_path_factory):
    """A folder with the files that the pages name: the demo's, and such as users have."""
    folder = tmp_path_factory.mktemp('desk')
    demo = folder / 'demo_output'
    shutil.copytree(demonstration[0] / 'demo_output', demo)
    for source, name in (
        ('table_5000.png', 'photo.png'),
        ('table_5000_depth.png', 'depth.png'),
        ('table_5000_camera.yaml', 'camera.yaml'),
    ):
        shutil.copy(demo / source, folder / name)
    shutil.copy(folder / 'photo.png', folder / 'color.png')
    cv2.imwrite(str(folder / 'photo.jpg'), cv2.imread(str(folder / 'photo.png')))
    for name in ('benchmarks', 'config', 'models', 'docs'):
        (folder / name).symlink_to(ROOT / name)
    write_camchain(folder)
    for name, pictures in (('my_parts', 'a'), ('my_parts_held_out', 'b'), ('FOLDER', 'ab')):
        write_pictures(folder / name, pictures)
    write_recording(folder)
    return folder


def write_camchain(folder):
    info = yaml.safe_load((folder / 'camera.yaml').read_text())
    camera = {
        'camera_model': 'pinhole',
        'intrinsics': [info['k'][i] for i in (0, 4, 2, 5)],
        'distortion_model': 'radtan',
        'distortion_coeffs': [0.0] * 4,
        'resolution': [info['width'], info['height']],
    }
    (folder / 'camchain.yaml').write_text(yaml.safe_dump({'cam0': camera, 'cam1': camera}))


def write_pictures(folder, pictures):
    (folder / 'images').mkdir(parents=True)
    for name in pictures:
        shutil.copy(folder.parent / 'photo.png', folder / f'images/{name}.png')
    lines = [{'image': f'{n}.png', 'label': 'gearbox', 'points': [[300, 200]]} for n in pictures]
    (folder / 'points.jsonl').write_text('\n'.join(map(json.dumps, lines)))


def write_recording(folder):
    """A bag of the demo's camera, as ros2 bag record leaves it, and its file by itself."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types = store.types
    info = yaml.safe_load((folder / 'camera.yaml').read_text())
    color = cv2.imread(str(folder / 'photo.png'))
    depth = cv2.imread(str(folder / 'depth.png'), cv2.IMREAD_UNCHANGED)
    height, width = depth.shape
    optical = 'camera_color_optical_frame'
    with Writer(folder / 'recording', version=9, storage_plugin=StoragePlugin.MCAP) as writer:

        def connection(topic, kind):
            return writer.add_connection(topic, kind, typestore=store)

        image = connection('/camera/camera/color/image_raw', 'sensor_msgs/msg/Image')
        aligned = connection(
            '/camera/camera/aligned_depth_to_color/image_raw', 'sensor_msgs/msg/Image'
        )
        calibration = connection('/camera/camera/color/camera_info', 'sensor_msgs/msg/CameraInfo')
        static = connection('/tf_static', 'tf2_msgs/msg/TFMessage')

        def write(to, at, message):
            writer.write(to, at, store.serialize_cdr(message, to.msgtype))

        for after in (0, 500_000_000):
            at = 100 * 10**9 + after
            header = types['std_msgs/msg/Header'](
                types['builtin_interfaces/msg/Time'](100, after), optical
            )
            make = types['sensor_msgs/msg/Image']
            write(
                image,
                at,
                make(header, height, width, 'bgr8', 0, 3 * width, color.reshape(-1)),
            )
            write(
                aligned,
                at,
                make(header, height, width, '16UC1', 0, 2 * width, depth.view('uint8').reshape(-1)),
            )
            write(calibration, at, camera_info(types, header, info))
            write(static, at, standing(types, header, optical))
    shutil.copy(next((folder / 'recording').glob('*.mcap')), folder / 'recording.mcap')


def camera_info(types, header, info):
    return types['sensor_msgs/msg/CameraInfo'](
        header=header,
        height=info['height'],
        width=info['width'],
        distortion_model=info['distortion_model'],
        d=np.array(info.get('d', ()), float),
        k=np.array(info['k'], float),
        r=np.eye(3).ravel(),
        p=np.zeros(12),
        binning_x=0,
        binning_y=0,
        roi=types['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False),
    )


def standing(types, header, optical):
    """Where the camera stands in the frame 'table': two metres above it, looking down."""
    transform = types['geometry_msgs/msg/Transform'](
        translation=types['geometry_msgs/msg/Vector3'](0.0, 0.0, 2.0),
        rotation=types['geometry_msgs/msg/Quaternion'](1.0, 0.0, 0.0, 0.0),
    )
    above = types['std_msgs/msg/Header'](header.stamp, 'table')
    stamped = types['geometry_msgs/msg/TransformStamped'](above, optical, transform)
    return types['tf2_msgs/msg/TFMessage']([stamped])


def shorter(line):
    return [word for key, more in SHORTER.items() if key in line for word in more]


@pytest.mark.parametrize('line', dict.fromkeys(RUN))
def test_a_line_runs_as_it_is_written(line, desk, monkeypatch):
    """One after the other as on the pages; some need what one before them wrote."""
    monkeypatch.chdir(desk)
    words = [*shlex.split(line), *shorter(line)]
    if words[0] == 'molmo-ros':
        assert main(words[1:]) == 0
        return
    environment = os.environ | {
        'PATH': f'{Path(sys.executable).parent}:{os.environ["PATH"]}',
        'PYTHONPATH': f'{ROOT}:{os.environ.get("PYTHONPATH", "")}',
    }
    command = ['bash', '-c', f'{line} {" ".join(shorter(line))}']
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize('words', programs('molmo-ros'), ids=shown)
def test_commands_exist_those_that_are_not_run_too(words):
    assert words[1] in COMMANDS or ' '.join(words[1:3]) in COMMANDS
    if '--' in ' '.join(words):
        module = ' '.join(words[1:3]) if ' '.join(words[1:3]) in COMMANDS else words[1]
        told = subprocess.run(
            [sys.executable, '-m', 'molmo_ros.cli', *module.split(), '--help'],
            capture_output=True,
            text=True,
        ).stdout
        for option in (word for word in words if word.startswith('--') and word != '--ros-args'):
            assert option in told, option


@pytest.mark.parametrize('words', programs('make'), ids=shown)
def test_make_knows_its_targets(words):
    makefile = (ROOT / 'Makefile').read_text()
    assert re.search(rf'^{words[1]}: |^{words[1]}:$', makefile, re.M)


@pytest.mark.parametrize('words', programs('ros2'), ids=shown)
def test_what_ros2_is_told_is_there(words):
    if words[1:3] == ['launch', 'molmo_ros']:
        launch = (ROOT / 'launch' / words[3]).read_text().replace('(\n        ', '(')
        for argument in words[4:]:
            assert f"argument('{argument.split(':=')[0]}'" in launch
    elif words[1:3] == ['run', 'molmo_ros']:
        assert f'install_entry_point({words[3]} ' in (ROOT / 'CMakeLists.txt').read_text()
    elif words[1] == 'service':
        PointQuery.Request(**yaml.safe_load(words[5]))
    elif words[1] == 'action':
        PointQueryAction.Goal(**yaml.safe_load(words[5]))
    else:
        # Of other packages, or of ROS itself.
        assert words[1] in ('launch', 'run', 'bag', 'topic', 'security')
        assert words[2] in (
            'foxglove_bridge',
            'depth_image_proc',
            'tf2_ros',
            'record',
            'play',
            'list',
            'echo',
            'create_keystore',
            'create_enclave',
            'create_permission',
        )


CODE = [
    pytest.param(code, id=page.name)
    for page in PAGES
    for code in re.findall(r'^```python\n(.*?)^```', page.read_text(), re.M | re.S)
]


@pytest.fixture(scope='module')
def nodes(tmp_path_factory):
    """A node and the rendered camera in a corner of DDS of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
        patch.setenv('ROS_DOMAIN_ID', str(free_domain()))
        with NodeProcesses(tmp_path_factory.mktemp('nodes')) as nodes:
            nodes.start('camera', 'molmo_ros.tabletop.camera_node')
            # As in the demo: a busy machine may starve the camera.
            patient = ('-p', 'max_frame_age:=10.0', '-p', 'frame_wait:=10.0')
            nodes.start('node', 'molmo_ros.ros.point_query_node', '--ros-args', *patient)
            yield nodes


@pytest.mark.parametrize('code', CODE)
def test_robot_code_runs_with_the_demo_camera(code, nodes):
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    nodes.check()
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.strip()
