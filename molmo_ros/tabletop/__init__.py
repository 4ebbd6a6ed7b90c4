# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The rendered world: tables, questions about them, their camera node, the demo.

Nothing that a robot runs imports it.
"""
