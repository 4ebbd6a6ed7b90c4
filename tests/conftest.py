# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A corner of DDS of its own for each run: it hears no other, nor anything off this machine.

Property-based tests try the same examples in each run, so that a change is what turns them red.
`pytest --hypothesis-profile=explore` tries new ones, ten times as many.
"""

import os
from importlib.util import find_spec

from hypothesis import settings

# There are as many workers as cores: threads of theirs would only wait for each other.
if 'PYTEST_XDIST_WORKER' in os.environ:
    for library in ('OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS'):
        os.environ.setdefault(library, '1')

settings.register_profile('same', deadline=None, max_examples=200, derandomize=True)
settings.register_profile('explore', deadline=None, max_examples=2000)
settings.load_profile('same')

# Rooms that know no ROS are tested without it, too.
if find_spec('rclpy') is not None and find_spec('molmo_ros.srv') is not None:
    from molmo_ros.ros import domain

    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    # Workers that run side by side share none, whichever test of theirs asks for one.
    worker = int(os.environ.get('PYTEST_XDIST_WORKER', 'gw0').removeprefix('gw'))
    workers = int(os.environ.get('PYTEST_XDIST_WORKER_COUNT', '1'))
    domain._DOMAINS = domain._DOMAINS[worker::workers]
    os.environ['ROS_DOMAIN_ID'] = str(domain.free_domain())
