# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Points of an answer carried from picture to picture, until the next answer."""

from molmo_ros.grounding.tracking.carrying import Track, anchored, carry
from molmo_ros.grounding.tracking.picks import FollowedPicks
from molmo_ros.grounding.tracking.tracker import PointTracker, Tracked
from molmo_ros.grounding.tracking.view import View, ViewHistory, view_of

__all__ = [
    'FollowedPicks',
    'PointTracker',
    'Track',
    'Tracked',
    'View',
    'ViewHistory',
    'anchored',
    'carry',
    'view_of',
]
