# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rendered tables as a data set: what is asked about each, and what would be right."""
