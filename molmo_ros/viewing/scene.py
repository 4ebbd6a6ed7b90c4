# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The 3D half of the page: the cloud or the picture, frames, and an answer in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmo_ros.viewing.clouds import CloudMaker, SeenCloud, pixel_on_ray
from molmo_ros.viewing.drawing import LAYERS, draw_point, wxyz
from molmo_ros.viewing.pictures import answer_on
from molmo_ros.viewing.views import Shown, View

_MOST_FRAMES = 60
_AXES = 0.08  # metres
_USUAL_DISTANCE = 1.0  # metres to the picture where nothing is known of depth
_ANSWER, _FRAMES = '/answer', '/frames'


class Scene:
    """Draws into the scene of a viser server. most: points of a cloud."""

    def __init__(self, server: Any, most: int) -> None:
        self._server, self._scene, self._most = server, server.scene, most
        self._clouds = CloudMaker()
        self._view: View | None = None
        self._cloud: SeenCloud | None = None
        self._shown: Shown | None = None
        self._as_picture = self._hot = False
        self._distance = _USUAL_DISTANCE
        self._placed: tuple[str, bool] | None = None
        self._visible = dict.fromkeys((*LAYERS, 'frames'), True)
        self._groups: dict[str, Any] = {}
        self._frames: dict[str, Any] = {}
        self._picture: Any = None
        nothing = np.zeros((1, 3), np.float32)
        self._points = self._scene.add_point_cloud(
            '/cloud', nothing, nothing.astype(np.uint8), point_shading='flat', visible=False
        )
        self._scene.add_frame(_FRAMES, show_axes=False)

    @property
    def shows_picture(self) -> bool:
        """Whether the picture stands there in place of the cloud; it does where there is none."""
        return self._as_picture or self._cloud is None

    def forget(self) -> None:
        """Another camera: nothing of the last is left."""
        self._placed = self._view = self._cloud = None
        self.draw_answer(None)

    def draw_view(self, view: View) -> None:
        """Draw what the camera sees."""
        self._view, self._cloud = view, self._clouds.cloud(view, self._most)
        with self._server.atomic():
            self._place(view)
            self._draw_cloud()
            self._draw_picture()
            self._draw_frames(view)
            self._show_groups()

    def draw_answer(self, shown: Shown | None) -> None:
        """Draw an answer in place of the last one; None: nothing."""
        self._shown = shown
        with self._server.atomic():
            self._scene.remove_by_name(_ANSWER)
            self._scene.add_frame(_ANSWER, show_axes=False)
            self._groups = {
                name: self._scene.add_frame(f'{_ANSWER}/{name}', show_axes=False)
                for name in ('points', *LAYERS)
            }
            up = np.asarray(self._server.initial_camera.up)
            for number, point in enumerate(shown.points if shown else (), 1):
                if np.isfinite(point.surface.position).all():
                    draw_point(self._scene, _ANSWER, number, point, self._distance, up)
            self._draw_picture()
            self._show_groups()

    def show_picture(self, as_picture: bool) -> None:
        """The picture in place of the cloud, or the cloud."""
        self._as_picture = as_picture
        if self._view is not None:
            self.draw_view(self._view)

    def show_heat(self, hot: bool) -> None:
        """The picture under the heat of its answer, or not."""
        self._hot = hot
        self._draw_picture()

    def show_layer(self, layer: str, visible: bool) -> None:
        """Show one of LAYERS, or 'frames'; or do not."""
        self._visible[layer] = visible
        if self._view is not None:
            self._draw_frames(self._view)
        self._show_groups()

    def pixel_of(
        self, origin: Sequence[float], direction: Sequence[float]
    ) -> tuple[float, float] | None:
        """The pixel, from the top left corner, that the ray of a click meant; None for none."""
        view, cloud = self._view, self._cloud
        if view is None:
            return None
        start, way = np.asarray(origin, float), np.asarray(direction, float)
        if not self.shows_picture and cloud is not None:
            return pixel_on_ray(cloud, start, way)
        T = _optical(view)
        start, way = (start - T[:3, 3]) @ T[:3, :3], way @ T[:3, :3]
        if abs(way[2]) < 1e-9:
            return None
        x, y, _ = start + (self._distance - start[2]) / way[2] * way
        height, width = view.capture.frame.color.shape[:2]
        u, v = width * (x / self._distance + 0.5), width * y / self._distance + 0.5 * height
        return (float(u), float(v)) if 0 <= u < width and 0 <= v < height else None

    def look(self, clients: Sequence[Any]) -> None:
        """Have browsers look from where the camera stands."""
        first = self._server.initial_camera
        for one in clients:
            with one.atomic():
                one.camera.up_direction = first.up
                one.camera.position = first.position
                one.camera.look_at = first.look_at

    def _place(self, view: View) -> None:
        """Where browsers look from, when a camera or a frame is new."""
        key = view.frame, self.shows_picture
        if key == self._placed:
            return
        self._placed = key
        T, cloud = _optical(view), self._cloud
        self._distance = _USUAL_DISTANCE
        if cloud is not None and len(cloud.xyz):
            self._distance = float(np.median((cloud.xyz - T[:3, 3]) @ T[:3, 2]))
        # Straight at a picture; a little from above and aside at a cloud, so that it has depth.
        aside = (0.0, 0.0, -0.15) if self.shows_picture else (-0.25, -0.25, 0.1)
        first = self._server.initial_camera
        first.position = T[:3, 3] + self._distance * (T[:3, :3] @ np.array(aside))
        first.look_at = T[:3, 3] + self._distance * T[:3, 2]
        first.up = -T[:3, 1]
        self.look([*self._server.get_clients().values()])

    def _draw_cloud(self) -> None:
        cloud = self._cloud
        self._points.visible = not self.shows_picture
        if cloud is None or self.shows_picture or not len(cloud.xyz):
            return
        # Around the middle 16 bits are a fraction of a millimetre.
        middle = cloud.xyz.mean(0)
        self._points.position = middle
        self._points.points = cloud.xyz - middle
        self._points.colors = cloud.rgb
        self._points.point_size = self._spacing(cloud)

    def _spacing(self, cloud: SeenCloud) -> float:
        """Metres, so that surfaces look closed."""
        assert self._view is not None and self._view.capture.frame.camera is not None
        focal = float(self._view.capture.frame.camera.K[0, 0])
        return min(max(1.2 * cloud.step * self._distance / focal, 0.0005), 0.05)

    def _draw_picture(self) -> None:
        if self._picture is not None:
            self._picture.visible = self.shows_picture
        view = self._view
        if view is None or not self.shows_picture:
            return
        color = view.capture.frame.color
        if self._shown is not None:
            color = answer_on(color, self._shown, self._hot)
        # As wide as it is far away.
        T, width = _optical(view), self._distance
        if self._picture is None:
            self._picture = self._scene.add_image(
                '/picture',
                color,
                width,
                width,
                format='jpeg',
                jpeg_quality=85,
                cast_shadow=False,
                receive_shadow=False,
            )
        picture = self._picture
        picture.image = color
        picture.render_width = width
        picture.render_height = width * color.shape[0] / color.shape[1]
        picture.wxyz, picture.position = wxyz(T[:3, :3]), T[:3, 3] + width * T[:3, 2]

    def _show_groups(self) -> None:
        """The picture has the points drawn in it, and all else is hidden behind it."""
        for name, group in self._groups.items():
            group.visible = not self.shows_picture and self._visible.get(name, True)

    def _draw_frames(self, view: View) -> None:
        poses: dict[str, NDArray[np.float64]] = {}
        if self._visible['frames'] and not self.shows_picture:
            poses = dict(sorted(view.frames.items())[:_MOST_FRAMES])
            if view.target.T_target_optical is not None:
                poses[view.capture.frame.frame_id or 'camera'] = view.target.T_target_optical
        for name in [*self._frames]:
            if name not in poses:
                self._frames.pop(name).remove()
        for name, T in poses.items():
            if name not in self._frames:
                # Slashes would make nodes below nodes.
                node = f'{_FRAMES}/{name.replace("/", "|")}'
                self._frames[name] = self._scene.add_frame(
                    node, axes_length=_AXES, axes_radius=0.03 * _AXES, origin_radius=0.05 * _AXES
                )
                self._scene.add_label(f'{node}/name', name, font_screen_scale=0.7)
            frame = self._frames[name]
            frame.position, frame.wxyz = T[:3, 3], wxyz(T[:3, :3])


def _optical(view: View) -> NDArray[np.float64]:
    """(4, 4) pose of the optical frame; where it is not known all is shown in that."""
    T = view.target.T_target_optical
    return np.eye(4) if T is None else T
