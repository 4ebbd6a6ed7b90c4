# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Pictures that answers were about, shown again: files, and tables that are rendered anew."""

from __future__ import annotations

from molmo_ros.errors import UserError
from molmo_ros.evaluation.predictions import picture_file
from molmo_ros.evaluation.samples import Image, InvalidData
from molmo_ros.tabletop.samples.data_set import SOURCE, shown_again


def picture_of(source: str) -> Image:
    """The picture that a `Sample.source` names. Raises InvalidData."""
    if not source.startswith(SOURCE):
        return picture_file(source)
    try:
        return shown_again(source)
    except (KeyError, ValueError, UserError) as error:
        raise InvalidData(f'{source} cannot be shown: {error}') from error
