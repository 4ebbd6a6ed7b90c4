# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Molmo behind a ROS 2 service: from an image and a question to points in metres."""

from pkgutil import extend_path

# In a checkout the generated msg, srv and action are not beside the modules but in site-packages.
__path__ = extend_path(__path__, __name__)
