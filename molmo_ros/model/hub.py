# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints by hub id: fetched when a user asks for that, found again without a network."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from molmo_ros import git_lfs
from molmo_ros.errors import shortened
from molmo_ros.model.config import UnsupportedCheckpoint
from molmo_ros.model.folder import check_folder

_HUB_ID = re.compile(
    r'(?P<id>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?', re.ASCII
)
# No code and no pickles, so that there are none to run.
_PATTERNS = ['*.safetensors', '*.json', '*.txt', '*.md', 'LICENSE*']


def checkpoint_folder(checkpoint: str | Path) -> Path:
    """Return the folder that a path or a hub id (`owner/name` or `owner/name@revision`) stands for.

    No network: a hub id must have been fetched. Raises UnsupportedCheckpoint, saying how to.
    """
    folder = Path(checkpoint).expanduser()
    if folder.is_dir():
        check_folder(folder)
        return folder
    if folder.exists():
        raise UnsupportedCheckpoint(
            f'{checkpoint} is a file: name the folder that it is in, {folder.parent}'
        )
    hub = _HUB_ID.fullmatch(str(checkpoint))
    if hub is None:
        raise UnsupportedCheckpoint(
            f'{checkpoint} is neither a folder nor a hub id (owner/name, owner/name@revision)'
            f'{_hint(folder)}'
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        found = snapshot_download(
            hub['id'], revision=hub['revision'], allow_patterns=_PATTERNS, local_files_only=True
        )
    except LocalEntryNotFoundError as error:
        raise UnsupportedCheckpoint(
            f'{checkpoint} is no folder here and was not fetched; nothing is downloaded unasked: '
            f'molmo-ros fetch {checkpoint}{_hint(folder)}'
        ) from error
    check_folder(Path(found))
    return Path(found)


def _hint(folder: Path) -> str:
    """How far a path leads, and what is there that is called alike; '' where it leads nowhere."""
    there = next(parent for parent in folder.absolute().parents if parent.is_dir())
    lacks = folder.absolute().relative_to(there).parts[0]
    if not folder.is_absolute() and there == Path.cwd():
        return ''
    try:
        names = [path.name for path in there.iterdir() if path.is_dir()]
    except OSError:
        names = []
    near = get_close_matches(lacks, names, n=1)
    meant = f'; did you mean {there / near[0]}?' if near else ''
    return f': {there} has no {lacks}{meant}'


def checkpoint_name(checkpoint: str | Path) -> str:
    """What a report calls it: the name of its folder, or the hub id."""
    folder = Path(checkpoint).expanduser()
    return folder.resolve().name if folder.is_dir() else str(checkpoint)


def refuse_pointers(folder: Path) -> None:
    """Raise UnsupportedCheckpoint where git-lfs left a pointer in the place of a file."""
    for pattern in _PATTERNS:
        for path in sorted(folder.glob(pattern)):
            if git_lfs.is_pointer_file(path):
                raise UnsupportedCheckpoint(f'{path} is {git_lfs.WHAT_TO_DO}')


@dataclass(frozen=True)
class Download:
    """What is about to be fetched: bytes that are not here yet, where to, and bytes free there."""

    size: int
    folder: Path
    free: int

    def __str__(self) -> str:
        if not self.size:
            return f'all of it is in {self.folder} already'
        return (
            f'{self.size / 1e9:.2f} GB to download to {self.folder} (HF_HOME), where '
            f'{self.free / 1e9:.1f} GB are free'
        )


def fetch_checkpoint(
    checkpoint: str, on_download: Callable[[Download], None] = lambda download: None
) -> Path:
    """Download a hub id, pinned where it says `@revision`; returns the folder.

    The folder's name is the commit, which pins the same files from then on. on_download: told
    before anything is. HF_TOKEN, HF_HOME and HF_ENDPOINT count as everywhere with the hub. Raises
    UnsupportedCheckpoint where the id is not one, and OSError where the hub does not give it, or
    the disk has no room.
    """
    hub = _HUB_ID.fullmatch(checkpoint)
    if hub is None:
        raise UnsupportedCheckpoint(
            f'{checkpoint!r} is not a hub id: owner/name or owner/name@revision'
        )
    from huggingface_hub import constants, snapshot_download

    wanted: dict[str, Any] = {'revision': hub['revision'], 'allow_patterns': _PATTERNS}
    try:
        planned = snapshot_download(hub['id'], dry_run=True, **wanted)
        size = sum(file.file_size for file in planned if file.will_download)
        folder = Path(constants.HF_HUB_CACHE)
        download = Download(size, folder, _free(folder))
        on_download(download)
        if size > download.free:
            raise OSError(f'{download}: make room, or set HF_HOME to a folder on another disk')
        found = snapshot_download(hub['id'], **wanted)
    except Exception as error:
        raise _not_fetched(checkpoint, constants.ENDPOINT, error) from error
    return Path(found)


def _free(folder: Path) -> int:
    """Bytes free where a folder is, or will be."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def _not_fetched(checkpoint: str, endpoint: str, error: Exception) -> OSError:
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    causes = tuple(_causes(error))
    said = shortened(' '.join(str(causes[-1]).split()), 200)

    def caused(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    if caused(GatedRepoError):
        return OSError(
            f'{checkpoint} wants a licence to be accepted: do so at {endpoint}, and set HF_TOKEN'
        )
    if caused(RepositoryNotFoundError):
        return OSError(
            f'{endpoint} has no {checkpoint}, or not for everybody: is the name right? One that is '
            'not public wants HF_TOKEN'
        )
    if caused(RevisionNotFoundError):
        return OSError(f'{checkpoint} has no such revision at {endpoint}')
    if type(error) is OSError:
        return error
    return OSError(
        f'{endpoint} did not give {checkpoint} ({said}): is there a network? HF_ENDPOINT names '
        'another hub; a folder that was brought by hand does as well (docs/checkpoints.md)'
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
