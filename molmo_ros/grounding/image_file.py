# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Picture files, read the same way by whoever has one: a command, a data set, a camera's topic.

A photo may be stored turned, with EXIF saying how it is to be shown. Depth and calibrations belong
to the pixels as stored; people, and labels on pictures, mean it as shown. Whoever reads says which.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.grounding.brightness import bits_used, dark_note, eight_bits

UPRIGHT = 1

_PNG = b'\x89PNG\r\n\x1a\n'
_ORIENTATION = 0x0112
_JPEG_SEGMENTS = range(0xC0, 0xFF)
_TO_RGB = {1: cv2.COLOR_GRAY2RGB, 3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGB}
_STARTS = {
    b'%PDF': 'a PDF',
    b'GIF8': 'a GIF',
    b'\x1a\x45\xdf\xa3': 'a video (Matroska or WebM)',
    b'\x00\x00\x01\xba': 'a video (MPEG)',
    b'\x00\x00\x01\xb3': 'a video (MPEG)',
    b'\x93NUMPY': 'a NumPy array',
    b'\x89MCAP': 'a recording (MCAP)',
    b'#ROSBAG': 'a recording (ROS 1)',
    b'SQLite format 3': 'a database, as a recording of ROS 2 is',
    b'PK\x03\x04': 'a ZIP archive',
    b'<svg': 'an SVG drawing',
    b'<?xml': 'XML',
    b'<!DOCTYPE': 'a web page',
    b'<html': 'a web page',
    b'version https://git-lfs': "a pointer of Git LFS ('git lfs pull' brings the file)",
}
_HEIC = (b'heic', b'heix', b'heim', b'heis', b'hevc', b'hevx', b'mif1', b'msf1')
_AVIF = (b'avif', b'avis')


class UnreadableImage(ValueError):
    """The bytes are no picture that is read here; the text says what they are, if that is known."""


@dataclass(frozen=True, eq=False)
class StoredImage:
    """A picture as its file has it.

    pixels: (H, W) grey, (H, W, 3) BGR or (H, W, 4) BGRA; uint8 or uint16. orientation: EXIF's, 1
    to 8; 1 is upright.
    """

    pixels: NDArray
    orientation: int = UPRIGHT

    def rgb(self, as_shown: bool) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, turned as EXIF says or as it is stored.

        Of 16 bits those are taken that the picture uses.
        """
        pixels = eight_bits(self.pixels, bits_used(self.pixels))
        code = _TO_RGB[1 if pixels.ndim == 2 else pixels.shape[2]]
        rgb = np.asarray(cv2.cvtColor(pixels, code), np.uint8)
        return np.ascontiguousarray(_turned(rgb, self.orientation)) if as_shown else rgb


def decode_image(data: bytes | NDArray[np.uint8]) -> StoredImage:
    """The picture in a PNG, JPEG, WebP, TIFF or BMP file's bytes. Raises UnreadableImage."""
    data = bytes(data)
    kind = _other_kind(data)
    if kind:
        raise UnreadableImage(f'is {kind}; give one picture, as PNG or JPEG')
    try:
        # As it is stored: neither turned nor cut to 8 bits.
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error:
        pixels = None
    if pixels is None:
        what = 'is empty' if not data else 'is not an image that can be read, or it is cut short'
        raise UnreadableImage(what)
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if pixels.dtype not in (np.uint8, np.uint16) or channels not in _TO_RGB:
        raise UnreadableImage(
            f'holds {channels} x {pixels.dtype} a pixel, which is no picture to look at: is it '
            'depth?'
        )
    return StoredImage(np.asarray(pixels), _orientation(data))


def picture_notes(
    color: NDArray[np.uint8], orientation: int = UPRIGHT, as_shown: bool = False
) -> tuple[str, ...]:
    """What a user should know of a picture (H, W, 3) before trusting an answer about it.

    orientation: of its file. as_shown: whether it was turned as that says.
    """
    notes = [dark_note(color)]
    if orientation != UPRIGHT:
        done = (
            'it was turned, and pixels are those of the picture as it is shown'
            if as_shown
            else 'it was taken as stored, as depth and calibration have it, and pixels are those '
            'of the file'
        )
        notes.append(
            f'image: EXIF says that it is stored turned (orientation {orientation}): {done}'
        )
    return tuple(filter(None, notes))


def _turned(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Rows and columns swapped for 5 to 8, then mirrored along either."""
    if orientation > 4:
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return image


def _other_kind(data: bytes) -> str:
    """What bytes are that are no still picture; '' where nothing says so."""
    head = data[:64].lstrip()
    for start, kind in _STARTS.items():
        if head.startswith(start) or data.startswith(start):
            return kind
    if data[4:8] == b'ftyp':
        if data[8:12] in _AVIF:
            return ''
        return 'a HEIC photo' if data[8:12] in _HEIC else 'a video (MP4 or MOV)'
    if data.startswith(b'RIFF') and data[8:12] == b'AVI ':
        return 'a video (AVI)'
    if any(name in (b'ANIM', b'acTL') for name, _, _ in _chunks(data)):
        return 'an animation'
    return ''


def _orientation(data: bytes) -> int:
    """EXIF's orientation in a JPEG, PNG or WebP; 1 where there is none that makes sense."""
    for name, start, end in _chunks(data):
        if name in (b'\xff\xe1', b'eXIf', b'EXIF'):
            try:
                found = _tag(data[start:end].removeprefix(b'Exif\0\0'))
            except struct.error:
                return UPRIGHT
            if found:
                return found
    return UPRIGHT


def _tag(tiff: bytes) -> int:
    """The orientation in the first directory of TIFF's tags, 0 for none. Raises struct.error."""
    order = {b'II': '<', b'MM': '>'}.get(tiff[:2])
    if order is None:
        return 0
    (first,) = struct.unpack_from(f'{order}I', tiff, 4)
    (count,) = struct.unpack_from(f'{order}H', tiff, first)
    for entry in range(count):
        tag, kind, _, value = struct.unpack_from(f'{order}HHIH', tiff, first + 2 + 12 * entry)
        if tag == _ORIENTATION and kind == 3 and 1 <= value <= 8:
            return int(value)
    return 0


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """The parts of a JPEG (up to its pixels), PNG or WebP: name, where it begins and ends."""
    if data.startswith(b'\xff\xd8'):
        at = 2
        while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] in _JPEG_SEGMENTS:
            length = int.from_bytes(data[at + 2 : at + 4], 'big')
            if data[at + 1] == 0xDA:
                return
            yield data[at : at + 2], at + 4, at + 2 + length
            at += 2 + length
    elif data.startswith(_PNG):
        at = len(_PNG)
        while at + 8 <= len(data):
            length = int.from_bytes(data[at : at + 4], 'big')
            yield data[at + 4 : at + 8], at + 8, at + 8 + length
            at += 12 + length
    elif data.startswith(b'RIFF') and data[8:12] == b'WEBP':
        at = 12
        while at + 8 <= len(data):
            length = int.from_bytes(data[at + 4 : at + 8], 'little')
            yield data[at : at + 4], at + 8, at + 8 + length
            at += 8 + length + length % 2
