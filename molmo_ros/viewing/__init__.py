# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A page in the browser that shows what a camera sees and what a model says of it.

`molmo-ros view` serves it. No room of a robot imports this one.
"""
