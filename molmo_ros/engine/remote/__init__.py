# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Models behind a server that speaks OpenAI's protocol, as vLLM does. No torch here."""

from __future__ import annotations

from molmo_ros.engine.remote.address import is_address

__all__ = ['is_address']
