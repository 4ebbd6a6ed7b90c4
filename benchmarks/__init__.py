# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What things cost and how well they do, each by one command."""
