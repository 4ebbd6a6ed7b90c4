# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Calibration files as text: YAML, JSON or XML, and what terminals leave around it."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml

from molmo_ros import git_lfs
from molmo_ros.errors import UserError

Fields = dict[str, Any]

_LARGEST_BYTES = 1 << 20
_MARKS = {
    codecs.BOM_UTF8: 'utf-8-sig',
    codecs.BOM_UTF16_LE: 'utf-16',
    codecs.BOM_UTF16_BE: 'utf-16',
}
# Between the messages that `ros2 topic echo` prints; the last line may run into what follows.
_CHATTER = re.compile(
    r'^[ \t]*(?:A message was lost!!!|total count(?: change)?:[ \t]*\d+|'
    r'\[(?:INFO|WARN|ERROR)\].*|WARNING: topic .*)',
    re.MULTILINE,
)
# YAML's reader is slow to find out by itself.
_DEEP = re.compile(r'(?:[\[{]\s*){16}')
# Of a recording, which is as long as somebody waited.
_MOST_DOCUMENTS = 10
# OpenCV's own directive is none of YAML's: `%YAML:1.0`.
_DIRECTIVE = re.compile(r'^%.*\n?', re.MULTILINE)


def read_documents(path: Path) -> list[Fields]:
    """The mappings of a file, one for each document in it.

    Numbers may come as text ('1e-05'), keys as they are written. Raises UserError.
    """
    text = _text(path)
    too_deep = UserError(f'{path} is nested too deeply to be a calibration')
    if _DEEP.search(text):
        raise too_deep
    try:
        found = _parsed(path, text)
    except RecursionError as error:
        raise too_deep from error
    return [item for document in found for item in _mappings(document)]


def _text(path: Path) -> str:
    try:
        with path.open('rb') as file:
            data = file.read(_LARGEST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UserError(f'{path} cannot be read: {first_line(error)}') from error
    if len(data) > _LARGEST_BYTES:
        raise UserError(f'{path} is too large to be a calibration')
    if git_lfs.is_pointer(data):
        raise UserError(f'{path} is {git_lfs.WHAT_TO_DO}')
    encoding = next((name for mark, name in _MARKS.items() if data.startswith(mark)), 'utf-8')
    try:
        return data.decode(encoding).replace('\r\n', '\n').replace('\r', '\n')
    except UnicodeDecodeError as error:
        raise UserError(f'{path} cannot be read as text: {error}') from error


def _parsed(path: Path, text: str) -> list[Any]:
    begins = text.lstrip()[:1]
    if begins == '<':
        return [_from_xml(path, text.lstrip())]
    if begins in ('{', '['):
        # YAML would stumble over the tabs that JSON may be indented with.
        try:
            return [json.loads(text)]
        except ValueError:
            pass
    return list(islice(_from_yaml(path, text), _MOST_DOCUMENTS))


def _from_yaml(path: Path, text: str) -> Iterator[Any]:
    plain = _DIRECTIVE.sub('', _CHATTER.sub('', text)).expandtabs(8)
    any_came = False
    try:
        # The base loader makes text of all scalars and nothing of tags: it runs nothing.
        for document in yaml.load_all(plain, yaml.BaseLoader):
            yield document
            any_came = any_came or bool(document)
    except (yaml.YAMLError, ValueError) as error:
        # A recording that was stopped breaks off in its last document.
        if not any_came:
            raise UserError(
                f'{path} is neither YAML nor JSON nor XML: {first_line(error)}'
            ) from error


def _from_xml(path: Path, text: str) -> Fields:
    if '<!' in re.sub(r'<!--.*?-->', '', text, flags=re.DOTALL):
        raise UserError(f'{path} has definitions of its own, which no calibration needs')
    try:
        root = ElementTree.fromstring(text.encode())
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise UserError(f'{path} is no XML that can be read: {first_line(error)}') from error
    return {child.tag: _xml_value(child) for child in root}


def _xml_value(element: ElementTree.Element) -> Any:
    if len(element):
        return {child.tag: _xml_value(child) for child in element}
    return (element.text or '').strip()


def _mappings(document: Any) -> Iterator[Fields]:
    """A document that is a mapping, or those in a document that is a list."""
    for item in document if isinstance(document, list) else [document]:
        if isinstance(item, dict):
            yield {str(key): value for key, value in item.items()}


def first_line(error: Exception) -> str:
    """What an exception says, in one line."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
