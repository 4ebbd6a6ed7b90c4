# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Wild cameras: whatever depth, camera_info and /tf hold, an answer is right or says why not.

    python -m benchmarks.fuzz_requests --examples 3000

In this process and without DDS, half of the examples as topics and half as requests. Prints how
the questions and the points ended; the exit status is 1 if anything broke a rule: ENGINE_FAILED
never, every position finite and within lift.max_range of the camera along its axis, every
covariance symmetric without negative eigenvalues.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Quaternion, Transform, Vector3
from molmo_ros.srv import PointQuery
from rclpy.clock import Clock
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest
from std_msgs.msg import Header

from molmo_ros.engine import Answer
from molmo_ros.pointing.points import ImagePoint
from molmo_ros.ros import parameters
from molmo_ros.ros.answering import Answering, AnswerSettings, Request, Result, Status
from molmo_ros.ros.engine_worker import EnginePhase, EngineWorker
from molmo_ros.ros.messages import read_capture, write_result
from molmo_ros.ros.node_settings import NodeSettings, read_settings
from molmo_ros.ros.streams import CameraStreams
from molmo_ros.ros.transforms import NoTransform, TransformTree
from molmo_ros.spatial import LiftStatus

WILD = (
    0.0, -0.0, 1.0, -1.0, 0.5, 2.0, 100.0, 640.0, 5000.0, 1e-3, 1e-9, 1e-300, 5e-324, -1e-9,
    1e6, 1e9, -1e9, 1e38, 1e150, 1e300, 1.7e308, -1.7e308, np.nan, np.inf, -np.inf,
)  # fmt: skip
FRAMES = ('eye_optical', '/eye_optical', '', 'eye_link', 'depth_optical', 'depth_frame', 'nowhere')
COUNTS = (0, 1, 2, 3, 7, 100, 100_000, 2**31, 2**32 - 1)


class FedNode:
    """As much of a node as CameraStreams needs: messages are fed to its subscriptions by hand."""

    def __init__(self) -> None:
        self.callbacks: dict[str, Callable[[Any], None]] = {}

    def create_subscription(
        self, kind: type, topic: str, callback: Callable[[Any], None], profile: QoSProfile,
        callback_group: Any = None, raw: bool = False,
    ) -> Any:  # fmt: skip
        self.callbacks[topic] = callback
        return SimpleNamespace(topic_name=f'/{topic}')

    def feed(self, topic: str, message: Any) -> None:
        self.callbacks[topic](serialize_message(message))

    def get_clock(self) -> Clock:
        return Clock()

    def count_publishers(self, topic: str) -> int:
        return 1

    def get_publishers_info_by_topic(self, topic: str) -> list[Any]:
        return []


class Everywhere:
    """An engine that points all over the picture."""

    def answer(self, image: Any, question: Any, should_stop: Any = None) -> Answer:
        height, width = image.shape[:2]
        shares = ((0.5, 0.5), (0.1, 0.2), (0.9, 0.7), (0.0, 0.0), (1.0, 1.0))
        points = tuple(ImagePoint(u * width, v * height, 'it') for u, v in shares)
        return Answer('', points, None, False, 1, {})

    def close(self) -> None:
        """See Engine."""


@dataclass
class Outcome:
    """How many questions and points ended how, and what broke a rule."""

    questions: Counter[str] = field(default_factory=Counter)
    points: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)


