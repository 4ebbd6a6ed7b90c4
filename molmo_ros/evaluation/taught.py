# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which pictures a checkpoint was taught from, so that nobody takes memory for knowledge."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from molmo_ros.evaluation.samples import Image, Sample
from molmo_ros.output import write_whole

TAUGHT = 'taught.json'
"""In the folder of an adapter, or of a checkpoint that one was merged into."""


def digest_of(picture: Image) -> str:
    """Tells pictures apart by their pixels, wherever they are kept."""
    whole = hashlib.blake2b(repr(picture.shape).encode(), digest_size=12)
    whole.update(picture.tobytes())
    return whole.hexdigest()


def write_taught(folder: Path, digests: Iterable[str]) -> None:
    """Write down what is taught. Raises UserError."""
    write_whole(folder / TAUGHT, json.dumps({'pictures': sorted(set(digests))}, indent=1) + '\n')


def read_taught(folder: Path) -> frozenset[str]:
    """The digests of the pictures; none where nothing is known."""
    try:
        return frozenset(json.loads((folder / TAUGHT).read_text())['pictures'])
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()


def told_apart(
    samples: Iterable[Sample], known: frozenset[str], skip: bool = False
) -> Iterator[Sample]:
    """The samples, each with the fact `taught`, 'yes' or 'no'; as they are where none is known.

    known: digests of the pictures that were taught. skip: leave out those about them. Raises
    InvalidData where a picture cannot be read.
    """
    last, taught = None, False
    for sample in samples:
        if known and sample.image_id != last:
            last, taught = sample.image_id, digest_of(sample.image()) in known
        if not known:
            yield sample
        elif not (taught and skip):
            yield replace(sample, facts={**sample.facts, 'taught': 'yes' if taught else 'no'})
