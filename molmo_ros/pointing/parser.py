# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Text to points: one parser for what every generation of Molmo writes.

Read as points, in the order of the text:

* `<point x="61.5" y="40.4" alt="mug">mug</point>` and `<points x1=.. y1=.. x2=.. y2=.. alt=..>`,
  in percent; x and y belong together by their index;
* `<point p=615,404>` and `<points 1=615,404 2=..>`, in tenths of a percent;
* Molmo2's `<points coords="1 1 615 404 2 ..;2 3 ..">` and `<tracks coords=..>`, in thousandths:
  an image's number (or a time), then id, x, y of each point; a tab or one of `;:,` between images;
* outside tags, in percent: `Click(61.5, 40.4)`, `(61.5, 40.4)` and `{61.5, 40.4}`, each number with
  exactly one decimal as Molmo writes it, `{"x": 61.5, "y": 40.4}`, and `p=615,404`.

So `(2, 3)`, `(2.54, 3.81)` and `(see 3.5, 4.5)` stay prose. A coordinate beyond 100 % (1000 for
Molmo2) drops its point, as the reference does; a point read before is not read again. A tag cut
short counts as far as its pairs are complete: a number is complete when something ends it, or when
it has all its digits (one decimal; three digits for Molmo2, but 100 may become 1000).

The text may be anything. Every repetition in the patterns below is bounded or runs over text that
is not looked at again, so reading is linear in the length; what is beyond MAX_CHARACTERS is unread.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator

from molmo_ros.pointing.points import ImagePoint, Reading

MAX_CHARACTERS = 1 << 17
MAX_LABEL = 200

_OPEN = re.compile(r'<(points?|tracks?)\b')
_CLOSE = re.compile(r'</(?:points?|tracks?)\s{0,8}>?')
_NAME = re.compile(r'[\s,]{0,16}([a-z]{0,16})([0-9]{0,6})\s{0,8}=\s{0,8}')
_QUOTED = re.compile(r'"([^"]*)("?)|\'([^\']*)(\'?)')
# A quote inside the label does not end it, unless the tag's end or an attribute follows.
_ALT = re.compile(
    r'"(.*?)(?:"(?=\s{0,8}/?>|\s{1,8}[a-z]{1,16}[0-9]{0,6}=)|"?\Z)|\'(.*?)(?:\'|\Z)', re.DOTALL
)
_NUMBER = re.compile(r'\s{0,16}([0-9]{1,4}(?:\.[0-9]{1,16})?)\s{0,16}')
_TENTHS = re.compile(r'"?\s{0,8}([0-9]{3,4})\s{0,8},\s{0,8}([0-9]{3,4})(?![0-9])"?')
_SEPARATOR = re.compile(r'[\t:;,]')

_BARE = r'([0-9]{1,4}\.[0-9])'
_KEYED = r'"?([0-9]{1,4}(?:\.[0-9]{1,16}(?![0-9])|(?=[^0-9.])))"?'
_LOOSE = re.compile(
    rf'\({_BARE}(?:, ?| ){_BARE}\)'
    rf'|\{{\s{{0,8}}{_BARE}\s{{0,8}},\s{{0,8}}{_BARE}\s{{0,8}}\}}'
    r'|[{,]\s{0,8}["\']?x["\']?\s{0,8}:\s{0,8}'
    rf'{_KEYED}\s{{0,8}},\s{{0,8}}["\']?y["\']?\s{{0,8}}:\s{{0,8}}{_KEYED}'
    r'|\bp\s{0,8}=\s{0,8}([0-9]{3,4})\s{0,8},\s{0,8}([0-9]{3,4})(?![0-9])'
)

_TOTAL = re.compile(r'\ba total of ([0-9]{1,9})\b')
_THERE_ARE = re.compile(r'There (?:are|is) ([0-9]{1,9})\b(?!\.[0-9])')
_PLAIN_COUNT = re.compile(r'([0-9]{1,9})\.?')
_SENTENCE_END = re.compile(r'[.!?](?:\s|\Z)|\n')
_NONE = re.compile(
    r"\bthere(?: is| are|'s) none\b"
    r"|\b(?:is|are)(?:n't| not) (?:(?:present|visible|shown) )?"
    r'in (?:the|this) (?:image|picture|photo)\b'
    r"|\bthere(?: is| are|'s) no .{1,200} in (?:the|this) (?:image|picture|photo)\b"
    r'|\Anone\Z',
    re.IGNORECASE,
)
_APOSTROPHES = str.maketrans('\u2018\u2019\u02bc\u00b4`', "'''''")

# x and y as shares of the image's size (0..1), the label, and which image.
_Share = tuple[float, float, str, int]


def read_points(text: str, width: int, height: int) -> Reading:
    """Read an answer about an image of `width` x `height` pixels; no text makes it raise.

    Points come in pixels of that image: u = x / 100 * width and v = y / 100 * height, so a point at
    100 % has u = width and counts as inside. A label is the tag's alt text, else what the tag
    encloses, with character entities resolved, on one line, at most MAX_LABEL characters.
    `image_index` is the image's number in the text less one (for times, the ordinal of the group).
    Raises ValueError for a size below one pixel.
    """
    if width < 1 or height < 1:
        raise ValueError(f'an image has at least one pixel, not {width} x {height}')
    shares: list[_Share] = []
    prose: list[str] = []
    for piece in _pieces(text[:MAX_CHARACTERS]):
        if isinstance(piece, str):
            prose.append(piece)
            shares.extend(_loose_points(piece))
        else:
            shares.extend(piece)
    points = tuple(
        ImagePoint(x * width, y * height, label, image_index=image)
        for x, y, label, image in _distinct(shares)
    )
    words = ' '.join(prose).strip()
    count = stated_count(words)
    absent = not points and absence_in(words, count)
    return Reading(points, 0 if absent else count, absent)


