# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which camera_info is an image's: the one that fits, and what is said where it only may."""

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import Header

from molmo_ros.cameras.calibrations import NoCalibration, best_calibration
from molmo_ros.ros.messages import stamp_message

T0 = 1_650_000_000
WIDTH, HEIGHT = 424, 240


def header(seconds=0.0, frame='eye_optical'):
    stamp = 0 if seconds is None else round((T0 + seconds) * 1e9)
    return Header(stamp=stamp_message(stamp), frame_id=frame)


def info(focal, seconds=0.0, frame='eye_optical', width=WIDTH, **fields):
    k = [focal, 0.0, width / 2, 0.0, focal, HEIGHT / 2, 0.0, 0.0, 1.0]
    return CameraInfo(
        **{'header': header(seconds, frame), 'width': width, 'height': HEIGHT, 'k': k, **fields}
    )


def best(*candidates, frame='eye_optical', rectified=False):
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    return best_calibration(
        candidates, Image(header=header(frame=frame)), pixels, rectified, '/eye/camera_info'
    )


def test_one_that_comes_with_the_image_is_taken_without_a_word():
    found = best(info(211.0, 0.013), info(300.0, 0.4))
    assert found.camera.K[0, 0] == 211 and found.assumed == ()


def test_one_of_a_while_ago_needs_no_word_and_one_of_long_ago_does():
    assert best(info(211.0, -0.7)).assumed == ()
    (said,) = best(info(211.0, -86.4)).assumed
    assert '/eye/camera_info is stamped -86.4 s' in said
    (said,) = best(info(211.0, None)).assumed
    assert 'stamped 0' in said


def test_the_first_whose_size_fits_is_taken():
    """A driver that has changed its resolution, and two cameras on one topic."""
    found = best(info(900.0, width=960), info(222.0, 0.2))
    assert found.camera.K[0, 0] == 222
    with pytest.raises(NoCalibration, match=r'/eye/camera_info.*960x240 but the image is 424x240'):
        best(info(900.0, width=960), info(500.0, width=320))


def test_one_of_another_frame_is_taken_last_and_said():
    assert best(info(900.0, frame='other'), info(222.0, 0.4)).camera.K[0, 0] == 222
    found = best(info(333.0, frame='other'))
    assert found.camera.K[0, 0] == 333
    assert "'other'" in found.assumed[0] and "'eye_optical'" in found.assumed[0]


@pytest.mark.parametrize(
    ('named', 'pictured'), [('/eye_optical', 'eye_optical'), ('', 'eye_optical'), ('eye', '//eye')]
)
def test_a_slash_or_no_name_makes_no_other_frame(named, pictured):
    assert best(info(211.0, frame=named), frame=pictured).assumed == ()


def test_what_cannot_be_a_calibration_is_refused_with_topic_and_reason():
    """Also where an older one is kept: the camera may have been changed since."""
    with pytest.raises(NoCalibration, match='/eye/camera_info: K is the identity'):
        best(info(1.0, k=np.eye(3).ravel()), info(211.0, -0.4))
    with pytest.raises(NoCalibration, match='all zeros'):
        best(CameraInfo())


def test_rectified_with_a_P_of_zeros_is_said():
    found = best(info(211.0, d=[0.1] * 5, distortion_model='plumb_bob'), rectified=True)
    np.testing.assert_allclose(found.camera.ray(WIDTH / 2 + 211, HEIGHT / 2), [1, 0, 1])
    assert 'P of zeros' in found.assumed[0]
