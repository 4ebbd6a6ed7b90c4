# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An image that was seen is known again, and never taken for another."""

import numpy as np
import pytest

from molmo_ros.engine.frame_cache import FrameKeys, same_pixels


@pytest.mark.parametrize('at', [(0, 0, 0), (4, 6, 2), (4, 6, 0), (2, 3, 1)])
def test_a_single_byte_makes_another_image(at):
    """Also one of the last few, whose number no word of eight fits."""
    image = np.random.default_rng(2).integers(0, 256, (5, 7, 3), np.uint8)
    other = image.copy()
    assert same_pixels(image, other)
    other[at] ^= 1
    assert not same_pixels(image, other)
    assert not same_pixels(image, image.reshape(7, 5, 3))


def test_pixels_are_compared_however_they_lie_in_memory():
    image = np.random.default_rng(3).integers(0, 256, (6, 8, 3), np.uint8)
    assert same_pixels(image, np.asfortranarray(image))
    assert not same_pixels(image, image[:, ::-1])


def test_an_array_that_is_written_into_again_is_another_image():
    """As cameras do that have one buffer: an answer about the old picture would be wrong."""
    keys, image = FrameKeys(), np.full((9, 8, 3), 17, np.uint8)
    first = keys.of(image)
    assert keys.of(image.copy()) == first
    image[8, 7] = 18
    assert keys.of(image) != first
    image[8, 7] = 17
    assert keys.of(image) == first
