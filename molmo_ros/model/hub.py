# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints by hub id: fetched when a user asks for that, found again without a network."""

from __future__ import annotations

import re
from pathlib import Path

from molmo_ros import git_lfs
from molmo_ros.model.config import UnsupportedCheckpoint

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
        refuse_pointers(folder)
        return folder
    hub = _HUB_ID.fullmatch(str(checkpoint))
    if hub is None:
        raise UnsupportedCheckpoint(
            f'{checkpoint} is neither a folder nor a hub id (owner/name, owner/name@revision)'
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
            f'molmo-ros fetch {checkpoint}'
        ) from error
    return Path(found)


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


def fetch_checkpoint(checkpoint: str) -> Path:
    """Download a hub id, pinned where it says `@revision`; returns the folder.

    The folder's name is the commit, which pins the same files from then on. Raises
    UnsupportedCheckpoint where the id is not one, and OSError where the hub does not give it.
    """
    hub = _HUB_ID.fullmatch(checkpoint)
    if hub is None:
        raise UnsupportedCheckpoint(
            f'{checkpoint!r} is not a hub id: owner/name or owner/name@revision'
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        found = snapshot_download(hub['id'], revision=hub['revision'], allow_patterns=_PATTERNS)
    except HfHubHTTPError as error:
        raise OSError(f'the hub did not give {checkpoint}: {error}') from error
    return Path(found)
