# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A page about an evaluation: figures, and pictures of answers."""