def _pieces(text: str) -> Iterator[str | list[_Share]]:
    """Cut the text into prose (str) and tags (their points)."""
    tags = list(_OPEN.finditer(text))
    ends = [*(tag.start() for tag in tags), len(text)]
    yield text[: ends[0]]
    for tag, end in zip(tags, ends[1:], strict=True):
        close = _CLOSE.search(text, tag.end(), end)
        points, after = _tag_points(tag, close.start() if close else end)
        yield points
        yield text[close.end() if close else after : end]


def _tag_points(tag: re.Match[str], end: int) -> tuple[list[_Share], int]:
    """Read one tag, its enclosed text up to `end`; also return where its attributes end."""
    text, position = tag.string, tag.end()
    pairs: list[tuple[float, float, int]] = []
    pending: dict[str, float | None] = {}
    label = ''
    while name := _NAME.match(text, position, end):
        key, index, position = name.group(1), name.group(2), name.end()
        if key == 'alt':
            value = _ALT.match(text, position, end)
            label = (value.group(1) or value.group(2) or '') if value else ''
        elif key in ('', 'p') and (value := _TENTHS.match(text, position, end)):
            pairs.append((int(value.group(1)) / 1000, int(value.group(2)) / 1000, 0))
        elif value := _QUOTED.match(text, position, end):
            written = value.group(1) or value.group(3) or ''
            closed = bool(value.group(2) or value.group(4))
            if key == 'coords':
                pairs.extend(_coords(written, closed, timed=tag.group(1).startswith('track')))
            elif key == 'x':
                pending[index] = _percent(written, closed)
            elif key == 'y':
                x, y = pending.pop(index, None), _percent(written, closed)
                if x is not None and y is not None:
                    pairs.append((x, y, 0))
        if not value:
            break
        position = value.end()
    label = clean_label(label) or clean_label(_enclosed(text, position, end))
    return [(x, y, label, image) for x, y, image in pairs], position


def _percent(written: str, closed: bool) -> float | None:
    number = _NUMBER.fullmatch(written)
    if number is None or not (closed or '.' in number.group(1)):
        return None
    return float(number.group(1)) / 100


def _coords(written: str, closed: bool, timed: bool) -> Iterator[tuple[float, float, int]]:
    """Read Molmo2's groups: an image's number or a time, then id, x, y for each point."""
    last = written.rpartition(' ')[2]
    if not closed and (len(last) < 3 or last == '100'):
        written = written.removesuffix(last)
    for ordinal, group in enumerate(_SEPARATOR.split(written)):
        head, *fields = group.split() or ['']
        image = max(int(head) - 1, 0) if _is_integer(head, 1, 9) and not timed else ordinal
        at = 0
        while at + 3 <= len(fields):
            name, x, y = fields[at : at + 3]
            if _is_integer(name, 1, 9) and _is_integer(x, 3, 4) and _is_integer(y, 3, 4):
                yield int(x) / 1000, int(y) / 1000, image
                at += 3
            else:
                at += 1


def _is_integer(field: str, least: int, most: int) -> bool:
    return least <= len(field) <= most and field.isascii() and field.isdigit()


def _loose_points(prose: str) -> Iterator[_Share]:
    for match in _LOOSE.finditer(prose):
        first, second = (value for value in match.groups() if value is not None)
        scale = 1000 if match.group(0).startswith('p') else 100
        yield float(first) / scale, float(second) / scale, '', 0


def _distinct(shares: Iterable[_Share]) -> Iterator[_Share]:
    """Drop what lies outside the image or has been read before."""
    seen: set[tuple[float, float, int]] = set()
    for x, y, label, image in shares:
        if x <= 1 and y <= 1 and (x, y, image) not in seen:
            seen.add((x, y, image))
            yield x, y, label, image


def _enclosed(text: str, position: int, end: int) -> str:
    """Return what a tag encloses, its first line: a tag cut short encloses all that follows."""
    content = text[position:end].lstrip()
    return content[1:].partition('\n')[0] if content.startswith('>') else ''


def clean_label(label: str) -> str:
    """One printable line of at most MAX_LABEL characters, character entities resolved."""
    label = html.unescape(label[: 4 * MAX_LABEL])
    return ' '.join(
        ''.join(character if character.isprintable() else ' ' for character in label).split()
    )[:MAX_LABEL]


def stated_count(words: str) -> int | None:
    """The number that the words beside points state; None if they state none."""
    for found in (_TOTAL.search(words), _THERE_ARE.match(words), _PLAIN_COUNT.fullmatch(words)):
        if found:
            return int(found.group(1))
    return None


def absence_in(words: str, count: int | None) -> bool:
    """The absence rule: the number stated is 0; or none is, and the first sentence says so.

    A later sentence may speak of something else.
    """
    if count is not None:
        return count == 0
    sentence = _SENTENCE_END.split(words[: 2 * MAX_LABEL], maxsplit=1)[0]
    return _NONE.search(sentence.translate(_APOSTROPHES)) is not None
