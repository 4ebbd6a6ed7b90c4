# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Bags as `ros2 bag record` leaves them are answered as the files in them would be."""

import json
import struct

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from molmo_ros.cameras.bag import Bag, BagSettings
from molmo_ros.cameras.files import write_camera, write_color, write_depth
from molmo_ros.cli import main
from molmo_ros.errors import UserError
from molmo_ros.spatial import LiftStatus
from molmo_ros.tabletop.samples.table_views import view_of

STORE = get_typestore(Stores.ROS2_JAZZY)
TYPES = STORE.types
BEGIN = 1_700_000_000_250_000_000
OPTICAL, DEPTH_OPTICAL = 'head_optical', 'head_depth_optical'
WIDTH, HEIGHT = 64, 48
K = np.array([70.0, 0, 31.2, 0, 71.0, 24.3, 0, 0, 1])
RNG = np.random.default_rng(8)
COLOR = RNG.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)
DEPTH_MM = RNG.integers(700, 1900, (HEIGHT, WIDTH)).astype(np.uint16)
STORAGES = {'mcap': StoragePlugin.MCAP, 'db3': StoragePlugin.SQLITE3}


def at(seconds):
    """A time of the recording, nanoseconds."""
    return BEGIN + round(seconds * 1e9)


def header(seconds, frame_id=OPTICAL):
    stamp = TYPES['builtin_interfaces/msg/Time'](*divmod(at(seconds), 10**9))
    return TYPES['std_msgs/msg/Header'](stamp=stamp, frame_id=frame_id)


def image(seconds, pixels, encoding, frame_id=OPTICAL):
    data = np.frombuffer(pixels.tobytes(), np.uint8)
    height, width = pixels.shape[:2]
    step = pixels.nbytes // height
    return TYPES['sensor_msgs/msg/Image'](
        header(seconds, frame_id), height, width, encoding, 0, step, data
    )


def compressed(seconds, data, form, frame_id=OPTICAL):
    kind = TYPES['sensor_msgs/msg/CompressedImage']
    return kind(header(seconds, frame_id), form, np.frombuffer(data, np.uint8))


def png(pixels):
    return cv2.imencode('.png', pixels)[1].tobytes()


def compressed_depth(seconds, counts, frame_id=OPTICAL):
    data = struct.pack('<iff', 0, 0, 0) + png(counts)
    return compressed(seconds, data, '16UC1; compressedDepth png', frame_id)


def camera_info(seconds, frame_id=OPTICAL, K=K, size=(WIDTH, HEIGHT), d=(), P=(0.0,) * 12):
    roi = TYPES['sensor_msgs/msg/RegionOfInterest'](0, 0, 0, 0, False)
    return TYPES['sensor_msgs/msg/CameraInfo'](
        header=header(seconds, frame_id),
        height=size[1],
        width=size[0],
        distortion_model='plumb_bob',
        d=np.array(d, float),
        k=np.asarray(K, float).ravel(),
        r=np.eye(3).ravel(),
        p=np.array(P, float),
        binning_x=0,
        binning_y=0,
        roi=roi,
    )


def pose(seconds, parent, child, xyz):
    geometry = 'geometry_msgs/msg/'
    transform = TYPES[geometry + 'Transform'](
        translation=TYPES[geometry + 'Vector3'](*map(float, xyz)),
        rotation=TYPES[geometry + 'Quaternion'](0.0, 0.0, 0.0, 1.0),
    )
    stamped = TYPES[geometry + 'TransformStamped'](header(seconds, parent), child, transform)
    return TYPES['tf2_msgs/msg/TFMessage']([stamped])


def write(folder, messages, storage='mcap'):
    """A bag of (recorded at, topic, message)."""
    with Writer(folder, version=9, storage_plugin=STORAGES[storage]) as writer:
        connections = {}
        for seconds, topic, message in messages:
            kind = message.__msgtype__
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE)
            data = STORE.serialize_cdr(message, kind)
            writer.write(connections[topic], at(seconds), data)
    return folder


def camera_messages(t, raw=True, color=COLOR, counts=DEPTH_MM, **info):
    """What a driver publishes at a time; calibrations and depth come a little later."""
    yield (
        (t, '/head/color/image_raw', image(t, color, 'rgb8'))
        if raw
        else (t, '/head/color/image_raw/compressed', compressed(t, png(color[..., ::-1]), 'png'))
    )
    yield (
        (t + 0.004, '/head/depth/image_raw', image(t, counts, '16UC1'))
        if raw
        else (t + 0.004, '/head/depth/image_raw/compressedDepth', compressed_depth(t, counts))
    )
    yield t + 0.001, '/head/color/camera_info', camera_info(t, **info)


