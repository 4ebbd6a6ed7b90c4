# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures made worse: visibly, in bounds, and the same way each time."""

import numpy as np
import pytest

from molmo_ros.evaluation.photometric import CHANGES, changed, changed_samples
from molmo_ros.tabletop.samples.data_set import easy_samples


@pytest.fixture(scope='module')
def sample():
    return next(easy_samples([5000], size=(160, 120)))


@pytest.mark.parametrize('change', CHANGES)
def test_a_change_is_one_and_the_same_for_a_picture(change, sample):
    image = sample.image()
    result = changed(image, change, 1)
    assert result.shape == image.shape and result.dtype == np.uint8
    assert np.abs(result.astype(int) - image).mean() > 1
    assert np.array_equal(result, changed(image, change, 1))
    assert not np.array_equal(result, changed(image, change, 2))


def test_changes_are_what_they_are_called():
    grey = np.full((120, 160, 3), 100, np.uint8)
    for seed in range(8):
        red, _, blue = changed(grey, 'white-balance', seed).mean((0, 1))
        assert max(red / blue, blue / red) > 1.25
        assert not 65 < changed(grey, 'exposure', seed).mean() < 145
        assert changed(grey, 'noise', seed).std() > 8
        assert np.array_equal(changed(grey, 'blur', seed), grey)
    checks = (np.indices((120, 160)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    assert all(changed(checks, 'blur', seed).std() < checks.std() for seed in range(8))


def test_only_the_picture_changes(sample):
    (worse,) = changed_samples([sample], 'exposure')
    assert not np.array_equal(worse.image(), sample.image())
    assert np.array_equal(worse.masks(), sample.masks())
    assert (worse.query, worse.targets, worse.id) == (sample.query, sample.targets, sample.id)
