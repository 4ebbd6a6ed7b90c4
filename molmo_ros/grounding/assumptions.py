# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is taken for granted about the outside, each thing once.

Code that has to assume something says so with `told`; docs/assumptions.md has them in a table.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Assumption:
    """Something about cameras, files or frames that holds unless somebody says otherwise.

    Attributes:
        name: what it is called, in the code and in the docs.
        taken: what is taken for granted.
        checked: how it is checked, as far as it can be.
        settled_by: what settles it: parameters of the node ('rectified') and options of the
            commands ('--camera-name').
        sentence: what an answer says where it mattered, with {fields} that `told` fills in; it
            names what settles it. '' where nothing is said, because what `checked` says is enough.
    """

    name: str
    taken: str
    checked: str
    settled_by: tuple[str, ...]
    sentence: str = ''

    def told(self, **values: object) -> str:
        """The sentence for an answer. Raises KeyError for a field that is not given."""
        return self.sentence.format(**values)


SAME_MOMENT = Assumption(
    'same moment',
    'an image, its depth and its camera_info with almost the same stamp belong together',
    'stamps further apart than `sync_slop` are refused; `/diagnostics` has the offsets',
    ('sync_slop',),
)
FRESH = Assumption(
    'fresh',
    'the newest image shows what is there now',
    'an image older than `max_frame_age`, or from the future, is refused',
    ('max_frame_age',),
)
NOT_RECTIFIED = Assumption(
    'not rectified',
    'an image is as the lens made it: K and D of its camera_info hold, not P',
    'it is not: camera_info does not say it',
    ('rectified',),
)
DEPTH_PLACE = Assumption(
    'place of the depth camera',
    'depth of another frame than the image was seen from where /tf has that frame',
    'a transform that is missing or not rigid is refused; `molmo-ros check-camera` measures it',
    ('depth_pose',),
)
NOISE = Assumption(
    'noise',
    'depth errs as that of a stereo camera with a baseline of 5 cm does',
    'it is not; covariances and how holes and edges are taken go by it',
    ('noise.kind', 'noise.stereo.baseline', 'noise.stereo.disparity_sigma'),
)
UPRIGHT = Assumption(
    'upright',
    'above is where the plane that a thing stands on faces',
    'with `grasp.up_frame` only level planes carry things',
    ('grasp.up_frame',),
)

CAMERA_OF_SEVERAL = Assumption(
    'camera of several',
    'of a file with several cameras the first is the one that took the picture',
    'a camera of another shape than the picture is refused',
    ('--camera-name',),
    'the calibration is that of {name}, the first in its file ({others} are there too): name '
    'another with --camera-name',
)
CALIBRATION_SIZE = Assumption(
    'size of the calibration',
    'a calibration without a size is for pictures of the size of this one',
    'a principal point outside the picture is refused',
    ('--camera',),
    'the calibration says no size and was taken as that of {width}x{height}, like the picture: '
    'write width and height into the file of --camera if it is another',
)
LENS_MODEL = Assumption(
    'lens model',
    'coefficients without the name of a lens model are those of plumb_bob',
    'more than five are taken as rational_polynomial, as OpenCV does; up to four may be a fisheye',
    ('--camera',),
    'the calibration names no lens model and was taken as plumb_bob: write distortion_model into '
    'the file of --camera if it is equidistant (a fisheye)',
)
REALSENSE_LENS = Assumption(
    'RealSense lens',
    "coefficients of RealSense's own lens models are those of plumb_bob, as its driver says",
    'it is not; where all of them are 0 nothing is assumed',
    ('--camera',),
    "the lens model '{model}' was taken as plumb_bob, as the ROS driver does: rectify the picture, "
    'or calibrate the camera and give that file as --camera, if the edges matter',
)

IN_PLACE = Assumption(
    'depth in place',
    'depth of the same frame as the image, or given to `ask`, lies on it pixel for pixel',
    '`molmo-ros check-camera` measures by how many pixels it is off',
    ('--depth',),
)

ASSUMPTIONS: tuple[Assumption, ...] = (
    SAME_MOMENT,
    FRESH,
    NOT_RECTIFIED,
    IN_PLACE,
    DEPTH_PLACE,
    NOISE,
    UPRIGHT,
    CAMERA_OF_SEVERAL,
    CALIBRATION_SIZE,
    LENS_MODEL,
    REALSENSE_LENS,
)
"""All of them, in the order of the docs."""
