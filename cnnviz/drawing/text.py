"""Words on pictures: measured, wrapped and shortened; in the font that ships with matplotlib unless told otherwise."""

from __future__ import annotations

import math
import re
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

from PIL import ImageDraw, ImageFont

from cnnviz.drawing.fonts.families import FAMILY, families_for, family_named, replace_unknown
from cnnviz.drawing.fonts.lines import check_matplotlib, draw_line, font_of, line_width
from cnnviz.errors import ParameterError

__all__ = [
    "FAMILY",
    "Lettering",
    "ascent",
    "current_style",
    "draw_text",
    "families",
    "font",
    "line_height",
    "style",
    "text_width",
    "widest_piece",
    "wrap",
]

USUAL_SIZE: Final = 8.0
_SIGNS: Final = (
    "\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3041-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
    "\uff10-\uff3a\uff41-\uff5a\uff66-\uff9f\U00020000-\U0003fffd"
)
_OPEN: Final = "\u3008\u300a\u300c\u300e\u3010\u3014\u3016\u3018\u301a\uff08\uff3b\uff5b"
_SHUT = "\u3001\u3002\u3009\u300b\u300d\u300f\u3011\u3015\u3017\u3019\u301b"
_SHUT += "\uff01\uff09\uff0c\uff0e\uff1a\uff1b\uff1f\uff3d\uff5d"
_SEAMS = re.compile(
    rf"(?<=[._/-])(?=[^._/-])|(?<=[{_SIGNS}{_SHUT}])(?=[A-Za-z{_SIGNS}{_OPEN}])|(?<=[A-Za-z])(?=[{_SIGNS}{_OPEN}])"
)
"""Where a word may be broken: after a dot, slash, dash or underscore, and around ideographs, kana and Hangul, but not
before a sign that closes something, nor after one that opens it."""
_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"


class Lettering(NamedTuple):
    """How words are set: the family of the font, and the size of ordinary text in points."""

    font: str = FAMILY
    size: float = USUAL_SIZE


class _Current:
    """What holds in this process."""

    lettering = Lettering()


class style:  # noqa: N801 - called as a function, and as one in ``with``
    """Set the font and text size of everything that is drawn from now on; in a ``with`` statement only inside it.

    Figures depend on this and on the options that a call is given, never on a ``matplotlibrc``. What the font lacks is
    drawn in another installed one that has it; where none has, a :class:`FontWarning` says so.

    Args:
        font: A family that matplotlib finds, such as ``"DejaVu Serif"``; None leaves it as it is.
        size: Of ordinary text in points, where the width on paper is given; None leaves it as it is.

    Raises:
        UnknownNameError: There is no such font.
        ParameterError: The size is not above 0.
    """

    def __init__(self, *, font: str | None = None, size: float | None = None) -> None:
        self._before = _Current.lettering
        known = self._before.font if font is None else family_named(font)
        _Current.lettering = Lettering(known, self._before.size if size is None else _points(size))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _Current.lettering = self._before


def current_style() -> Lettering:
    """The font and text size that hold now."""
    return _Current.lettering


def _points(size: float) -> float:
    """A text size as a number."""
    if isinstance(size, bool) or not isinstance(size, (int, float)) or not math.isfinite(size) or size <= 0:
        raise ParameterError(f"The text size is a number of points above 0, not {size!r}.")
    return float(size)


