"""Words on pictures: measured, wrapped and shortened in the font that ships with matplotlib."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from PIL import ImageFont

__all__ = ["FAMILY", "ascent", "font", "line_height", "text_width", "wrap"]

FAMILY = "DejaVu Sans"
_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
_UNKNOWN = "\N{REPLACEMENT CHARACTER}"
_UNSEEN = frozenset([0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xFFF9, 0xFFFC)])
"""Marks of byte order and of direction, which show nothing and turn words around, or cannot be written as PDF."""


@cache
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans of ``size`` pixels an em; the same letters on every machine."""
    return ImageFont.truetype(str(_font_file(bold=bold)), size, layout_engine=ImageFont.Layout.BASIC)


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
    known = _known_characters()
    return "".join(letter if letter.isspace() or ord(letter) in known else _UNKNOWN for letter in text)


@cache
def _known_characters() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    regular, bold = (FT2Font(str(_font_file(bold=bold))).get_charmap() for bold in (False, True))
    return (frozenset(regular) & frozenset(bold)) - _UNSEEN


def _font_file(*, bold: bool) -> Path:
    import matplotlib

    return Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf")
