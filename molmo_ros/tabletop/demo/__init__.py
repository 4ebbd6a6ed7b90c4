# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The whole way of a question, on a rendered table."""
