# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A page in the browser on which one says where things are, to teach and to measure."""
