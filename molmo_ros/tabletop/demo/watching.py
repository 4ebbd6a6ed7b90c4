# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Changing the table before the camera node, and knowing when the new one is seen."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

import numpy as np
import rclpy
from numpy.typing import NDArray
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import qos_profile_sensor_data
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image

from molmo_ros.ros.conversions import color_array
from molmo_ros.ros.responses import RCLError
from molmo_ros.ros.spinning import Spinner
from molmo_ros.ros.sync import stamp_ns


class CameraWatch:
    """Tells the tabletop camera which table to show, and sees what it publishes."""

    def __init__(self) -> None:
        self._context = Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node('demo', context=self._context)
        # rclpy's own client of parameters came after Humble.
        self._parameters: Any = self._node.create_client(
            SetParameters, 'tabletop_camera/set_parameters'
        )
        self._wanted: NDArray[np.uint8] | None = None
        self._shown: tuple[NDArray[np.uint8], int] | None = None
        self._node.create_subscription(Image, 'image', self._on_image, qos_profile_sensor_data)
        executor = SingleThreadedExecutor(context=self._context)
        executor.add_node(self._node)
        self._spinner = Spinner(executor)

    def show(
        self, seed: int, picture: NDArray[np.uint8], timeout: float, check: Callable[[], None]
    ) -> int:
        """Put a table before the camera and wait until the picture on the topic is `picture`.

        Returns its stamp in nanoseconds. check: called now and then meanwhile. Raises TimeoutError.
        """
        deadline = time.monotonic() + timeout
        self._wanted = picture
        while not self._parameters.service_is_ready():
            _wait(deadline, check)
        wanted = Parameter('seed', value=seed).to_parameter_msg()
        sent = None
        while (shown := self._shown) is None or shown[0] is not picture:
            if sent is None:
                with suppress(RCLError):  # on a busy machine: a moment later
                    sent = self._parameters.call_async(SetParameters.Request(parameters=[wanted]))
            _wait(deadline, check)
        return shown[1]

    def __enter__(self) -> CameraWatch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._spinner.close()
        self._node.destroy_node()
        rclpy.try_shutdown(context=self._context)

    def _on_image(self, message: Image) -> None:
        wanted = self._wanted
        if wanted is None or (self._shown is not None and self._shown[0] is wanted):
            return
        if np.array_equal(color_array(message), wanted):
            self._shown = wanted, stamp_ns(message)


def _wait(deadline: float, check: Callable[[], None]) -> None:
    check()
    if time.monotonic() > deadline:
        raise TimeoutError
    time.sleep(0.05)
