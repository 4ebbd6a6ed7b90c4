# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Answers as a recording for the viewer of rerun (.rrd): picture, cloud, points, one step each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from molmo_ros.commands.sources import Taken
from molmo_ros.errors import UserError
from molmo_ros.extras import require
from molmo_ros.grounding.cloud import PINK, cloud_of
from molmo_ros.grounding.ground import Grounding


class RerunFile:
    """A file that is written until it is closed; used with `with`. Raises UserError."""

    def __init__(self, path: Path) -> None:
        require('rerun', '--rrd')
        import rerun

        self._rr: Any = rerun
        self._answers = 0
        self._stream = rerun.RecordingStream('molmo_ros')
        try:
            self._stream.save(path)
        except (OSError, RuntimeError) as error:
            raise UserError(f'{path} cannot be written: {error}') from error

    def add(self, title: str, taken: Taken, found: Grounding) -> None:
        """One more answer, at the next step of the timeline 'answer'."""
        rr, stream, frame = self._rr, self._stream, taken.capture.frame
        stream.set_time('answer', sequence=self._answers)
        self._answers += 1
        names = [f'{n} {p.image.label}'.strip() for n, p in enumerate(found.points, 1)]
        pixels = np.reshape([(p.image.u, p.image.v) for p in found.points], (-1, 2))
        stream.log('question', rr.TextDocument(title))
        stream.log('camera/image', rr.Image(frame.color).compress(jpeg_quality=95))
        stream.log(
            'camera/image/points',
            rr.Points2D(pixels, labels=names, colors=PINK, radii=4.0),
        )
        T = taken.target.T_target_optical
        if frame.camera is not None and T is not None:
            K, size = frame.camera.K, (frame.camera.width, frame.camera.height)
            stream.log('camera', rr.Transform3D(translation=T[:3, 3], mat3x3=T[:3, :3]))
            stream.log('camera/image', rr.Pinhole(image_from_camera=K, resolution=size))
        cloud = cloud_of(taken.capture, taken.target)
        if cloud is None:
            # Nothing of the answer before stays in view.
            stream.log('cloud', rr.Clear(recursive=False))
        else:
            stream.log('cloud', rr.Points3D(cloud.xyz, colors=cloud.rgb))
        there = [p.surface.position for p in found.points]
        told = [n for n, position in zip(names, there, strict=True) if np.isfinite(position).all()]
        positions = np.reshape([p for p in there if np.isfinite(p).all()], (-1, 3))
        stream.log('points', rr.Points3D(positions, labels=told, colors=PINK, radii=0.005))

    def __enter__(self) -> RerunFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.flush()
        self._stream.disconnect()