def moving(seconds):
    """base stands 1 m a second farther along x, from 0 at the beginning; told every 0.1 s."""
    for t in np.arange(0, seconds, 0.1):
        yield t, '/tf', pose(t, 'base', 'head', (t, 0.0, 0.0))
    yield 0.0, '/tf_static', pose(0.0, 'head', OPTICAL, (0.0, 0.5, 0.0))


@pytest.mark.parametrize('as_file', [False, True], ids=['folder', 'file'])
@pytest.mark.parametrize('raw', [True, False], ids=['raw', 'compressed'])
@pytest.mark.parametrize('storage', STORAGES)
def test_color_depth_and_calibration_are_as_they_were_recorded(storage, raw, as_file, tmp_path):
    bag = write(tmp_path / 'bag', camera_messages(0.2, raw), storage)
    path = next(bag.glob(f'*.{storage}')) if as_file else bag
    with Bag(path) as source:
        capture = source.capture()
    np.testing.assert_array_equal(capture.frame.color, COLOR)
    np.testing.assert_allclose(capture.frame.depth, DEPTH_MM / 1000, rtol=1e-6)
    np.testing.assert_array_equal(capture.frame.camera.K.ravel(), K)
    assert (capture.frame.stamp, capture.frame.frame_id) == (at(0.2), OPTICAL)
    assert capture.registration is None
    assert not capture.missing and not capture.assumed


