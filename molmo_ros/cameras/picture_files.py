# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A picture with the files that belong to it, and what they do not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from molmo_ros.cameras.calibration_files import read_calibration
from molmo_ros.cameras.files import read_depth_with_remarks
from molmo_ros.grounding.capture import Capture
from molmo_ros.grounding.frame import Frame
from molmo_ros.grounding.image_file import StoredImage, picture_notes
from molmo_ros.spatial import DepthRemarks, LiftStatus

FLAT: Mapping[LiftStatus, str] = {
    LiftStatus.NO_CAMERA_INFO: 'there is neither depth nor a calibration'
}
"""Why there is no 3D of a picture alone, as `Capture.missing` has it."""


@dataclass(frozen=True)
class PictureSettings:
    """How files are read.

    depth_unit: metres a step of the depth; None: integers are millimetres, floats are metres.
    unit_setting: what settles that. camera_name: which camera of the calibration; '': the first.
    rectified: the picture is, so that the calibration's P holds.
    """

    depth_unit: float | None = None
    unit_setting: str = 'depth_unit'
    camera_name: str = ''
    rectified: bool = False


def capture_of_files(
    picture: StoredImage,
    depth: Path | None = None,
    calibration: Path | None = None,
    settings: PictureSettings | None = None,
) -> Capture:
    """The picture with what its files say and leave open. Raises UserError.

    Turned as its EXIF says where it stands alone; depth and a calibration belong to the pixels as
    they are stored. The stamp is 0.
    """
    settings = settings or PictureSettings()
    as_shown = depth is None and calibration is None
    image = picture.rgb(as_shown)
    metres, remarks = None, DepthRemarks()
    if depth is not None:
        unit = settings.depth_unit
        metres, remarks = read_depth_with_remarks(depth, unit, settings.unit_setting)
    camera, assumed = None, tuple[str, ...]()
    if calibration is not None:
        size = image.shape[1], image.shape[0]
        name, rectified = settings.camera_name, settings.rectified
        read = read_calibration(calibration, size, name, rectified=rectified)
        camera, assumed = read.camera, read.assumed
    return Capture(
        Frame(image, metres, camera, 0, ''),
        missing=missing_of(depth is not None, calibration is not None),
        warning=remarks.warning,
        assumed=(*remarks.assumed, *assumed),
        notes=picture_notes(image, picture.orientation, as_shown),
    )


def missing_of(has_depth: bool, has_calibration: bool) -> Mapping[LiftStatus, str]:
    """`Capture.missing` of files."""
    if has_depth and has_calibration:
        return {}
    if has_depth:
        return {LiftStatus.NO_CAMERA_INFO: 'there is no calibration: --camera gives one'}
    return {LiftStatus.NO_DEPTH: 'there is no depth'} if has_calibration else FLAT
