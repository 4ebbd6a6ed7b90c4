# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Data sets in folders that a user has on disk."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from molmo_ros.evaluation.downloads import Wanted
from molmo_ros.evaluation.image_files import (
    PictureFolder,
    decoded,
    masks_at,
    read_mask,
    read_picture,
)
from molmo_ros.evaluation.points_folder import InvalidFolder, LabelledImage, read_folder
from molmo_ros.evaluation.rows import IMAGE, MASKS, Row, rows_of, table_files
from molmo_ros.evaluation.samples import Image, InvalidData, Mask, Percent, Rule, Sample
from molmo_ros.pointing import Mode

_FEW = (1, 5, 10)


@dataclass(frozen=True)
class Folder:
    """Where a data set is.

    split: of its tables, None for all. images: where its pictures are; None where it is usual.
    skip_missing: leave out questions about pictures that are not there, instead of refusing.
    """

    path: Path
    split: str | None = None
    images: Path | None = None
    skip_missing: bool = False


@dataclass(frozen=True)
class DataSet:
    """Samples, and how many were left out because their pictures are missing."""

    samples: tuple[Sample, ...]
    left_out: int = 0


def pixmo_points(folder: Folder, limit: int | None = None) -> DataSet:
    """PixMo-Points, and its evaluation set with masks. Raises InvalidData."""
    return _from_tables(folder, _points_sample, limit)


def pixmo_count(folder: Folder, limit: int | None = None) -> DataSet:
    """PixMo-Count. Raises InvalidData."""
    return _from_tables(folder, _count_sample, limit)


def point_bench(folder: Folder, limit: int | None = None) -> DataSet:
    """Point-Bench: data.json, pictures and masks by category. Raises InvalidData."""
    table = folder.path / 'data.json'
    rows = list(_checked(table, ('image_filename', 'category', 'user_input')))
    # Those without a mask are not part of the benchmark.
    with_mask = [row for row in rows if row.get('mask_filename')]
    images = folder.images or _first_folder(folder.path, 'selected_images', 'images')
    masks = _first_folder(folder.path, 'selected_masks', 'masks')
    made = (_bench_sample(row, images, masks) for row in with_mask)
    return _present(made, folder, limit)


def own_pictures(folder: Folder, limit: int | None = None) -> DataSet:
    """One's own pictures with points, the layout that `molmo-ros finetune` learns from.

    Raises InvalidData.
    """
    try:
        pictures = read_folder(folder.path)
    except InvalidFolder as error:
        raise InvalidData(str(error)) from error
    return DataSet(samples_of(pictures)[:limit])


def samples_of(pictures: Iterable[LabelledImage]) -> tuple[Sample, ...]:
    """A question for every label of every picture."""
    return tuple(
        _pointing_sample(
            f'{picture.name} {label.label}',
            picture.name,
            partial(read_picture, picture.path),
            label.label,
            label.points,
            None,
            'point' if label.points else 'absent',
        )
        for picture in pictures
        for label in picture.labels
    )


def missing_pictures(folder: Folder) -> list[Wanted]:
    """The pictures that tables name by an address and that are not there. Raises InvalidData."""
    pictures = PictureFolder(folder.images or folder.path / 'images')
    wanted: dict[str, Wanted] = {}
    for table in table_files(folder.path, folder.split):
        for row in _checked(table, ('image_url',)):
            url = str(row['image_url'] or '')
            if url and url not in wanted and pictures.find(_names_of(row, url)) is None:
                hashed = str(row.get('image_sha256') or '').lower()
                wanted[url] = Wanted(url, pictures.folder / _hashed(url), hashed)
    return [*wanted.values()]


@dataclass(frozen=True)
class _Wanted:
    """A sample, or the file that its picture lacks."""

    sample: Sample | None
    expected: str = ''


def _present(wanted: Iterable[_Wanted], folder: Folder, limit: int | None) -> DataSet:
    """The samples whose pictures are there. Raises InvalidData if others are not skipped."""
    samples: list[Sample] = []
    missing: list[str] = []
    for one in wanted:
        if one.sample is None:
            missing.append(one.expected)
        else:
            samples.append(one.sample)
        if limit is not None and len(samples) == limit:
            break
    if missing and not folder.skip_missing:
        raise InvalidData(
            f'{len(missing)} of {len(missing) + len(samples)} questions lack their picture; the '
            f'first should be {missing[0]}. --skip-missing asks the others; `molmo-ros fetch '
            'pictures` downloads those that have an address'
        )
    if not samples:
        raise InvalidData(f'{folder.path} has no questions about pictures that are there')
    by_image: dict[str, list[Sample]] = {}
    for sample in samples:
        by_image.setdefault(sample.image_id, []).append(sample)
    return DataSet(tuple(itertools.chain(*by_image.values())), len(missing))


def _from_tables(folder: Folder, make: Callable[..., Sample], limit: int | None) -> DataSet:
    tables = table_files(folder.path, folder.split)
    pictures = PictureFolder(folder.images or folder.path / 'images')
    columns = ('label', 'points') if make is _points_sample else ('label', 'count')

    def wanted() -> Iterator[_Wanted]:
        for table in tables:
            for number, row in enumerate(_checked(table, columns)):
                name, load, expected = _picture_of(row, folder.path, pictures)
                if load is None:
                    yield _Wanted(None, expected)
                else:
                    yield _Wanted(_made(make, row, table, number, name, load))

    return _present(wanted(), folder, limit)


def _made(
    make: Callable[..., Sample],
    row: Row,
    table: Path,
    number: int,
    name: str,
    load: Callable[[], Image],
) -> Sample:
    try:
        return make(row, f'{table.stem} {number}', name, load)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidData(f'{table}, row {number}, is of another layout: {error!r}') from error