def test_the_frame_is_that_of_the_time_asked_for(tmp_path):
    messages = [m for n in range(5) for m in camera_messages(n * 0.5, color=COLOR // 8 + 40 * n)]
    with Bag(write(tmp_path / 'bag', messages)) as source:
        np.testing.assert_array_equal(source.capture(0.9).frame.color, COLOR // 8 + 80)
        assert source.capture(1.2).frame.stamp == at(1.5)
        assert '1.500 s' in source.about
        with pytest.raises(UserError, match=r'7 s is not within the 2\.004 s'):
            source.capture(7.0)


def test_the_first_complete_frame_is_taken(tmp_path):
    """Drivers start their streams one after another."""
    alone = [(0.1 * n, '/head/color/image_raw', image(0.1 * n, COLOR, 'rgb8')) for n in range(6)]
    with Bag(write(tmp_path / 'bag', [*alone, *camera_messages(0.7)])) as source:
        assert source.capture().frame.stamp == at(0.7)


def test_depth_of_another_time_is_told_and_can_be_allowed(tmp_path):
    messages = [
        (0.0, '/image', image(0.0, COLOR, 'rgb8')),
        (0.0, '/camera_info', camera_info(0.0)),
        (0.0, '/depth', image(0.045, DEPTH_MM, '16UC1')),
    ]
    path = write(tmp_path / 'bag', messages)
    with Bag(path) as source:
        reason = source.capture().missing[LiftStatus.NO_DEPTH]
    assert '+0.045 s' in reason and '--sync-slop' in reason
    with Bag(path, BagSettings(sync_slop=0.05)) as source:
        assert source.capture().frame.depth is not None


def test_transforms_hold_at_the_time_of_the_image(tmp_path):
    messages = [*moving(3.0), *camera_messages(1.37)]
    with Bag(write(tmp_path / 'bag', messages)) as source:
        capture = source.capture()
        T = source.target('base', capture).T_target_optical
        np.testing.assert_allclose(T[:3, 3], [1.37, 0.5, 0.0], atol=1e-6)
        assert np.allclose(source.frames('base', capture)[capture.frame.frame_id], T)
        assert np.allclose(source.frames('', capture)['base'], np.linalg.inv(T))
        nowhere = source.target('moon', capture)
        assert nowhere.T_target_optical is None and 'moon' in nowhere.why_not


def test_depth_of_its_own_camera_is_registered(tmp_path):
    own = K * np.where(np.arange(9) < 8, 0.8, 1.0)
    messages = [
        (0.0, '/tf_static', pose(0.0, OPTICAL, DEPTH_OPTICAL, (0.05, 0.0, 0.0))),
        *camera_messages(0.1),
    ]
    messages[2] = (0.1, '/head/depth/image_raw', image(0.1, DEPTH_MM, '16UC1', DEPTH_OPTICAL))
    messages.append((0.1, '/head/depth/camera_info', camera_info(0.1, DEPTH_OPTICAL, K=own)))
    with Bag(write(tmp_path / 'bag', messages)) as source:
        registration = source.capture().registration
    assert registration.depth_camera.K[0, 0] == pytest.approx(56.0)
    np.testing.assert_allclose(registration.T_color_depth[:3, 3], [0.05, 0, 0])


def test_depth_of_another_frame_without_calibration_is_assumed_to_be_aligned(tmp_path):
    messages = list(camera_messages(0.1))
    messages[1] = (0.1, '/head/depth/image_raw', image(0.1, DEPTH_MM, '16UC1', DEPTH_OPTICAL))
    with Bag(write(tmp_path / 'bag', messages)) as source:
        (assumed,) = source.capture().assumed
    assert 'aligned' in assumed and 'depth_camera_info' in assumed


def test_of_several_cameras_one_is_taken_with_its_own_depth_and_that_is_said(tmp_path):
    def camera(name):
        frame = f'{name}_optical'
        counts = np.full_like(DEPTH_MM, 1000 if name == 'left' else 2000)
        yield 0.0, f'/{name}/rgb', image(0.0, COLOR, 'rgb8', frame)
        yield 0.0, f'/{name}/depth', image(0.0, counts, '16UC1', frame)
        yield 0.0, f'/{name}/camera_info', camera_info(0.0, frame)
        yield 0.0, f'/{name}/infra', image(0.0, COLOR[..., 0].copy(), 'mono8', frame)

    path = write(tmp_path / 'bag', [*camera('right'), *camera('left')])
    with Bag(path) as source:
        capture = source.capture()
        assert source.topics.image == '/left/rgb'
    assert capture.frame.depth.max() == pytest.approx(1.0)
    assert any('/right/rgb' in text and '--topics' in text for text in capture.assumed)
    with Bag(path, BagSettings(topics={'image': '/right/rgb'})) as source:
        capture = source.capture()
    assert capture.frame.depth.min() == pytest.approx(2.0)
    assert capture.frame.frame_id == 'right_optical' and not capture.assumed


def test_a_rectified_image_counts_with_p(tmp_path):
    P = [90.0, 0, 32, 0, 0, 91, 24, 0, 0, 0, 1, 0]
    messages = [
        (0.0, '/cam/image_rect_color', image(0.0, COLOR, 'rgb8')),
        (0.0, '/cam/camera_info', camera_info(0.0, d=[0.2, 0, 0, 0, 0], P=P)),
    ]
    path = write(tmp_path / 'bag', messages)
    with Bag(path) as source:
        capture = source.capture()
    assert capture.frame.camera.K[0, 0] == 90.0
    assert any('rectified' in text for text in capture.assumed)
    with Bag(path, BagSettings(rectified=False)) as source:
        assert source.capture().frame.camera.K[0, 0] == K[0]


def test_what_is_no_bag_or_has_no_picture_is_told(tmp_path):
    broken = tmp_path / 'broken.mcap'
    broken.write_bytes(b'no bag at all')
    with pytest.raises(UserError, match='broken'):
        Bag(broken)
    only_depth = list(camera_messages(0.1))[1:]
    with pytest.raises(UserError, match=r'no color image.*/head/depth/image_raw'):
        Bag(write(tmp_path / 'depths', only_depth))
    full = write(tmp_path / 'full', camera_messages(0.1))
    with pytest.raises(UserError, match=r'no image on /front.*/head/color/image_raw'):
        Bag(full, BagSettings(topics={'image': '/front'}))


def test_a_recording_that_breaks_off_is_told(tmp_path):
    """As when the machine lost power."""
    whole = next(write(tmp_path / 'bag', camera_messages(0.1), 'db3').glob('*.db3'))
    cut = tmp_path / 'cut.db3'
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(UserError, match='damaged'), Bag(cut) as source:
        source.capture()


def test_a_body_frame_is_warned_of_and_another_can_be_named(tmp_path):
    """As simulators stamp images: a thing ahead would be told to be above."""
    messages = [
        *moving(0.3),
        (0.0, '/tf_static', pose(0.0, 'base', 'tower_link', (0.0, 0.0, 2.0))),
        (0.1, '/image', image(0.1, COLOR, 'rgb8', 'tower_link')),
        (0.1, '/camera_info', camera_info(0.1, 'tower_link')),
    ]
    path = write(tmp_path / 'bag', messages)
    with Bag(path) as source:
        (note,) = source.target('base', source.capture()).notes
    assert "'tower_link'" in note and 'body frame' in note and '--optical-frame' in note
    with Bag(path, BagSettings(optical_frame=OPTICAL)) as source:
        target = source.target('base', source.capture())
    np.testing.assert_allclose(target.T_target_optical[:3, 3], [0.1, 0.5, 0.0], atol=1e-6)
    assert not target.notes and not target.assumed


def test_a_calibration_of_another_frame_is_assumed_to_be_the_images(tmp_path):
    messages = list(camera_messages(0.1))
    messages[2] = (0.1, '/head/color/camera_info', camera_info(0.1, 'left_eye'))
    with Bag(write(tmp_path / 'bag', messages)) as source:
        (assumed,) = source.capture().assumed
    assert "'left_eye'" in assumed and '--topics' in assumed


@pytest.mark.parametrize('raw', [True, False], ids=['raw', 'compressed'])
@pytest.mark.parametrize('storage', STORAGES)
def test_ask_answers_about_a_bag_as_about_its_files(storage, raw, tmp_path, capsys):
    view = view_of(5000)
    color, depth, camera = view.picture.color, view.picture.depth, view.picture.camera
    write_color(tmp_path / 'color.png', color)
    write_depth(tmp_path / 'depth.png', depth)
    write_camera(tmp_path / 'camera.yaml', camera)
    size = camera.width, camera.height
    counts = np.rint(np.nan_to_num(depth) * 1000).astype(np.uint16)
    black = np.zeros_like(color)
    messages = [
        *moving(2.0),
        *camera_messages(0.4, raw, black, counts, K=camera.K, size=size),
        *camera_messages(1.25, raw, color, counts, K=camera.K, size=size),
    ]
    bag = next(write(tmp_path / 'bag', messages, storage).glob(f'*.{storage}'))
    item = view.scene.objects[0]
    query = f'the {item.colour} {item.kind}'
    files = ['--depth', str(tmp_path / 'depth.png'), '--camera', str(tmp_path / 'camera.yaml')]
    files += ['--noise', 'ideal']
    assert main(['ask', str(tmp_path / 'color.png'), query, *files, '--json']) == 0
    expected = json.loads(capsys.readouterr().out)
    where = ['--at', '1.2', '--target-frame', 'base', '--noise', 'ideal']
    assert main(['ask', str(bag), query, *where, '--json']) == 0
    report = json.loads(capsys.readouterr().out)
    (point,), (as_file,) = report['points'], expected['points']
    assert point['status_3d'] == as_file['status_3d'] == 'OK'
    assert (point['u'], point['v']) == (as_file['u'], as_file['v'])
    # The camera stands 1.25 m along x then, half a metre along y.
    moved = np.add(as_file['position'], [1.25, 0.5, 0.0])
    np.testing.assert_allclose(point['position'], moved, atol=1e-6)
    assert report['frame'] == 'base' and '/head/color/image_raw' in report['source']
    # A bag's 16UC1 is millimetres by REP-118; of a file that has to be assumed, and is said.
    assert report['assumed'] == []
    (unit,) = expected['assumed']
    assert '--depth-unit' in unit


def test_ask_takes_a_frame_of_a_bag_every_so_often_to_its_end(tmp_path, capsys):
    """The transforms go on for a while after the last image."""
    times = (0.25, 0.75, 1.25)
    messages = [*moving(2.0), *(m for time in times for m in camera_messages(time))]
    bag = str(write(tmp_path / 'bag', messages))
    assert main(['ask', bag, 'the mug', '--at', '0.25', '--every', '500ms', '--json']) == 2
    output = capsys.readouterr()
    answers = [json.loads(line) for line in output.out.splitlines()]
    assert [one['picture'].split(' at ')[1] for one in answers] == [
        f'{second} s' for second in (0.25, 0.75, 1.25, 1.75)
    ]
    assert [one['source'].split(', ')[1].split()[0] for one in answers[:3]] == [
        f'{time:.3f}' for time in times
    ]
    assert 'no image' in answers[3]['error'] and 'no image' in output.err
