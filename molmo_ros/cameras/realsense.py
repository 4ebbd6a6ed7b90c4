# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A RealSense through librealsense, live or from a recording, without its ROS driver."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmo_ros.cameras.librealsense import (
    camera_of,
    color_of,
    depth_of,
    load_librealsense,
    pose_of,
    set_preset,
)
from molmo_ros.cameras.source import Source, first_line
from molmo_ros.errors import UserError
from molmo_ros.grounding.assumptions import DEPTH_OF_ANOTHER_MOMENT
from molmo_ros.grounding.capture import Capture
from molmo_ros.grounding.frame import Frame
from molmo_ros.spatial import CameraModel, Registration, depth_warning

COLOR_FRAME = 'camera_color_optical_frame'
_POLL_MS = 100
# Seconds until the exposure has settled, and until a camera that was reset is there again.
_SETTLES_S, _RETURNS_S = 1.0, 15.0
_RESTARTS = 2
# Frame sets whose two pictures are further apart than half a frame are passed over, so many times.
_UNEQUAL = 10


@dataclass(frozen=True)
class RealSenseSettings:
    """Which camera, and what is asked of it.

    serial: '' is any. recording: a file of librealsense's recorder in place of a camera; repeat: it
    begins again at its end. width, height: of both pictures, pixels;
    rate: frames a second; 0 is the camera's own choice. preset: visual preset of the depth, by
    name; '' leaves it. align: depth is aligned to the color by librealsense, which copies depths as
    they are; otherwise it comes with its registration. patience: seconds without a frame after
    which the camera is reset.
    """

    serial: str = ''
    recording: Path | None = None
    repeat: bool = False
    width: int = 0
    height: int = 0
    rate: int = 0
    preset: str = ''
    align: bool = False
    patience: float = 5.0