def _checked(table: Path, columns: tuple[str, ...]) -> Iterator[Row]:
    for number, row in enumerate(rows_of(table)):
        lacking = [column for column in columns if column not in row]
        if lacking:
            raise InvalidData(f'{table}, row {number}, has no {" and no ".join(lacking)}')
        yield row


def _picture_of(
    row: Row, folder: Path, pictures: PictureFolder
) -> tuple[str, Callable[[], Image] | None, str]:
    """A picture's name, what loads it, and where it should be."""
    image, url = row.get(IMAGE), str(row.get('image_url') or '')
    if callable(image):
        name = str(row.get('image_sha256') or url or image)
        return name, partial(_embedded, image, name), ''
    if image:
        beside = [path for path in (folder / image, pictures.folder / image) if path.is_file()]
        load = partial(read_picture, beside[0]) if beside else None
        return str(image), load, str(pictures.folder / image)
    if not url:
        raise InvalidData(f'{folder}: a row has neither image_url nor image')
    path = pictures.find(_names_of(row, url))
    return url, partial(read_picture, path) if path else None, str(pictures.folder / _hashed(url))


def _hashed(url: str) -> str:
    """What a picture that was downloaded is called."""
    return hashlib.sha256(url.encode()).hexdigest()


def _names_of(row: Row, url: str) -> tuple[str, ...]:
    """What else it may be called."""
    last = unquote(urlsplit(url).path).split('/')[-1]
    return _hashed(url), str(row.get('image_sha256') or ''), last


def _source_of(load: Callable[[], Image]) -> str:
    """The file that is loaded; '' for a picture that is inside of a table."""
    if isinstance(load, partial) and load.func is read_picture:
        return str(load.args[0].resolve())
    return ''


@lru_cache(maxsize=2)
def _embedded(read: Callable[[], bytes], name: str) -> Image:
    return decoded(read(), name)


def _points_sample(row: Row, id: str, name: str, load: Callable[[], Image]) -> Sample:
    points = tuple((float(p['x']), float(p['y'])) for p in _points(row['points']))
    method = str(row.get('collection_method') or 'pointing')
    topic = method if points else 'absent'
    return _pointing_sample(id, name, load, str(row['label']), points, row.get(MASKS), topic)


def _points(points: Any) -> Iterable[Any]:
    """Points as a list of x and y, or as two lists."""
    if isinstance(points, dict):
        return [{'x': x, 'y': y} for x, y in zip(points['x'], points['y'], strict=True)]
    return points or ()


def _pointing_sample(
    id: str,
    name: str,
    load: Callable[[], Image],
    label: str,
    points: tuple[Percent, ...],
    masks: Callable[[], tuple[Mask, ...]] | None,
    topic: str,
) -> Sample:
    return Sample(
        id=id,
        image_id=name,
        image=load,
        query=label,
        mode=Mode.POINT,
        topic=topic,
        rule=Rule.EVERY,
        targets=points,
        count=len(points),
        masks=partial(_masks_like, masks, load, len(points)) if masks and points else None,
        facts={'things to find': _how_many(len(points))},
        source=_source_of(load),
    )


def _masks_like(
    masks: Callable[[], tuple[Mask, ...]], load: Callable[[], Image], points: int
) -> tuple[Mask, ...]:
    found = masks()
    if len(found) != points:
        raise InvalidData(f'there are {len(found)} masks for {points} points')
    height, width = load().shape[:2]
    return masks_at(found, (width, height))


def _how_many(count: int) -> str:
    """`0`, `1`, `2 to 5`, `6 to 10`, `11 or more`."""
    if count <= 1:
        return str(count)
    for low, high in itertools.pairwise(_FEW):
        if count <= high:
            return f'{low + 1} to {high}'
    return f'{_FEW[-1] + 1} or more'


def _count_sample(row: Row, id: str, name: str, load: Callable[[], Image]) -> Sample:
    count = int(row['count'])
    return Sample(
        id=id,
        image_id=name,
        image=load,
        query=str(row['label']),
        mode=Mode.COUNT,
        topic='count',
        rule=Rule.COUNT,
        count=count,
        facts={'true count': str(count)},
        source=_source_of(load),
    )


def _bench_sample(row: Row, images: Path, masks: Path) -> _Wanted:
    category = str(row['category'])
    image = images / category / str(row['image_filename'])
    mask = _existing(masks / category, masks, str(row['mask_filename']))
    if not image.is_file():
        return _Wanted(None, str(image))
    if mask is None:
        return _Wanted(None, str(masks / category / str(row['mask_filename'])))
    count = row.get('count') if category == 'counting' else None
    return _Wanted(
        Sample(
            id=f'{category}/{image.name} {row["user_input"]}',
            image_id=f'{category}/{image.name}',
            image=partial(read_picture, image),
            query=str(row['user_input']),
            mode=Mode.ASK,
            topic=category,
            rule=Rule.INSIDE if category == 'counting' else Rule.FIRST,
            count=int(count) if count else None,
            masks=partial(_bench_mask, mask, image),
            source=str(image.resolve()),
        )
    )


def _existing(in_category: Path, beside: Path, name: str) -> Path | None:
    return next((p for p in (in_category / name, beside / name) if p.is_file()), None)


def _first_folder(folder: Path, *names: str) -> Path:
    return next((folder / name for name in names if (folder / name).is_dir()), folder / names[0])


def _bench_mask(path: Path, image: Path) -> tuple[Mask]:
    """Some masks have another size than their pictures; what is beyond them counts as outside."""
    mask, (height, width) = read_mask(path), read_picture(image).shape[:2]
    same = np.zeros((height, width), bool)
    overlap = mask[:height, :width]
    same[: overlap.shape[0], : overlap.shape[1]] = overlap
    return (same,)
