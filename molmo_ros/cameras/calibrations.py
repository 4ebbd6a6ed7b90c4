# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which camera_info is an image's, and what that takes for granted.

A calibration does not change from image to image, so one of another time does where none has come
with the image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmo_ros.cameras.image_messages import camera_model, is_empty
from molmo_ros.cameras.message_fields import stamp_ns
from molmo_ros.grounding.assumptions import (
    CALIBRATION_FRAME,
    CALIBRATION_OLD,
    CALIBRATION_UNDATED,
    NO_PROJECTION,
)
from molmo_ros.spatial import CalibrationError, CameraModel, CameraSizeMismatch, UncalibratedCamera
from molmo_ros.spatial.frames import frame_of

# Seconds that camera_info may be older or newer than the image before it is worth a word.
_FAR_S = 1.0


class NoCalibration(Exception):
    """There is no calibration of the image; the text says why."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """The model of an image's camera. assumed: what had to be taken for granted, in sentences."""

    camera: CameraModel
    assumed: tuple[str, ...] = ()


def best_calibration(
    candidates: Sequence[Any],
    image: Any,
    pixels: NDArray[Any],
    rectified: bool,
    name: str,
) -> Calibration:
    """The first camera_info whose size and frame fit, else the first whose size does.

    candidates: CameraInfo messages, the likeliest first. image: the message that it is for, of
    which `pixels` (H, W, ...) came. rectified: the image is. name: what to call the camera_info.
    Raises NoCalibration.
    """
    first_mismatch = None
    for message in sorted(candidates, key=lambda m: not _same_frame(m, image)):
        try:
            camera = _camera_of(message, pixels, rectified)
        except CameraSizeMismatch as error:
            first_mismatch = first_mismatch or error
        except CalibrationError as error:
            raise NoCalibration(f'{name}: {error}') from error
        else:
            return Calibration(camera, tuple(_assumed(message, image, rectified, name)))
    raise NoCalibration(f'{name}: {first_mismatch}')


def _camera_of(message: Any, pixels: NDArray[Any], rectified: bool) -> CameraModel:
    if is_empty(message):
        raise UncalibratedCamera('it is all zeros: publish or send the calibration of the camera')
    height, width = pixels.shape[:2]
    return camera_model(message, (width, height), rectified=rectified)


def _same_frame(message: Any, image: Any) -> bool:
    frames = {frame_of(message), frame_of(image)}
    return len(frames) == 1 or '' in frames


def _assumed(message: Any, image: Any, rectified: bool, name: str) -> Iterator[str]:
    offset = (stamp_ns(message) - stamp_ns(image)) * 1e-9
    if not stamp_ns(message) and stamp_ns(image):
        yield CALIBRATION_UNDATED.told(name=name)
    elif abs(offset) > _FAR_S:
        yield CALIBRATION_OLD.told(name=name, offset=offset)
    if not _same_frame(message, image):
        yield CALIBRATION_FRAME.told(
            name=name, frame=frame_of(message), image_frame=frame_of(image)
        )
    if rectified and not np.any(message.p):
        yield NO_PROJECTION.told(name=name)
