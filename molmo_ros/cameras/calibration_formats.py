# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whose calibration file it is, and what its fields are in the terms of sensor_msgs/CameraInfo."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from molmo_ros.grounding.assumptions import CALIBRATION_SIZE, LENS_MODEL, REALSENSE_LENS
from molmo_ros.spatial import CameraModel

FORMATS = (
    'a camera_info as `ros2 topic echo` prints it, the file of camera_calibration or OpenCV (YAML '
    'or XML), RealSense or Open3D JSON, or a Kalibr camchain'
)

Fields = Mapping[str, Any]

# What the same thing is called by different people, in lower case.
_SIZE = (('width', 'height'), ('image_width', 'image_height'), ('camera.width', 'camera.height'))
_MATRIX = ('k', 'camera_matrix', 'cameramatrix', 'mtx')
_COLUMNS = 'intrinsic_matrix'  # Open3D's, column by column
_FOCAL = (('fx', 'fy'), ('camera.fx', 'camera.fy'), ('camera1.fx', 'camera1.fy'))
_CENTRE = (('cx', 'cy'), ('ppx', 'ppy'), ('camera.cx', 'camera.cy'), ('camera1.cx', 'camera1.cy'))
_COEFFICIENTS = (
    'd',
    'distortion_coefficients',
    'distortion_coeffs',
    'distcoeffs',
    'dist_coeffs',
    'dist',
    'coeffs',
)
_ONE_BY_ONE = ('k1', 'k2', 'p1', 'p2', 'k3')
_LENS = ('distortion_model', 'model', 'distortion')
_LENS_NAMES = {
    '': '',
    'none': 'plumb_bob',
    'null': '',
    '~': '',
    'radtan': 'plumb_bob',
    'brown_conrady': 'plumb_bob',
    'equi': 'equidistant',
    'kannala_brandt4': 'equidistant',
}
# RealSense's own: with coefficients they are not quite what ROS calls plumb_bob.
_REALSENSE_LENSES = ('inverse_brown_conrady', 'modified_brown_conrady')
_LARGEST_SIZE = 100_000
_MOST_NUMBERS = 64


class Unreadable(Exception):
    """The fields are not those of a calibration; the text is a sentence without its subject."""


@dataclass(frozen=True)
class Info:
    """A calibration in the terms of CameraInfo, and what the file did not say of it."""

    camera: CameraModel
    assumed: tuple[str, ...] = ()


def cameras_in(fields: Fields) -> Iterator[tuple[str, Fields]]:
    """The cameras of a document by their names, '' where one has none."""
    if _is_camera(fields):
        yield _name(fields), fields
        return
    for name, value in fields.items():
        if isinstance(value, dict) and _is_camera(value):
            yield name, value
        elif name in ('M1', 'M2'):  # of OpenCV's stereo calibration
            yield name, {'k': value, 'd': fields.get(f'D{name[1]}', '')}


def read_info(given: Fields, image_size: tuple[int, int], rectified: bool = False) -> Info:
    """The camera of an image of that width and height.

    Raises Unreadable, and what CameraModel raises.
    """
    fields = {str(key).lower(): value for key, value in given.items()}
    assumed = []
    size = _size(fields)
    if size is None:
        size = image_size
        assumed.append(CALIBRATION_SIZE.told(width=size[0], height=size[1]))
    D = _coefficients(fields)
    model, told = _lens(fields, D)
    P = _matrix_if_any(fields, ('projection_matrix', 'p'), 12)
    if rectified and not any(P):
        raise Unreadable('for a rectified image it should have P; without it leave out rectified')
    camera = CameraModel.from_camera_info_fields(
        *size,
        _matrix(fields),
        D,
        model,
        R=_matrix_if_any(fields, ('rectification_matrix', 'r'), 9),
        P=P,
        binning_x=_count(fields, 'binning_x'),
        binning_y=_count(fields, 'binning_y'),
        roi=_region(fields),
        rectified=rectified,
        image_size=image_size,
    )
    return Info(camera, (*assumed, *told))


def _name(fields: Fields) -> str:
    """Of camera_calibration's file, or the frame of a camera_info."""
    header = fields.get('header')
    frame = header.get('frame_id', '') if isinstance(header, dict) else ''
    return ' '.join(str(fields.get('camera_name') or frame).split())


def _is_camera(fields: Fields) -> bool:
    names = {str(key).lower() for key in fields}
    some = {*_MATRIX, _COLUMNS, 'intrinsics', *(pair[0] for pair in _FOCAL)}
    return bool(names & some)


def _size(fields: Fields) -> tuple[int, int] | None:
    """Width and height, if the file says them."""
    if 'resolution' in fields:  # Kalibr's
        width, height = _numbers(fields, 'resolution', (2,))
        return _pixels(width, 'resolution'), _pixels(height, 'resolution')
    names = _first(fields, _SIZE)
    if names is None:
        return None
    width, height = (_number(fields[name], name) for name in names)
    return _pixels(width, names[0]), _pixels(height, names[1])


def _pixels(number: float, name: str) -> int:
    if not 1 <= number <= _LARGEST_SIZE or number != int(number):
        raise Unreadable(f'{name} is {number:g}: it should be a whole number of pixels')
    return int(number)