def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The current font with ``size`` pixels an em; DejaVu Sans has the same letters on every machine."""
    return font_of(current_style().font, size, bold=bold)


def families(text: str) -> str | list[str]:
    """The current font as matplotlib takes it; for a text with characters that it lacks with those that have them.

    Args:
        text: As :func:`wrap` returns it.
    """
    check_matplotlib(text)
    found = families_for(current_style().font, text)
    return found[0] if len(found) == 1 else list(found)


def draw_text(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    size: int,
    *,
    fill: Any,
    anchor: str = "ls",
    bold: bool = False,
) -> None:
    """Draw one line in the current font, as wide as :func:`text_width` says.

    Args:
        draw: What to draw on.
        place: Of the anchor.
        text: Without line breaks.
        size: Of the font, pixels an em.
        fill: The colour.
        anchor: ``"l"``, ``"m"`` or ``"r"`` across, ``"s"`` (baseline) or ``"m"`` down, as Pillow has them.
        bold: Whether the font is bold.
    """
    draw_line(draw, place, text, current_style().font, size, fill=fill, anchor=anchor, bold=bold)


def line_height(size: int) -> int:
    """From one baseline to the next, in pixels."""
    return round(1.25 * size)


def ascent(size: int) -> int:
    """From the top of a line to its baseline, in pixels."""
    return round(0.98 * size)


def text_width(text: str, size: int, *, bold: bool = False) -> float:
    """How far one line reaches, in pixels."""
    return line_width(current_style().font, text, size, bold=bold)


def widest_piece(text: str, size: int, *, bold: bool = False) -> float:
    """How wide the widest part of a text is that is not broken: words, and what stands between dots and dashes."""
    words = replace_unknown(current_style().font, text).split()
    return max((text_width(part, size, bold=bold) for word in words for part in _SEAMS.split(word)), default=0.0)


def wrap(text: str, width: int, size: int, *, bold: bool = False, most: int = 3) -> tuple[str, ...]:
    """Lines that are never wider than ``width`` pixels.

    Args:
        text: May have line breaks of its own; characters that no font has are replaced by a question mark in a
            diamond.
        width: In pixels.
        size: Of the font, pixels an em.
        bold: Whether the font is bold.
        most: How many lines there may be; what does not fit ends in an ellipsis.
    """
    lines: list[str] = []
    for paragraph in replace_unknown(current_style().font, text).splitlines():
        lines.extend(_wrap_words(paragraph.split(), width, size, bold=bold, most=most - len(lines)))
        if len(lines) > most:
            break
    if len(lines) > most:
        lines = [*lines[: most - 1], _shorten(f"{lines[most - 1]}{_ELLIPSIS}", width, size, bold=bold)]
    return tuple(lines)


def _wrap_words(words: list[str], width: int, size: int, *, bold: bool, most: int) -> list[str]:
    """The first lines of a paragraph: all of them, or one more than there may be."""
    lines = [""]
    for word in words:
        if len(lines) > most + 1:
            break
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if text_width(longer, size, bold=bold) <= width:
            lines[-1] = longer
            continue
        pieces = _break_word(word, width, size, bold=bold, most=most + 1)
        lines = [line for line in lines if line] + pieces
    return lines


def _break_word(word: str, width: int, size: int, *, bold: bool, most: int) -> list[str]:
    """A word in pieces that fit, broken after a dot, slash, dash or underscore, or between signs that are words.

    A piece that is wider than there is room ends in an ellipsis. There are no more pieces than most.
    """
    pieces: list[str] = []
    for part in _SEAMS.split(word):
        if pieces and text_width(pieces[-1] + part, size, bold=bold) <= width:
            pieces[-1] += part
        elif len(pieces) > most:
            break
        else:
            pieces.append(part)
    return [_shorten(piece, width, size, bold=bold) for piece in pieces]


def _count_fitting(text: str, width: float, size: int, *, bold: bool) -> int:
    """How many of the first characters fit."""
    least, most = 0, len(text)
    while least < most:
        middle = (least + most + 1) // 2
        if text_width(text[:middle], size, bold=bold) <= width:
            least = middle
        else:
            most = middle - 1
    return least


def _shorten(line: str, width: int, size: int, *, bold: bool) -> str:
    if text_width(line, size, bold=bold) <= width:
        return line
    room = width - text_width(_ELLIPSIS, size, bold=bold)
    return line[: _count_fitting(line, room, size, bold=bold)].rstrip() + _ELLIPSIS
