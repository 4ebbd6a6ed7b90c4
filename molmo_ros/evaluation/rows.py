# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Rows of tables in files: parquet, JSON lines, JSON and CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from molmo_ros import git_lfs
from molmo_ros.evaluation.image_files import read_mask
from molmo_ros.evaluation.samples import InvalidData, Mask
from molmo_ros.extras import require

IMAGE, MASKS = 'image', 'masks'
_JSON_CELLS = ('points', MASKS)
_SUFFIXES = ('.parquet', '.jsonl', '.json', '.csv')

Row = Mapping[str, Any]


def table_files(folder: Path, split: str | None) -> list[Path]:
    """The tables of a data set, in FOLDER or FOLDER/data, sorted; those of a split if one is named.

    Those of the split `test` are called test.jsonl, test-00000-of-00001.parquet or the like.
    Raises InvalidData.
    """
    if not folder.is_dir():
        raise InvalidData(f'{folder} is no folder')
    inside = [*folder.iterdir(), *(folder / 'data').glob('*')]
    found = sorted(path for path in inside if path.suffix in _SUFFIXES and path.is_file())
    if not found:
        raise InvalidData(
            f'{folder} has no tables: they should be there, or in data/, as '
            f'{", ".join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]}'
        )
    if split is None:
        return found
    chosen = [path for path in found if path.name.startswith((f'{split}-', f'{split}.'))]
    if not chosen:
        names = ', '.join(path.name for path in found[:4])
        raise InvalidData(f'{folder} has no table of the split {split!r}; there is {names}')
    return chosen


def rows_of(path: Path) -> Iterator[Row]:
    """The rows of a table. Raises InvalidData.

    What is large is only read when it is asked for: a row's `masks` are a function that reads
    them, and so is an `image` that is in the table.
    """
    if git_lfs.is_pointer_file(path):
        raise InvalidData(f'{path} is {git_lfs.WHAT_TO_DO}')
    try:
        yield from _parquet_rows(path) if path.suffix == '.parquet' else _text_rows(path)
    except (OSError, ValueError, csv.Error) as error:
        if isinstance(error, InvalidData):
            raise
        raise InvalidData(f'{path} cannot be read: {error}') from error


def _text_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding='utf-8', newline='') as file:
        for row in _csv_rows(file) if path.suffix == '.csv' else _json_rows(path, file):
            masks = row.get(MASKS)
            if masks is not None:
                row[MASKS] = partial(_masks_of, masks, path.parent)
            yield row


def _csv_rows(file: Iterator[str]) -> Iterator[dict[str, Any]]:
    for row in csv.DictReader(file):
        yield {**row, **{key: json.loads(row[key]) for key in _JSON_CELLS if row.get(key)}}


def _json_rows(path: Path, file: Any) -> Iterator[dict[str, Any]]:
    lines = (line for line in file if line.strip())
    rows = map(json.loads, lines) if path.suffix == '.jsonl' else json.load(file)
    for row in rows:
        if not isinstance(row, dict):
            raise InvalidData(f'{path} should hold a list of objects, one for each question')
        yield row


def _masks_of(masks: Sequence[Any], folder: Path) -> tuple[Mask, ...]:
    """Masks from nested lists of truths, or from the names of pictures."""
    return tuple(
        read_mask(folder / mask) if isinstance(mask, str) else np.array(mask, bool)
        for mask in masks
    )


def _parquet_rows(path: Path) -> Iterator[Row]:
    file = _parquet_file(path)
    schema = file.schema_arrow
    large = {MASKS: _parquet_masks, IMAGE: _parquet_image}
    if IMAGE in schema.names and not hasattr(schema.field(IMAGE).type, 'get_field_index'):
        del large[IMAGE]  # the name of a file
    read = {name: function for name, function in large.items() if name in schema.names}
    rest = [name for name in schema.names if name not in read]
    for group in range(file.num_row_groups):
        rows = file.read_row_group(group, columns=rest).to_pylist()
        for index, row in enumerate(rows):
            yield {**row, **{name: partial(f, path, group, index) for name, f in read.items()}}


def _parquet_masks(path: Path, group: int, index: int) -> tuple[Mask, ...]:
    found = []
    for mask in _column(path, group, MASKS)[index].values or ():
        bits = mask.values.flatten().to_numpy(zero_copy_only=False)
        found.append(bits.astype(bool).reshape(len(mask.values), -1))
    return tuple(found)


def _parquet_image(path: Path, group: int, index: int) -> bytes:
    return bytes(_column(path, group, IMAGE)[index].as_py()['bytes'])


# Rows are gone through in order, so one group of them at a time is asked about.
@lru_cache(maxsize=2)
def _column(path: Path, group: int, name: str) -> Any:
    return _parquet_file(path).read_row_group(group, columns=[name])[name]


def _parquet_file(path: Path) -> Any:
    require('pyarrow', f'{path}, a table in Parquet,', InvalidData)
    from pyarrow import parquet

    return parquet.ParquetFile(path)
