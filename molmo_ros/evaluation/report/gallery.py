# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which answers a report shows, and pictures of them."""

from __future__ import annotations

import base64
import math
import random
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from molmo_ros.evaluation.evaluate import Evaluated
from molmo_ros.evaluation.samples import InvalidData
from molmo_ros.pointing import ImagePoint, centred

_RIGHT, _WRONG = (46, 204, 113), (255, 59, 92)
_LIGHT, _DARK = (255, 255, 255), (20, 20, 20)
_LARGEST_SIDE = 640
_JPEG_QUALITY = 82

Picture = NDArray[np.uint8]


def best(results: Sequence[Evaluated], n: int) -> list[Evaluated]:
    """Right answers, the most confident ones; topics take turns."""
    right = [result for result in results if result.judgement.verdict.right]
    return _in_turns(right, n, lambda result: -_confidence(result))


def worst(results: Sequence[Evaluated], n: int) -> list[Evaluated]:
    """The lowest scores, and of these the most confident ones; topics take turns."""
    wrong = [result for result in results if not result.judgement.verdict.right]
    return _in_turns(wrong, n, lambda result: (result.judgement.score, -_confidence(result)))


def some(results: Sequence[Evaluated], n: int, seed: int = 0) -> list[Evaluated]:
    """As they come: a random sample, in the order of asking."""
    chosen = sorted(random.Random(seed).sample(range(len(results)), min(n, len(results))))
    return [results[index] for index in chosen]


def jpeg_uri(result: Evaluated) -> str:
    """The picture of an answer as a data URI: what was meant is outlined, points are rings."""
    image = cv2.cvtColor(answer_image(result), cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode('.jpg', image, (cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY))
    return f'data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}'


def answer_image(result: Evaluated) -> Picture:
    """(H, W, 3) uint8 RGB, at most 640 pixels wide and high."""
    image = _picture(result)
    scale = min(_LARGEST_SIDE / max(image.shape[:2]), 1.0)
    size = round(image.shape[1] * scale), round(image.shape[0] * scale)
    canvas = np.array(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    _outline_targets(canvas, result)
    judged = result.judgement.points
    for number, point in enumerate(result.answer.points, 1):
        right = judged[number - 1] if number <= len(judged) else None
        _ring(canvas, point, scale, right, number if len(result.answer.points) > 1 else 0)
    return canvas


def _picture(result: Evaluated) -> Picture:
    """The picture; a grey one where it is not there any more."""
    try:
        return result.sample.image()
    except InvalidData:
        width, height = result.size
        grey = np.full((height, width, 3), 120, np.uint8)
        size = max(width / 640, 0.4)
        at = round(20 * size), round(40 * size)
        cv2.putText(grey, 'picture not found', at, cv2.FONT_HERSHEY_SIMPLEX, size, _LIGHT)
        return grey


def _in_turns(
    results: Sequence[Evaluated], n: int, order: Callable[[Evaluated], object]
) -> list[Evaluated]:
    by_topic: dict[str, list[Evaluated]] = {}
    for result in sorted(results, key=order):  # type: ignore[arg-type]
        by_topic.setdefault(result.sample.topic, []).append(result)
    chosen: list[Evaluated] = []
    for rank in range(n):
        chosen += [topic[rank] for _, topic in sorted(by_topic.items()) if rank < len(topic)]
    return chosen[:n]


def _confidence(result: Evaluated) -> float:
    """The least of its points'; 0 where there is none."""
    known = [p.confidence for p in result.answer.points if not math.isnan(p.confidence)]
    return min(known, default=0.0)


def _outline_targets(canvas: Picture, result: Evaluated) -> None:
    sample = result.sample
    height, width = canvas.shape[:2]
    if sample.masks is None:
        for x, y in sample.targets:
            at = round(x / 100 * width), round(y / 100 * height)
            for color, thickness in ((_DARK, 6), (_LIGHT, 3)):
                cv2.drawMarker(canvas, at, color, cv2.MARKER_CROSS, 18, thickness, cv2.LINE_AA)
        return
    for mask in sample.masks():
        small = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
        outline, _ = cv2.findContours(small, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        for color, thickness in ((_DARK, 5), (_LIGHT, 2)):
            cv2.drawContours(canvas, outline, -1, color, thickness, cv2.LINE_AA)


def _ring(
    canvas: Picture, point: ImagePoint, scale: float, right: bool | None, number: int
) -> None:
    """Green where right, red where wrong, white where it was not judged."""
    u, v = centred(point.u * scale, point.v * scale)
    at = round(u), round(v)
    color = _LIGHT if right is None else _RIGHT if right else _WRONG
    for ink, thickness in ((_DARK, 8), (_LIGHT, 6), (color, 3)):
        cv2.circle(canvas, at, 11, ink, thickness, cv2.LINE_AA)
    cv2.circle(canvas, at, 3, color, cv2.FILLED, cv2.LINE_AA)
    if number:
        corner = at[0] + 14, at[1] - 11
        for ink, thickness in ((_DARK, 5), (_LIGHT, 2)):
            cv2.putText(
                canvas,
                str(number),
                corner,
                cv2.FONT_HERSHEY_SIMPLEX,
                0.5,
                ink,
                thickness,
                cv2.LINE_AA,
            )
