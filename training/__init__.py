# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How the demo checkpoint is made: render, teach to see, teach to point, export."""
