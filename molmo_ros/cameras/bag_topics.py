# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which topics of a bag are a camera's: by type, by what is in them, and by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from molmo_ros.cameras.message_fields import CameraInfo, CompressedImage
from molmo_ros.errors import UserError
from molmo_ros.grounding.assumptions import TOPIC_OF_SEVERAL
from molmo_ros.spatial.frames import frame_of

STREAMS = ('image', 'depth', 'camera_info', 'depth_camera_info')
_IMAGES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
_CAMERA_INFO = 'sensor_msgs/msg/CameraInfo'
_DEPTH_ENCODINGS = ('16UC1', '32FC1', '64FC1')
_TRANSPORTS = ('/compressedDepth', '/compressed')
# Words in the names of pictures that people look at, and of those that they seldom mean.
_COLOR_WORDS = ('color', 'rgb')
_OTHER_WORDS = ('infra', '/ir', 'confidence', 'mask', 'annotated', 'debug', 'fisheye', 'disparity')


@dataclass(frozen=True, eq=False)
class BagTopic:
    """A topic with messages. kind: its type, as 'sensor_msgs/msg/Image'. first: its first one."""

    name: str
    kind: str
    first: Any

    @property
    def base(self) -> str:
        """The name without that of a transport."""
        for transport in _TRANSPORTS:
            if self.name.endswith(transport):
                return self.name.removesuffix(transport)
        return self.name

    @property
    def frame_id(self) -> str:
        return frame_of(self.first)

    @property
    def is_compressed(self) -> bool:
        return isinstance(self.first, CompressedImage)

    @property
    def is_depth(self) -> bool:
        """Whether its numbers are distances."""
        if self.is_compressed:
            return 'compressedDepth' in self.first.format or self.name.endswith('/compressedDepth')
        if self.first.encoding == 'mono16':
            return 'depth' in self.name.lower()
        return self.first.encoding in _DEPTH_ENCODINGS

    @property
    def is_picture(self) -> bool:
        """Whether it may be looked at; a depth image in false colors is no picture."""
        return not self.is_depth and 'depth' not in self.base.lower()


@dataclass(frozen=True)
class Topics:
    """The topics of one camera, by name; None where there is none. assumed: what was guessed."""

    image: str
    depth: str | None
    camera_info: str | None
    depth_camera_info: str | None
    assumed: tuple[str, ...] = ()

    def __str__(self) -> str:
        named = ((stream, getattr(self, stream)) for stream in STREAMS)
        return ', '.join(f'{stream} {topic}' for stream, topic in named if topic)


def is_camera_topic(kind: str) -> bool:
    """Whether a type of message is one of a camera's."""
    return kind in (*_IMAGES, _CAMERA_INFO)


def choose_topics(topics: Sequence[BagTopic], named: Mapping[str, str]) -> Topics:
    """The image, the depth that goes with it, and their calibrations.

    topics: those of a camera's types. named: topics that were given, by stream; '' is none.
    Raises UserError.
    """
    choice = _Choice(topics, named)
    image = choice.image()
    depth = choice.depth(image)
    return Topics(
        image.name,
        depth.name if depth else None,
        choice.info('camera_info', image),
        choice.info('depth_camera_info', depth) if depth else None,
        tuple(choice.assumed),
    )


class _Choice:
    """One choice of topics."""

    def __init__(self, topics: Sequence[BagTopic], named: Mapping[str, str]) -> None:
        self._by_name = {topic.name: topic for topic in topics}
        self._images = [topic for topic in topics if topic.kind in _IMAGES]
        self._infos = [topic for topic in topics if isinstance(topic.first, CameraInfo)]
        self._named = named
        self.assumed: list[str] = []

    def image(self) -> BagTopic:
        if 'image' in self._named:
            return self._given('image', self._images)
        pictures = [topic for topic in self._images if topic.is_picture]
        if not pictures:
            raise UserError(f'it holds no color image ({_listed(self._by_name.values())})')
        return self._best('image', pictures, self._image_rank)

    def depth(self, image: BagTopic) -> BagTopic | None:
        if 'depth' in self._named:
            return self._given('depth', self._images) if self._named['depth'] else None
        depths = [topic for topic in self._images if topic.is_depth]
        if not depths:
            return None
        return self._best('depth', depths, lambda topic: self._depth_rank(topic, image))

    def info(self, stream: str, image: BagTopic) -> str | None:
        if stream in self._named:
            return self._given(stream, self._infos).name if self._named[stream] else None
        beside = (f'{image.base}_camera_info', f'{image.base.rpartition("/")[0]}/camera_info')
        near = [self._by_name[name] for name in beside if name in self._by_name]
        of_frame = [topic for topic in self._infos if topic.frame_id == image.frame_id]
        for topic in near:
            if topic in of_frame or '' in (topic.frame_id, image.frame_id):
                return topic.name
        if of_frame:
            return of_frame[0].name
        return near[0].name if near and stream == 'camera_info' else None

    def _given(self, stream: str, fitting: Sequence[BagTopic]) -> BagTopic:
        """The topic that was named for a stream, or the one of a transport below it."""
        wanted = '/' + self._named[stream].strip('/')
        for name in (wanted, *(wanted + transport for transport in _TRANSPORTS)):
            for topic in fitting:
                if topic.name == name:
                    return topic
        raise UserError(f'it has no {stream} on {wanted} ({_listed(fitting)})')

    def _best(self, stream: str, topics: Sequence[BagTopic], rank: Any) -> BagTopic:
        """The first by rank, then raw before compressed, then by name."""
        best, *others = sorted(topics, key=lambda t: (rank(t), t.is_compressed, t.name))
        alike = sorted({t.base for t in others if rank(t) == rank(best)} - {best.base})
        if alike:
            besides = ' or '.join(alike)
            said = TOPIC_OF_SEVERAL.told(topic=best.name, stream=stream, others=besides)
            self.assumed.append(said)
        return best

    def _image_rank(self, topic: BagTopic) -> tuple[int, ...]:
        name = topic.base.lower()
        word = 1
        if any(word in name for word in _OTHER_WORDS):
            word = 2
        elif any(word in name for word in _COLOR_WORDS):
            word = 0
        return word, int(self._by_name.get(f'{topic.base.rpartition("/")[0]}/camera_info') is None)

    @staticmethod
    def _depth_rank(topic: BagTopic, image: BagTopic) -> tuple[int, ...]:
        """Of the image's own frame first, then what is called aligned, then the nearest name."""
        called = any(word in topic.name.lower() for word in ('aligned', 'registered'))
        pairs = zip(topic.name.split('/'), image.name.split('/'), strict=False)
        together = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
        return int(topic.frame_id != image.frame_id), int(not called), -together


def _listed(topics: Any) -> str:
    names = ', '.join(sorted(topic.name for topic in topics))
    return f'topics: {names}' if names else 'there is none of its kind'
