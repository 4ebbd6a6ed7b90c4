# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Messages as they came over the wire, of which only the stamp is read until somebody asks.

A camera brings thirty images a second and a question needs one of them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rclpy.serialization import deserialize_message
from std_msgs.msg import Header

# Of CDR: four bytes say how it is encoded, the last bit of the second which byte order; then come
# the header's seconds and nanoseconds.
_STAMPS = struct.Struct('>xxxxiI'), struct.Struct('<xxxxiI')


class UnreadableMessage(ValueError):
    """Bytes that are no message of their type."""


@dataclass(frozen=True)
class Stamp:
    """As builtin_interfaces/Time."""

    sec: int
    nanosec: int


@dataclass(frozen=True)
class StampedHeader:
    """As much of a header as is read."""

    stamp: Stamp


@dataclass(frozen=True, eq=False)
class RawMessage:
    """A message that begins with a std_msgs/Header. data: CDR, as the middleware has it."""

    kind: type
    data: bytes
    header: StampedHeader | Header

    @classmethod
    def of(cls, kind: type, data: bytes) -> RawMessage:
        """Read its stamp. Raises UnreadableMessage."""
        try:
            stamp = Stamp(*_STAMPS[data[1] & 1].unpack_from(data))
        except (IndexError, struct.error) as error:
            raise UnreadableMessage(f'{len(data)} bytes are no {kind.__name__}') from error
        return cls(kind, data, StampedHeader(stamp))

    def read(self) -> Any:
        """The whole message. Raises UnreadableMessage."""
        try:
            return deserialize_message(self.data, self.kind)
        except Exception as error:  # whatever the middleware says, or texts that are no UTF-8
            raise UnreadableMessage(f'it is no {self.kind.__name__}: {error}') from error


def read_different(messages: Iterable[RawMessage]) -> tuple[Any, ...]:
    """Those messages that differ in more than the stamp, the first of each. Raises
    UnreadableMessage."""
    first: dict[bytes, RawMessage] = {}
    for message in messages:
        first.setdefault(message.data[_STAMPS[0].size :], message)
    return tuple(message.read() for message in first.values())
