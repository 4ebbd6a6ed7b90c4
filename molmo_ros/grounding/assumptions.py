# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is taken for granted about the outside, each thing once.

Code that has to assume something says so with `told`; docs/assumptions.md has them in a table.
"""

from __future__ import annotations

from dataclasses import dataclass

from molmo_ros.errors import shortened


@dataclass(frozen=True)
class Assumption:
    """Something about cameras, files or frames that holds unless somebody says otherwise.

    Attributes:
        name: what it is called, in the code and in the docs.
        taken: what is taken for granted.
        checked: how it is checked, as far as it can be.
        settled_by: what settles it: parameters of the node ('rectified'), topics to remap
            ('camera_info') and options of the commands ('--camera-name').
        sentence: what an answer says where it mattered, with {fields} that `told` fills in; it
            names what settles it. '' where nothing is said, because what `checked` says is enough.
    """

    name: str
    taken: str
    checked: str
    settled_by: tuple[str, ...]
    sentence: str = ''

    def told(self, **values: object) -> str:
        """The sentence for an answer, in which no text that is filled in is long.

        Raises KeyError for a field that is not given.
        """
        shown = {name: shortened(v, 200) if isinstance(v, str) else v for name, v in values.items()}
        return self.sentence.format(**shown)


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
    'depth errs as that of a stereo camera with a baseline of 5 cm does, where no camera is named',
    'where all readings around a point lie farther off its surface, its covariance goes by them; '
    '`molmo-ros calibrate depth` measures it',
    ('noise.preset', 'noise.stereo.baseline', 'noise.stereo.disparity_sigma', '--noise'),
    'depth noise: taken as that of a stereo camera of {baseline} cm with {sigma} px of noise: '
    "set {settled_by} to your camera's family ({families}), or measure it with molmo-ros calibrate "
    'depth, if covariances matter',
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

CALIBRATION_UNDATED = Assumption(
    'calibration without a time',
    'a camera_info stamped 0 holds for every image of its size',
    'one within `sync_slop` of the image is taken first; size and frame must fit',
    ('camera_info', '--topics'),
    '{name} is stamped 0: its calibration is taken to hold for every image (remap camera_info, '
    'or name another with --topics, if it is not of this camera)',
)
CALIBRATION_OLD = Assumption(
    'calibration of another time',
    'a calibration does not change from image to image',
    'one within `sync_slop` of the image is taken first; size and frame must fit',
    ('camera_info', '--topics'),
    "{name} is stamped {offset:+.1f} s off the image's stamp: its calibration is taken not to have "
    'changed (remap camera_info, or name another with --topics, if it is not of this camera)',
)
CALIBRATION_FRAME = Assumption(
    'calibration of another frame',
    "a camera_info of another frame than the image's is its calibration, if none other comes",
    'the size must fit; one of the same frame is taken first',
    ('camera_info', '--topics'),
    "{name} is of frame '{frame}' and the image of '{image_frame}': it is taken as the calibration "
    'of this image; remap camera_info, or name another with --topics, if it is not',
)
NO_PROJECTION = Assumption(
    'rectified without P',
    'where `rectified` is set and P is all zeros, K holds',
    'it is not',
    ('rectified',),
    'rectified is set but {name} has a P of zeros: K holds in its place',
)
OPTICAL_FRAME = Assumption(
    'optical frame',
    'the frame of an image is optical: x right, y down, z forward',
    'by its name, and by whether its place on /tf is that of a body frame, which is warned of',
    ('optical_frame', 'depth_pose', '--optical-frame'),
    "frame '{frame}' of the {what} is taken as optical (x right, y down, z forward): set "
    '{settled_by} if it is not',
)
REQUEST_FRAME = Assumption(
    'frame of a request',
    'an image in a request is of `optical_frame`, where that is set and its own is not optical',
    'by the name of its own frame',
    ('optical_frame',),
    "the image of the request names frame '{frame}': it is taken to be of optical_frame "
    "'{optical}'; name that in the request, or its own optical frame",
)

DEPTH_ALIGNED = Assumption(
    'aligned depth of another frame',
    'depth of another frame, but of the size of the image and without a calibration of its own, is '
    'aligned to the image',
    'not if a calibration of depth is published, or /tf has its frame over 0.25 m away',
    ('depth_aligned',),
    "depth: it is of frame '{frame}', but of the size of the image and without a calibration of "
    'its own: it is taken as aligned to the image; set depth_aligned to true if it is, to false if '
    'not',
)
DEPTH_REGISTERED = Assumption(
    'depth with the calibration of the image',
    "depth of another frame is what that frame sees, also where its camera_info is the image's",
    'by comparing the two calibrations; two cameras never have the same',
    ('depth_aligned',),
    "depth: it is of frame '{frame}', but its camera_info is that of the image, as it is of "
    'aligned depth: it was registered as its frame says; set depth_aligned to true if it is '
    'aligned, to false if not',
)

DEPTH_UNIT = Assumption(
    'unit of the depth',
    'integers are millimetres, as REP 118 has it, and floats are metres',
    'a median outside 3 cm to 25 m is warned of with the units that would be plausible; of files, '
    'of `mono16`, and of unusually near or far `16UC1` the answer says that a step is 1 mm',
    ('depth_unit', '--depth-unit'),
)
PICTURE_UPRIGHT = Assumption(
    'turned pictures',
    'with depth or a calibration a picture counts as it is stored, else as its EXIF turns it',
    'where EXIF turns it the answer says which of the two it is',
    ('--depth', '--camera'),
)

TOPIC_OF_SEVERAL = Assumption(
    'topic of several',
    'of the topics of a bag that fit a stream, the first by name is meant',
    'by the types, what is in the images, and the words in the names',
    ('--topics',),
    '{topic} is taken as the {stream}, and not {others}: name another with --topics {stream}=...',
)
RECTIFIED_BY_NAME = Assumption(
    'rectified by name',
    'images on a topic of a bag that is called image_rect are rectified',
    'it is not; nothing is said where the lens does not distort',
    ('--rectified',),
    '{topic} is taken as rectified, as its name says: give --no-rectified, not --rectified, if it '
    'is not',
)
ALIGNED_WITHOUT_FRAME = Assumption(
    'aligned without a frame',
    'depth in a bag is aligned to the image where one of them names no frame',
    'it is not',
    ('--topics',),
    '{topic} is taken as aligned to the image, since one of them names no frame: name aligned '
    'depth with --topics depth=... if it is not',
)
ALIGNED_BY_SIZE = Assumption(
    'aligned by size',
    'depth in a bag of another frame, but of the size of the image, is aligned to it if it has no '
    'calibration of its own',
    'the size, and that no camera_info of its frame or beside it is there',
    ('--topics',),
    "{topic} of frame '{frame}' is taken as aligned to the image of '{image_frame}', since it has "
    'its size and no calibration of its own: name that with --topics depth_camera_info=... if not',
)
LENS_FITTED = Assumption(
    'fitted lens',
    'the nearest plumb_bob stands for the lens models of a live RealSense that are not ours',
    'against what librealsense projects; nothing is said up to a quarter of a pixel',
    ('--camera',),
    "the camera's lens model, {model}, is taken as plumb_bob, which is {worst} pixels off where it "
    'is worst: take a picture, and give a calibration of it as --camera, if that matters',
)
DEPTH_OF_ANOTHER_MOMENT = Assumption(
    'depth of another moment',
    'nothing has moved between the color and the depth that a RealSense gives together',
    'pairs further apart than half a frame are passed over, as long as others come',
    ('--at',),
    'depth was taken {apart} ms from the picture, and nothing is taken to have moved: take '
    'another moment (of a recording with --at) if something has',
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
    CALIBRATION_UNDATED,
    CALIBRATION_OLD,
    CALIBRATION_FRAME,
    NO_PROJECTION,
    OPTICAL_FRAME,
    REQUEST_FRAME,
    DEPTH_UNIT,
    PICTURE_UPRIGHT,
    DEPTH_ALIGNED,
    DEPTH_REGISTERED,
    TOPIC_OF_SEVERAL,
    RECTIFIED_BY_NAME,
    ALIGNED_WITHOUT_FRAME,
    ALIGNED_BY_SIZE,
    LENS_FITTED,
    DEPTH_OF_ANOTHER_MOMENT,
)
"""All of them, in the order of the docs."""