class Fuzzer:
    """Asks about one wild frame after another."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._errors: list[str] = []
        self._worker = EngineWorker(lambda progress: Everywhere())
        while self._worker.state.phase is EnginePhase.LOADING:
            time.sleep(0.01)
        self._defaults = {p.name: p.default for p in parameters.POINT_QUERY}

    def close(self) -> None:
        """Stop the engine."""
        self._worker.close(5.0)

    def run(self, examples: int) -> Outcome:
        """Try examples 0, 1, ... of the seed."""
        outcome = Outcome()
        for number in range(examples):
            for reason in self._try(number, outcome):
                outcome.broken.append(f'example {number} of seed {self._seed}: {reason}')
        return outcome

    def _try(self, number: int, outcome: Outcome) -> Iterator[str]:
        rng = np.random.default_rng([self._seed, number])
        settings, tree = self._settings(rng), wild_tree(rng)
        target = str(rng.choice(['', '', 'base', 'nowhere', 'eye_link']))
        self._errors.clear()
        answering = Answering(self._worker, tree, 3, self._errors.append)
        capture = (self._topics if number % 2 else self._request)(rng, settings, tree)
        result = answering.answer(
            Request('it', target_frame=target, timeout=30.0),
            capture,
            AnswerSettings(
                settings.grounding, 0.0, settings.up_frame, settings.frames.optical_frame
            ),
        )
        outcome.questions[result.status.name] += 1
        outcome.points.update(point.surface.status.name for point in result.points)
        if result.status is Status.ENGINE_FAILED:
            yield f'{result.message} {self._errors}'
        yield from self._wrong_points(result, settings, tree)
        write_result(result, PointQuery.Response(), settings.waypoint_standoff)

    def _settings(self, rng: np.random.Generator) -> NodeSettings:
        changed = {
            'rectified': bool(rng.integers(2)),
            'waypoint_from': str(rng.choice(['surface', 'surface', 'object'])),
            'grasp.up_frame': str(rng.choice(['', 'base', 'nowhere'])),
            'optical_frame': str(rng.choice(['', '', 'eye_optical'])),
            'depth_pose': str(rng.choice(['', '', '0.05 0 0 0 0 0 1', '0 0 0 0.1 0.2 0.3 0.9'])),
            'noise.kind': str(rng.choice(['stereo', 'tof'])),
            'max_frame_age': 0.0,
            'frame_wait': 0.0,
            'transform_timeout': 0.0,
        }
        return read_settings(self._defaults | changed)

    def _topics(
        self, rng: np.random.Generator, settings: NodeSettings, tree: TransformTree
    ) -> Callable[[Any], Any]:
        node: Any = FedNode()
        streams = CameraStreams(node, settings.streams, tree)
        for topic, message in wild_camera(rng).items():
            if rng.random() < 0.97:
                node.feed(topic, message)
        return lambda watch: streams.capture(settings.frames)

    def _request(
        self, rng: np.random.Generator, settings: NodeSettings, tree: TransformTree
    ) -> Callable[[Any], Any]:
        camera = wild_camera(rng)
        request = PointQuery.Request(
            image=camera['image'], depth=camera['depth'], camera_info=camera['camera_info']
        )
        return lambda watch: read_capture(request, settings.frames)

    def _wrong_points(
        self, result: Result, settings: NodeSettings, tree: TransformTree
    ) -> Iterator[str]:
        farthest = settings.grounding.lift.max_range
        for point in result.points:
            surface = point.surface
            if surface.status is not LiftStatus.OK:
                if np.isfinite(surface.position).any() or not surface.reason:
                    yield f'{surface.status.name} with a position or without a reason'
                continue
            if not np.isfinite(surface.position).all():
                yield f'OK at {surface.position}'
            if not _is_covariance(surface.covariance):
                yield f'OK with the covariance {surface.covariance.tolist()}'
            z = self._in_camera(surface.position, result, tree)[2]
            if not 0 < z <= farthest * (1 + 1e-6):
                yield f'OK {z} m before the camera'

    def _in_camera(self, position: Any, result: Result, tree: TransformTree) -> Any:
        assert result.capture is not None
        frame = result.capture.frame
        if frame.frame_id == result.frame_id:
            return position
        try:
            T = tree.look_up(result.frame_id, frame.frame_id, frame.stamp)
        except NoTransform as error:
            raise AssertionError('OK without a transform') from error
        return T[:3, :3].T @ (position - T[:3, 3])


def _is_covariance(matrix: Any) -> bool:
    if not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.T):
        return False
    values = np.linalg.eigvalsh(matrix)
    return bool(values[0] >= -1e-6 * max(values[-1], 1e-12))


def wild_camera(rng: np.random.Generator) -> dict[str, Any]:
    """The messages of a camera of which some parts are as they should be and some are not."""
    width, height = (int(n) for n in rng.integers(8, 120, 2))
    header = Header(stamp=_stamp(rng), frame_id=str(rng.choice(FRAMES, p=_mostly(len(FRAMES)))))
    other = rng.random() < 0.3
    elsewhere = another_header(rng, header) if other else header
    color = rng.integers(0, 255, (height, width, 3), np.uint8)
    depth_size = (width, height) if rng.random() < 0.7 else (int(rng.integers(1, 90)), height)
    return {
        'image': Image(
            header=header, width=width, height=height, encoding='rgb8', step=3 * width,
            data=array('B', color.tobytes()),
        ),
        'depth': wild_depth(rng, *depth_size, elsewhere),
        'camera_info': wild_info(rng, width, height, header),
        'depth_camera_info': wild_info(rng, *depth_size, elsewhere),
    }  # fmt: skip


def another_header(rng: np.random.Generator, header: Header) -> Header:
    """Of another stream: another frame, and the same stamp as a rule."""
    stamp = header.stamp if rng.random() < 0.9 else _stamp(rng)
    return Header(stamp=stamp, frame_id=str(rng.choice(FRAMES)))


def wild_depth(rng: np.random.Generator, width: int, height: int, header: Header) -> Image:
    """A wall, a slope or noise, with holes, steps and numbers that are none."""
    v, u = np.mgrid[:height, :width]
    z = rng.uniform(0.05, 12) + rng.normal(0, 0.02) * u + rng.normal(0, 0.02) * v
    z = z + rng.choice([0.0, 0.002, 0.3]) * rng.normal(size=z.shape)
    z[u > rng.uniform(0, 2 * width)] *= rng.uniform(0.2, 3)
    if rng.random() < 0.5:
        wild = rng.random(z.shape) < rng.choice([0.01, 0.3, 1.0])
        z[wild] = rng.choice(WILD, size=int(wild.sum()))
    encoding = str(rng.choice(['16UC1', '32FC1', '32FC1', '64FC1']))
    dtype = {'16UC1': '<u2', '32FC1': '<f4', '64FC1': '<f8'}[encoding]
    with np.errstate(all='ignore'):
        if encoding == '16UC1':
            z = np.nan_to_num(z * 1000, nan=0, posinf=65535, neginf=0).clip(0, 65535)
        data = z.astype(dtype).tobytes()
    step = width * np.dtype(dtype).itemsize
    message = Image(
        header=header, width=width, height=height, encoding=encoding, step=step,
        data=array('B', data),
    )  # fmt: skip
    if rng.random() < 0.1:
        spoil = rng.integers(4)
        message.encoding = 'rgb8' if spoil == 0 else encoding
        message.step = int(rng.choice(COUNTS)) if spoil == 1 else step
        message.is_bigendian = int(spoil == 2)
        message.data = array('B', data[: len(data) // 2]) if spoil == 3 else message.data
    return message


def wild_info(rng: np.random.Generator, width: int, height: int, header: Header) -> CameraInfo:
    """A calibration of which up to three parts are wild."""
    focal = float(rng.uniform(0.3, 3) * width)
    k = [focal, 0, width / 2, 0, focal * rng.uniform(0.9, 1.1), height / 2, 0, 0, 1]
    p = [focal, 0, width / 2, 0, 0, focal, height / 2, 0, 0, 0, 1, 0]
    models = ['plumb_bob', 'rational_polynomial', 'thin_prism', 'equidistant', '', 'mirror']
    info: dict[str, Any] = {
        'header': Header(stamp=header.stamp, frame_id=header.frame_id),
        'width': width,
        'height': height,
        'distortion_model': str(rng.choice(models, p=_mostly(len(models)))),
        'd': rng.normal(0, rng.choice([0.0, 0.01, 0.3]), int(rng.integers(0, 6))).tolist(),
        'k': np.array(k, float),
        'r': np.eye(3).ravel(),
        'p': np.array(p, float),
    }
    for _ in range(rng.choice([0, 0, 0, 1, 1, 2])):
        info |= _wild_part(rng, info)
    return CameraInfo(**info)


def _wild_part(rng: np.random.Generator, info: dict[str, Any]) -> dict[str, Any]:
    part = str(rng.choice(['k', 'k', 'p', 'r', 'd', 'size', 'roi', 'binning', 'header', 'model']))
    if part in ('k', 'p', 'r'):
        numbers = info[part].copy()
        return {part: _wild_numbers(rng, numbers)}
    if part == 'd':
        return {'d': rng.choice(WILD, int(rng.integers(0, 20))).tolist()}
    if part == 'size':
        return {str(rng.choice(['width', 'height'])): int(rng.choice(COUNTS))}
    if part == 'roi':
        x, y, width, height = (int(n) for n in rng.choice(COUNTS, 4))
        return {'roi': RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height)}
    if part == 'binning':
        return {'binning_x': int(rng.choice(COUNTS)), 'binning_y': int(rng.choice(COUNTS))}
    if part == 'header':
        return {'header': Header(stamp=_stamp(rng), frame_id=str(rng.choice(FRAMES)))}
    return {'distortion_model': 'equidistant', 'd': rng.normal(0, 0.2, 4).tolist()}


def _wild_numbers(rng: np.random.Generator, numbers: Any) -> Any:
    kind = rng.integers(5)
    if kind == 0:
        which = rng.integers(len(numbers), size=rng.integers(1, 4))
        numbers[which] = rng.choice(WILD, len(which))
    elif kind == 1:
        with np.errstate(all='ignore'):
            numbers = numbers * rng.choice(WILD)
    elif kind == 2:
        numbers = rng.normal(0, rng.choice([1.0, 300.0]), len(numbers))
    elif kind == 3:
        rows = numbers.reshape(3, -1)
        numbers = rows.T.ravel()
    else:
        numbers = numbers * rng.uniform(0.5, 2, len(numbers))
    return np.asarray(numbers, float)


def wild_tree(rng: np.random.Generator) -> TransformTree:
    """Frames on /tf: some stand as they should, some not at all."""
    tree = TransformTree(cache_time=10.0)
    edges = [('base', 'eye_link'), ('eye_link', 'eye_optical'), ('eye_link', 'depth_optical'),
             ('base', 'depth_frame')]  # fmt: skip
    for parent, child in edges:
        t, q = rng.normal(0, 0.3, 3), rng.normal(size=4)
        if rng.random() < 0.2:
            t[rng.integers(3)], q[rng.integers(4)] = rng.choice(WILD[:16]), rng.choice(WILD)
        pose = Transform(
            translation=Vector3(**dict(zip('xyz', t.tolist(), strict=True))),
            rotation=Quaternion(**dict(zip('xyzw', q.tolist(), strict=True))),
        )
        tree.add(parent, child, 0, pose, static=bool(rng.random() < 0.95))
    return tree


def _stamp(rng: np.random.Generator) -> Time:
    sec = rng.choice([1_700_000_000, 1_700_000_000, 0, -5, 2**31 - 1, -(2**31)])
    return Time(sec=int(sec), nanosec=int(rng.choice([0, 1, 999_999_999, 2**32 - 1])))


def _mostly(count: int) -> Any:
    """Probabilities of which the first has half."""
    return np.array([0.5, *[0.5 / (count - 1)] * (count - 1)])


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--examples', type=int, default=3000)
    parser.add_argument('--seed', type=int, default=0)
    arguments = parser.parse_args()
    fuzzer, begun = Fuzzer(arguments.seed), time.monotonic()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter('always')
        outcome = fuzzer.run(arguments.examples)
    fuzzer.close()
    for name, counts in (('questions', outcome.questions), ('points', outcome.points)):
        print(f'{name}:', ', '.join(f'{key} {count}' for key, count in counts.most_common()))
    print('numerical warnings:', Counter(str(w.message) for w in warned).most_common(5) or 'none')
    print(f'{arguments.examples} examples in {time.monotonic() - begun:.0f} s')
    print('\n'.join(outcome.broken) or 'no rule was broken')
    return 1 if outcome.broken else 0


if __name__ == '__main__':
    sys.exit(main())