class RealSense(Source):
    """A camera or a recording, from which frames come until it is closed.

    should_stop: asked while frames are waited for. log: told what is done about a camera that
    stalls. context: librealsense's, with the devices that there are; None: this machine's.
    Raises UserError where there is no such camera or recording.
    """

    def __init__(
        self,
        settings: RealSenseSettings,
        should_stop: Callable[[], bool] = lambda: False,
        log: Callable[[str], object] = lambda text: None,
        context: Any = None,
    ) -> None:
        self._rs = load_librealsense()
        self._settings = settings
        self._should_stop = should_stop
        self._log = log
        self._context = context if context is not None else self._rs.context()
        self._align = self._rs.align(self._rs.stream.color) if settings.align else None
        self._pipeline: Any = None
        self._start()

    def close(self) -> None:
        """See Source."""
        if self._pipeline is not None:
            try:
                self._pipeline.stop()
            except RuntimeError as error:  # it is gone
                self._log(first_line(error))
            self._pipeline = None

    def capture(self, at: float | None = None) -> Capture:
        """See Source. A camera gets a second for its exposure to settle."""
        if self._settings.recording is not None:
            if at is not None:
                self._seek(at)
        elif at is not None:
            raise UserError('a camera shows what it sees now: leave out --at')
        else:
            end = time.monotonic() + _SETTLES_S
            while time.monotonic() < end:
                self.read()
        capture = self.read()
        if capture is None:
            raise UserError(f'{self.name} was stopped')
        origin = f' from {self._settings.recording}' if self._settings.recording else ''
        self.about = f'{self.name}{origin}, stamp {capture.frame.stamp / 1e9:.3f} s'
        return capture

    def follow(self) -> Capture:
        """See Source."""
        capture = self.read()
        if capture is None:
            raise UserError(f'{self.name} was stopped')
        self.about = f'{self.name}, stamp {capture.frame.stamp / 1e9:.3f} s'
        return capture

    def read(self) -> Capture | None:
        """The next frame, once depth and color are there; None where should_stop said so.

        A camera that gives none is reset and started again. Raises UserError where that does not
        help, and at the end of a recording.
        """
        for restarts_left in reversed(range(_RESTARTS + 1)):
            frames = self._next()
            if frames is not None:
                return self._capture(frames)
            if self._should_stop():
                return None
            if self._settings.recording is not None:
                raise UserError(f'{self._settings.recording} has no more frames')
            if restarts_left:
                self._log(f'{self.name} gave no frame for {self._settings.patience:g} s: resetting')
                self._restart()
        raise UserError(
            f'{self.name} gives no frames, also after {_RESTARTS} resets: look at its cable (USB '
            '3), and whether another program uses it'
        )

    def _start(self) -> None:
        rs, settings = self._rs, self._settings
        config = rs.config()
        if settings.recording is not None:
            if not settings.recording.is_file():
                raise UserError(f'{settings.recording} is no file')
            config.enable_device_from_file(str(settings.recording), settings.repeat)
            config.enable_stream(rs.stream.depth)
            config.enable_stream(rs.stream.color)
        else:
            config.enable_device(self._serial_number())
            shape = settings.width, settings.height
            config.enable_stream(rs.stream.depth, *shape, rs.format.z16, settings.rate)
            config.enable_stream(rs.stream.color, *shape, rs.format.rgb8, settings.rate)
        # A pipeline without a context of ours would not see the devices that came since.
        pipeline = rs.pipeline(self._context)
        try:
            profile = pipeline.start(config)
        except RuntimeError as error:
            raise UserError(self._why_not(error)) from error
        self._pipeline, self._device = pipeline, profile.get_device()
        self._describe(profile)
        if settings.recording is not None:
            self.lasts = self._device.as_playback().get_duration().total_seconds()
        elif settings.preset:
            set_preset(self._device.first_depth_sensor(), settings.preset)

    def _serial_number(self) -> str:
        """Of the camera that is meant; librealsense itself would wait long for one that is not
        there. Raises UserError."""
        info = self._rs.camera_info.serial_number
        there = [device.get_info(info) for device in self._context.devices]
        if not there:
            raise UserError('no RealSense is connected, or this user may not open it (udev rules)')
        if self._settings.serial not in ('', *there):
            raise UserError(
                f'RealSense {self._settings.serial} is not connected; there are: {", ".join(there)}'
            )
        return self._settings.serial or str(there[0])

    def _why_not(self, error: RuntimeError) -> str:
        settings = self._settings
        if settings.recording is not None:
            return (
                f'{settings.recording} is no recording of librealsense with depth and color: '
                f'{first_line(error)}'
            )
        asked = settings.width or settings.height or settings.rate
        hint = ' with this width, height and rate' if asked else ''
        return f'the RealSense cannot be started{hint}: {first_line(error)}'

    def _describe(self, profile: Any) -> None:
        """Keep what is the same for all frames."""
        rs, info = self._rs, self._rs.camera_info
        self.serial = self._device.get_info(info.serial_number)
        self.name = f'{self._device.get_info(info.name)} {self.serial}'
        color = profile.get_stream(rs.stream.color).as_video_stream_profile()
        depth = profile.get_stream(rs.stream.depth).as_video_stream_profile()
        self.camera, lens = camera_of(color.get_intrinsics())
        self.depth_camera, depth_lens = camera_of(depth.get_intrinsics())
        self.T_color_depth = pose_of(depth.get_extrinsics_to(color))
        self._half_frame_ms = 500.0 / max(color.fps(), 1)
        # Depth that is aligned is of the color camera.
        lenses = [lens] if self._align is not None else [lens, depth_lens]
        self._assumed = tuple(dict.fromkeys(text for text in lenses if text))

    camera: CameraModel
    """Of the color picture."""
    depth_camera: CameraModel
    """Of the depth as it is seen."""
    T_color_depth: NDArray[np.float64]
    """(4, 4) pose of the depth camera in the color camera, metres."""
    depth_unit: float
    """Metres that a count of the last frame's depth stands for."""
    serial: str
    name: str

    def _seek(self, at: float) -> None:
        if not 0 <= at <= self.lasts:
            raise UserError(
                f'{self._settings.recording} lasts {self.lasts:.3f} s: {at:g} s is not within it'
            )
        # From anew: what is under way when one seeks is of another time.
        self.close()
        self._start()
        if at:
            playback = self._device.as_playback()
            playback.pause()
            while self._pipeline.try_wait_for_frames(_POLL_MS)[0]:
                pass
            playback.seek(timedelta(seconds=at))
            playback.resume()

    def _next(self) -> Any:
        """A frame set with depth and color of about one time; None if there is none in time."""
        end = time.monotonic() + self._settings.patience
        unequal = 0
        while time.monotonic() < end and not self._should_stop():
            good, frames = self._pipeline.try_wait_for_frames(_POLL_MS)
            if good and frames.get_depth_frame() and frames.get_color_frame():
                if abs(_apart_ms(frames)) <= self._half_frame_ms or unequal == _UNEQUAL:
                    return frames
                unequal += 1
            elif not good and self._has_ended():
                return None
        return None

    def _has_ended(self) -> bool:
        if self._settings.recording is None:
            return False
        status = self._device.as_playback().current_status()
        return bool(status == self._rs.playback_status.stopped)

    def _capture(self, frames: Any) -> Capture:
        apart = _apart_ms(frames)
        assumed = self._assumed
        if abs(apart) > self._half_frame_ms:
            assumed = (*assumed, DEPTH_OF_ANOTHER_MOMENT.told(apart=f'{apart:+.0f}'))
        if self._align is not None:
            frames = self._align.process(frames)
        color, depth = frames.get_color_frame(), frames.get_depth_frame()
        metres, self.depth_unit = depth_of(depth), float(depth.get_units())
        registration = None
        if self._align is None:
            registration = Registration(self.depth_camera, self.T_color_depth)
        stamp = round(color.get_timestamp() * 1e6)
        return Capture(
            Frame(color_of(color), metres, self.camera, stamp, COLOR_FRAME),
            registration,
            warning=depth_warning(metres) or '',
            assumed=assumed,
        )

    def _restart(self) -> None:
        """Reset the camera as if it had been unplugged, wait until it is back, and start again."""
        try:
            self._device.hardware_reset()
        except RuntimeError as error:  # it is gone, or cannot
            self._log(first_line(error))
        self.close()
        end = time.monotonic() + _RETURNS_S
        while not self._should_stop():
            try:
                return self._start()
            except UserError as error:
                if time.monotonic() > end:
                    raise UserError(f'{self.name} did not come back: {error}') from error
            time.sleep(0.2)


def _apart_ms(frames: Any) -> float:
    """How much later than the color the depth was taken, milliseconds."""
    depth, color = frames.get_depth_frame(), frames.get_color_frame()
    return float(depth.get_timestamp() - color.get_timestamp())
