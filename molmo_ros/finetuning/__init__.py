# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Teaching a checkpoint one's own objects: pictures with points in, a LoRA adapter out.

Importing this imports no torch; `training` does, and peft.
"""
