# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which words of `ask` are pictures and which one is the question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from molmo_ros.cameras.opening import BAGS, names_camera
from molmo_ros.cameras.pictures import PICTURES, VIDEOS
from molmo_ros.cameras.web import is_address
from molmo_ros.errors import UserError

STDIN = '-'
_SUFFIXES = (*PICTURES, *VIDEOS, *BAGS)


@dataclass(frozen=True)
class Words:
    """pictures: files, folders, addresses, cameras, '-'. question: None where there is none."""

    pictures: tuple[str, ...]
    question: str | None


def read_words(words: Sequence[str], asks_elsewhere: bool) -> Words:
    """Tell the pictures from the question, which comes last. Raises UserError.

    asks_elsewhere: the questions are in a file, and all words are pictures. A last word that names
    a picture is one, and the question is asked for.
    """
    if asks_elsewhere or not words:
        return Words(_expanded(words), None)
    if _names_picture(words[-1]) or (len(words) == 1 and exists(words[0])):
        return Words(_expanded(words), None)
    *pictures, question = words
    if pictures and _is_loose(pictures[-1]):
        # From the first on: a word in the middle may be the name of a file by chance.
        first = next(i for i, word in enumerate(pictures) if _is_loose(word))
        quoted = ' '.join(words[first:])
        before = ' '.join(('molmo-ros ask', *pictures[:first]))
        raise UserError(
            f"'{pictures[first]}' is no file. If it belongs to the question, put the question in "
            f'quotes: {before} "{quoted}"'
        )
    return Words(_expanded(pictures), question)


def exists(word: str) -> bool:
    """Whether there is a file or a folder of that name; no name is too long to ask."""
    try:
        return Path(word).exists()
    except (OSError, ValueError):
        return False


def _names_picture(word: str) -> bool:
    """Whether a word can only be meant as a picture, even where a question could stand."""
    if word == STDIN or is_address(word) or names_camera(word):
        return True
    if exists(word):
        return Path(word).is_file() or word.endswith('/')
    ends_so = word.lower().endswith(_SUFFIXES) and not any(c.isspace() for c in word)
    return ends_so or bool(has_magic(word) and glob(word))


def _is_loose(word: str) -> bool:
    """Whether a word is nothing but a word."""
    if _names_picture(word) or exists(word):
        return False
    return not any(c in word for c in '/\\.*[')


def _expanded(words: Sequence[str]) -> tuple[str, ...]:
    """With the files in place of a pattern that no shell has replaced. Raises UserError."""
    names: list[str] = []
    for word in words:
        if is_address(word) or not has_magic(word) or exists(word):
            names.append(word)
            continue
        found = sorted(glob(word))
        if not found:
            raise UserError(f'there is no file {word}')
        names += found
    return tuple(names)
