# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""predictions.jsonl: what was asked of which model, and every answer as soon as it is known.

The first line says what was run, each of the others is a record (`records`). A file that ends too
early, in the middle of a line even, is gone on from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from molmo_ros.evaluation.evaluate import Evaluated
from molmo_ros.evaluation.image_files import read_picture
from molmo_ros.evaluation.judging import RADIUS
from molmo_ros.evaluation.photometric import CHANGES, changed_samples
from molmo_ros.evaluation.records import PictureOf, Record, evaluated_of, record_of, sample_of
from molmo_ros.evaluation.samples import Image, InvalidData, Sample
from molmo_ros.output import as_json

SCHEMA, VERSION = 'molmo_ros/predictions', 1
_NOT_COMPARED = ('data', 'model.checkpoint', 'model.adapter', 'molmo_ros')


@dataclass(frozen=True)
class Predictions:
    """settings: what was run, as `molmo-ros eval --json` tells it. records: by the sample's id."""

    path: Path
    settings: Mapping[str, Any]
    records: Mapping[str, Record]

    def results(self, picture_of: PictureOf, radius: float = RADIUS) -> list[Evaluated]:
        """Every answer, judged anew; pictures are loaded when they are asked for.

        Raises InvalidData.
        """
        change, found = self.settings.get('photometric'), []
        for record in self.records.values():
            with _as_invalid(self.path, record):
                sample = sample_of(record, picture_of)
                if change in CHANGES:
                    (sample,) = changed_samples([sample], change)
                found.append(evaluated_of(record, sample, radius))
        return found


def picture_file(source: str) -> Image:
    """The picture of a `Sample.source` that is a file. Raises InvalidData."""
    return read_picture(Path(source))


def read_predictions(path: Path) -> Predictions:
    """Read what `molmo-ros eval --predictions` wrote. Raises InvalidData."""
    try:
        data = path.read_bytes()
        # What follows the last line break is unfinished, or nothing.
        lines = data[: data.rfind(b'\n') + 1].decode().split('\n')[:-1]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidData(
            f'{path} cannot be read: {getattr(error, "strerror", None) or error}'
        ) from error
    settings = _settings(path, lines[0] if lines else '')
    records: dict[str, Record] = {}
    for number, line in enumerate(lines[1:], 2):
        try:
            record = json.loads(line)
            records[record['id']] = record
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise InvalidData(f'{path}, line {number}, is no answer: {error!r}') from error
    return Predictions(path, settings, records)


class PredictionsFile:
    """Written to as answers come; goes on where an earlier run was interrupted.

    Raises InvalidData where that run was of other settings, and names them.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self._path = path
        self.done: dict[str, Record] = {}
        if path.exists() and path.stat().st_size:
            _has_header(path)  # what is something else is not touched
        self._file = path.open('a', encoding='utf-8')
        try:
            _lock(self._file, path)
            self._begin(settings)
        except BaseException:
            self._file.close()
            raise

    def _begin(self, settings: Mapping[str, Any]) -> None:
        path = self._path
        header = {'schema': SCHEMA, 'version': VERSION, 'settings': settings}
        line = as_json(header, indent=None)
        if path.stat().st_size and _has_header(path):
            before = read_predictions(path)
            _refuse_others(path, before.settings, json.loads(line)['settings'])
            self.done = dict(before.records)
            _drop_unfinished(path)
        else:
            self._file.truncate(0)
            self._file.write(f'{line}\n')
            self._file.flush()

    def append(self, result: Evaluated) -> None:
        """Write an answer, so that a later run need not ask for it. Raises OSError."""
        if result.sample.id in self.done:
            return
        self._file.write(f'{as_json(record_of(result), indent=None)}\n')
        self._file.flush()

    def known(self, sample: Sample) -> Evaluated | None:
        """The answer of an earlier run; None where there is none.

        Raises InvalidData where the question, or what would be right, has changed since.
        """
        record = self.done.get(sample.id)
        if record is None:
            return None
        with _as_invalid(self._path, record):
            result = evaluated_of(record, sample)
        now = (sample.query, sample.mode.name, sample.rule.value, sample.count)
        truth = [[*target] for target in sample.targets]
        same = now == tuple(record[name] for name in ('query', 'mode', 'rule', 'count'))
        if not (same and truth == record['targets']):
            raise InvalidData(
                f'{self._path} was begun on other data: {sample.id} was another question, or had '
                'another truth; name another file'
            )
        return result

    def close(self) -> None:
        """Raises OSError."""
        self._file.close()


def _lock(file: TextIO, path: Path) -> None:
    """Two runs would write into each other's answers. Raises InvalidData."""
    try:
        import fcntl
    except ImportError:  # a system that has none
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise InvalidData(f'{path} is being written by another run; name another file') from error


def _settings(path: Path, line: str) -> Mapping[str, Any]:
    try:
        header = json.loads(line)
        schema, version = header['schema'], header['version']
        settings = header['settings']
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise InvalidData(
            f'{path} does not begin as a file of `molmo-ros eval --predictions` does'
        ) from error
    if (schema, version) != (SCHEMA, VERSION) or not isinstance(settings, dict):
        raise InvalidData(f'{path} is {schema} {version}; {SCHEMA} {VERSION} is read here')
    return settings


def _has_header(path: Path) -> bool:
    """Whether its first line is whole: a run may have ended before it was."""
    with path.open('rb') as file:
        first = file.readline()
    if first.endswith(b'\n'):
        return True
    if first.startswith(b'{"schema"'):
        return False
    raise InvalidData(f'{path} is there already and is no predictions.jsonl; name another file')


def _drop_unfinished(path: Path) -> None:
    data = path.read_bytes()
    whole = data.rfind(b'\n') + 1
    if whole < len(data):
        with path.open('r+b') as file:
            file.truncate(whole)


def _refuse_others(path: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    one, other = _flat(before), _flat(now)
    # Names of folders may change; a server's address is all that is known of it.
    passed_over = _NOT_COMPARED if one.get('model.digest') else ()
    changed = [
        f'{name} (then {one.get(name)!r}, now {other.get(name)!r})'
        for name in {**one, **other}
        if name not in passed_over and one.get(name) != other.get(name)
    ]
    if changed:
        raise InvalidData(
            f'{path} was begun with other settings: {"; ".join(changed)}. Give the same to go on, '
            'or name another file'
        )


def _flat(settings: Mapping[str, Any], before: str = '') -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= (
            _flat(value, f'{before}{name}.') if isinstance(value, dict) else {before + name: value}
        )
    return flat


@contextmanager
def _as_invalid(path: Path, record: Record) -> Iterator[None]:
    try:
        yield
    except InvalidData:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InvalidData(
            f'{path}: the answer to {record.get("id")} cannot be read: {error!r}'
        ) from error
