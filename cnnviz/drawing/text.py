"""Words on pictures: measured, wrapped and shortened; in the font that ships with matplotlib unless told otherwise."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from PIL import ImageFont

from cnnviz.errors import ParameterError, UnknownNameError

__all__ = ["FAMILY", "Lettering", "ascent", "current_style", "font", "line_height", "style", "text_width", "wrap"]

FAMILY: Final = "DejaVu Sans"
USUAL_SIZE: Final = 8.0
_LAST_RESORT = "Last Resort"
_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
_UNKNOWN = "\N{REPLACEMENT CHARACTER}"
_UNSEEN = frozenset([0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xFFF9, 0xFFFC)])
"""Marks of byte order and of direction, which show nothing and turn words around, or cannot be written as PDF."""


class Lettering(NamedTuple):
    """How words are set: the family of the font, and the size of ordinary text in points."""

    font: str = FAMILY
    size: float = USUAL_SIZE


class _Current:
    """What holds in this process."""

    lettering = Lettering()


class style:  # noqa: N801 - called as a function, and as one in ``with``
    """Set the font and text size of everything that is drawn from now on; in a ``with`` statement only inside it.

    Figures depend on this and on the options that a call is given, never on a ``matplotlibrc``.

    Args:
        font: A family that matplotlib finds, such as ``"DejaVu Serif"``; None leaves it as it is.
        size: Of ordinary text in points, where the width on paper is given; None leaves it as it is.

    Raises:
        UnknownNameError: There is no such font.
        ParameterError: The size is not above 0.
    """

    def __init__(self, *, font: str | None = None, size: float | None = None) -> None:
        self._before = _Current.lettering
        known = self._before.font if font is None else _family_named(font)
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


def _family_named(name: str) -> str:
    """The family as matplotlib spells it, found whatever the case of its letters."""
    from matplotlib.font_manager import fontManager

    families = [each for each in fontManager.get_font_names() if not each.startswith(_LAST_RESORT)]
    found = {each.lower(): each for each in families}.get(str(name).lower())
    if found is None:
        raise UnknownNameError(
            "font", str(name), sorted(families), "Any font family that matplotlib finds can be named."
        )
    return found


def _points(size: float) -> float:
    """A text size as a number."""
    if isinstance(size, bool) or not isinstance(size, (int, float)) or not math.isfinite(size) or size <= 0:
        raise ParameterError(f"The text size is a number of points above 0, not {size!r}.")
    return float(size)


def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """The current font with ``size`` pixels an em; DejaVu Sans has the same letters on every machine."""
    return _font_of(current_style().font, size, bold=bold)


@cache
def _font_of(family: str, size: int, *, bold: bool) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(_font_file(family, bold=bold)), size, layout_engine=ImageFont.Layout.BASIC)


def line_height(size: int) -> int:
    """From one baseline to the next, in pixels."""
    return round(1.25 * size)


def ascent(size: int) -> int:
    """From the top of a line to its baseline, in pixels."""
    return round(0.98 * size)


def text_width(text: str, size: int, *, bold: bool = False) -> float:
    """How far one line reaches, in pixels."""
    return font(size, bold=bold).getlength(text)


def wrap(text: str, width: int, size: int, *, bold: bool = False, most: int = 3) -> tuple[str, ...]:
    """Lines that are never wider than ``width`` pixels.

    Args:
        text: May have line breaks of its own; characters that the font lacks are replaced by a question mark in a
            diamond.
        width: In pixels.
        size: Of the font, pixels an em.
        bold: Whether the font is bold.
        most: How many lines there may be; what does not fit ends in an ellipsis.
    """
    lines: list[str] = []
    for paragraph in _replace_unknown(text).splitlines():
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
    """A word in pieces that fit, broken after a dot, slash, dash or underscore where there is one; no more than most.

    What is left over then is the last piece, however wide it is.
    """
    pieces: list[str] = []
    while len(pieces) < most and len(word) > 1 and text_width(word, size, bold=bold) > width:
        fits = max(1, _count_fitting(word, width, size, bold=bold))
        seam = max(word.rfind(mark, 0, fits) for mark in "._/-") + 1
        cut = seam if seam > fits // 3 else fits
        pieces.append(word[:cut])
        word = word[cut:]
    return [*pieces, word]


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


def _replace_unknown(text: str) -> str:
    known = _known_characters(current_style().font)
    return "".join(letter if letter.isspace() or ord(letter) in known else _UNKNOWN for letter in text)


@cache
def _known_characters(family: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    regular, bold = (FT2Font(str(_font_file(family, bold=bold))).get_charmap() for bold in (False, True))
    return (frozenset(regular) & frozenset(bold)) - _UNSEEN


def _font_file(family: str, *, bold: bool) -> Path:
    """The file of a family; of DejaVu Sans the one that comes with matplotlib, whatever else is installed."""
    if family == FAMILY:
        import matplotlib

        return Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")
    from matplotlib.font_manager import FontProperties, findfont

    weight = "bold" if bold else "normal"
    wanted = FontProperties(family=[family], style="normal", variant="normal", weight=weight, stretch="normal", size=10)
    return Path(findfont(wanted, fallback_to_default=False))
