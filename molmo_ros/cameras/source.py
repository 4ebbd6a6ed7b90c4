# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What every source of frames has in common."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from molmo_ros.errors import shortened
from molmo_ros.grounding.capture import OPTICAL, Capture, TargetFrame


class Source:
    """A camera, or a recording of one; used with `with`, from one thread.

    Attributes:
        about: what the last capture was taken from, in words.
        lasts: seconds of a recording; infinite for a camera.
    """

    about = ''
    lasts = inf

    def capture(self, at: float | None = None) -> Capture:
        """A frame with what belongs to it.

        at: seconds from the beginning of a recording; None: its first complete frame, or what a
        camera sees now. Raises UserError.
        """
        raise NotImplementedError

    def follow(self) -> Capture:
        """The next frame of a camera, for whoever takes one after the other. Raises UserError."""
        return self.capture()

    def target(self, frame: str, capture: Capture) -> TargetFrame:
        """Where the optical frame of the last capture stands in `frame`; '' is that frame."""
        if frame in ('', capture.frame.frame_id):
            return OPTICAL
        return TargetFrame(
            None, f"frame '{shortened(frame)}' is not known: there are no transforms here"
        )

    def frames(self, frame: str, capture: Capture) -> Mapping[str, NDArray[np.float64]]:
        """Where the frames that are known stand in `frame`, as (4, 4) poses in metres, by name.

        At the stamp of the last capture; as for `target`, '' is its optical frame.
        """
        return {}

    def close(self) -> None:
        """Give back what is held; at the end of `with`."""

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def first_line(error: Exception) -> str:
    """Of what an error says; its type where it says nothing."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