def _matrix(fields: Fields) -> list[float]:
    """The nine numbers of K, row by row."""
    for name in _MATRIX:
        if name in fields:
            return _numbers(fields, name, (9,))
    if _COLUMNS in fields:
        return _by_rows(_numbers(fields, _COLUMNS, (9,)), nested=_is_nested(fields[_COLUMNS]))
    if 'intrinsics' in fields:  # Kalibr's
        kind = str(fields.get('camera_model', 'pinhole'))
        if kind != 'pinhole':
            raise Unreadable(f'camera_model is {_shown(kind)}: only pinhole can be used')
        fx, fy, cx, cy = _numbers(fields, 'intrinsics', (4,))
        return [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]
    focal, centre = _first(fields, _FOCAL), _first(fields, _CENTRE)
    if focal is None or centre is None:
        raise Unreadable(f'the camera matrix is missing; give {FORMATS}')
    (fx, fy), (cx, cy) = (
        [_number(fields[name], name) for name in pair] for pair in (focal, centre)
    )
    return [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]


def _by_rows(matrix: list[float], nested: bool) -> list[float]:
    """Open3D lists the columns one after the other; who writes rows by hand nests them."""
    in_rows = nested or (matrix[6] == matrix[7] == 0.0 and any((matrix[2], matrix[5])))
    if in_rows:
        return matrix
    return [matrix[column * 3 + row] for row in range(3) for column in range(3)]


def _coefficients(fields: Fields) -> list[float]:
    for name in _COEFFICIENTS:
        if name in fields:
            return _numbers(fields, name)
    for prefix in ('', 'camera.', 'camera1.'):
        names = [f'{prefix}{name}' for name in _ONE_BY_ONE]
        if names[0] in fields:
            return [_number(fields.get(name, 0.0), name) for name in names]
    return []


def _lens(fields: Fields, D: Sequence[float]) -> tuple[str, tuple[str, ...]]:
    """The lens model in ROS's names, and what had to be assumed of it."""
    given = next((str(fields[name]) for name in _LENS if name in fields), '')
    name = given.strip().lower().replace(' ', '_').replace('-', '_').removeprefix('distortion.')
    name = name.removeprefix('rs2_distortion_')
    bent = any(D)
    if name in _REALSENSE_LENSES:
        return 'plumb_bob', (REALSENSE_LENS.told(model=given),) if bent else ()
    model = _LENS_NAMES.get(name, name)
    if model:
        return model, ()
    if _is_fisheye(fields):
        return 'equidistant', ()
    # As OpenCV goes by their number; four may be a fisheye's.
    if len(D) > 5:
        return 'rational_polynomial', ()
    return 'plumb_bob', (LENS_MODEL.told(),) if bent and len(D) <= 4 else ()


def _is_fisheye(fields: Fields) -> bool:
    """As OpenCV's calibration sample writes it down."""
    return str(fields.get('fisheye_model', '0')).strip().lower() in ('1', 'true')


def _matrix_if_any(fields: Fields, names: Sequence[str], count: int) -> list[float]:
    name = next((name for name in names if name in fields), None)
    return _numbers(fields, name, (0, count)) if name is not None else []


def _region(fields: Fields) -> tuple[int, int, int, int]:
    """x_offset, y_offset, width, height; zeros: all of the picture."""
    roi = fields.get('roi')
    if roi is None or roi in ('', 'null', '~'):
        return 0, 0, 0, 0
    if not isinstance(roi, dict):
        raise Unreadable('roi should have x_offset, y_offset, width and height')
    x, y, width, height = (
        _count(roi, name) for name in ('x_offset', 'y_offset', 'width', 'height')
    )
    return x, y, width, height


def _count(fields: Fields, name: str) -> int:
    number = _number(fields.get(name, 0), name)
    if not 0 <= number <= _LARGEST_SIZE:
        raise Unreadable(f'{name} is {number:g}: it should be a number of pixels')
    return int(number)


def _numbers(fields: Fields, name: str, lengths: Sequence[int] = ()) -> list[float]:
    """Of a list, nested or not, of a text of numbers, or of {rows, cols, data}.

    lengths: how many there may be; none given: any.
    """
    value = fields[name]
    if isinstance(value, dict):
        if 'data' not in value:
            raise Unreadable(f'{name} should be a list of numbers, or have them as its data')
        value = value['data']
    found = [_number(item, name) for item in _flat(value, name)]
    if lengths and len(found) not in lengths:
        wanted = ' or '.join(str(length) for length in lengths if length)
        raise Unreadable(f'{name} should have {wanted} numbers, it has {len(found)}')
    return found


def _flat(value: Any, name: str) -> list[Any]:
    """All that is in a list of lists, or the words of a text."""
    left: list[Any] = [value]
    found: list[Any] = []
    for _ in range(4 * _MOST_NUMBERS):
        if not left:
            return found
        item = left.pop(0)
        if isinstance(item, list):
            left = [*item[: 4 * _MOST_NUMBERS], *left]
        elif isinstance(item, str) and not isinstance(value, list):
            found += [word for word in item.split() if word not in ('null', '~')]
        elif item is not None:
            found.append(item)
    raise Unreadable(f'{name} has too many numbers, or lists in lists')


def _is_nested(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(item, list) for item in value)


def _number(value: Any, name: str) -> float:
    """Of a number, or of a text that YAML means as one."""
    if not isinstance(value, bool | dict | list):
        text = str(value).strip()
        if text.lower().lstrip('+-') in ('.nan', '.inf'):
            text = text.replace('.', '', 1)
        try:
            return float(text)
        except ValueError:
            pass
    raise Unreadable(f'{name} should be a number, not {_shown(value)}')


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return 'a list' if isinstance(value, list) else 'fields of its own'
    return repr(str(value)[:40])


def _first(fields: Fields, pairs: Sequence[tuple[str, str]]) -> tuple[str, str] | None:
    """The first pair of names of which one is there. Raises Unreadable where the other is not."""
    for pair in pairs:
        there = [name in fields for name in pair]
        if all(there):
            return pair
        if any(there):
            raise Unreadable(f'{pair[there.index(False)]} is missing')
    return None
