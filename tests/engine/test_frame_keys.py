# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""An image that was seen is known again, and never taken for another."""

import numpy as np
import pytest

from molmo_ros.engine.frame_cache import frame_key, same_pixels


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
    image = np.full((9, 8, 3), 17, np.uint8)
    first = frame_key(image)
    assert frame_key(image.copy()) == first
    image[8, 7] = 18
    assert frame_key(image) != first
    image[8, 7] = 17
    assert frame_key(image) == first


def test_no_change_of_a_pixel_or_two_is_lost_in_a_key():
    """Wherever they lie in the words that are added up; and bytes that swap places are told too."""
    rng = np.random.default_rng(4)
    image = rng.integers(0, 256, (150, 250, 3), np.uint8)  # whole sums, and a rest of bytes
    keys = {frame_key(image)}
    flat = image.reshape(-1)
    places = [(first, first + 8 * step) for first in range(0, 16) for step in (1, 2, 511, 4096)]
    places += [(len(flat) - 1, 7), (32767, 32768), (32760, 98311)]
    for one, other in places:
        changed = flat.copy()
        changed[[one, other]] ^= 0x80
        keys.add(frame_key(changed.reshape(image.shape)))
        swapped = flat.copy()
        swapped[one], swapped[other] = 1, 255
        keys.add(frame_key(swapped.reshape(image.shape)))
        swapped[one], swapped[other] = 255, 1
        keys.add(frame_key(swapped.reshape(image.shape)))
    assert len(keys) == 1 + 3 * len(places)
    assert frame_key(image.reshape(250, 150, 3)) not in keys


def test_a_key_is_of_the_pixels_however_they_lie_in_memory():
    image = np.random.default_rng(5).integers(0, 256, (130, 200, 3), np.uint8)
    assert frame_key(np.asfortranarray(image)) == frame_key(image)
    assert frame_key(image[:, ::-1]) != frame_key(image)
    shifted = np.frombuffer(b'x' + image.tobytes(), np.uint8, offset=1).reshape(image.shape)
    assert frame_key(shifted) == frame_key(image)
