"""A line of text: in pieces that one font sets each, measured and drawn in pixels.

Latin letters and most others are set one after the other. Scripts whose letters join, stack or run from right to left
are shaped by Raqm, where Pillow and matplotlib have it.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache, lru_cache
from typing import Any, Final, Literal, NamedTuple

from PIL import ImageDraw, ImageFont, features

from cnnviz.drawing.fonts.families import characters_of, families_for, font_file, replace_unknown, say

__all__ = ["check_matplotlib", "draw_line", "font_of", "line_width"]

_SHAPED: Final = re.compile("[\u0590-\u109f\u1780-\u18af\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff]")
"""Letters that join, stack or run from right to left: Hebrew and Arabic, Indic scripts, Thai, Khmer, Mongolian."""
_RIGHT_TO_LEFT: Final = ("R", "AL")
_STRONG: Final = ("L", *_RIGHT_TO_LEFT)
_MARKS: Final = ("Mn", "Mc", "Me", "Cf")

Direction = Literal["ltr", "rtl"]


class _Piece(NamedTuple):
    """Some text that one family sets."""

    family: str
    text: str


def font_of(family: str, size: int, *, bold: bool) -> ImageFont.FreeTypeFont:
    """A family with ``size`` pixels an em, which sets letters one after the other."""
    return _load(family, size, ImageFont.Layout.BASIC, bold=bold)


@cache
def _load(family: str, size: int, engine: ImageFont.Layout, *, bold: bool) -> ImageFont.FreeTypeFont:
    file = font_file(family, bold=bold)
    return ImageFont.truetype(file.path, size, index=file.face, layout_engine=engine)


def _is_shaped(text: str) -> bool:
    """Whether some letters of a text have to be joined or put in another order than they are written in."""
    return not text.isascii() and _SHAPED.search(text) is not None


def line_width(family: str, text: str, size: int, *, bold: bool = False) -> float:
    """How far one line reaches, in pixels.

    Args:
        family: The font; others stand in for what it lacks.
        text: Without line breaks.
        size: Pixels an em.
        bold: Whether the font is bold.
    """
    if _is_plain(family, text):
        return _measure(family, text, size, bold=bold)
    return sum(_widths(family, text, size, bold=bold))


def _is_plain(family: str, text: str) -> bool:
    """Whether a family has all characters of a text and nothing needs to be shaped."""
    return characters_of(family).issuperset(map(ord, text)) and not _is_shaped(text)


@lru_cache(maxsize=4096)
def _measure(family: str, text: str, size: int, *, bold: bool) -> float:
    return font_of(family, size, bold=bold).getlength(text)


def _widths(family: str, text: str, size: int, *, bold: bool) -> list[float]:
    pieces, direction = _pieces(family, text)
    if direction is None:
        return [_measure(piece.family, piece.text, size, bold=bold) for piece in pieces]
    return [_measure_shaped(piece, size, direction, bold=bold) for piece in pieces]


@lru_cache(maxsize=4096)
def _measure_shaped(piece: _Piece, size: int, direction: Direction, *, bold: bool) -> float:
    font = _load(piece.family, size, ImageFont.Layout.RAQM, bold=bold)
    return font.getlength(piece.text, direction=direction)


def draw_line(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    family: str,
    size: int,
    *,
    fill: Any,
    anchor: str = "ls",
    bold: bool = False,
) -> None:
    """Draw one line, as wide as it is measured.

    Args:
        draw: What to draw on.
        place: Of the anchor.
        text: Without line breaks.
        family: The font; others stand in for what it lacks.
        size: Pixels an em.
        fill: The colour.
        anchor: Which point of the line is at the place: the left end, middle or right end, and the baseline or the
            middle of the height, as Pillow writes them.
        bold: Whether the font is bold.
    """
    font = font_of(family, size, bold=bold)
    if _is_plain(family, text):
        draw.text(place, text, fill=fill, font=font, anchor=anchor)
        return
    pieces, direction = _pieces(family, text)
    widths = _widths(family, text, size, bold=bold)
    above, below = font.getmetrics()
    baseline = place[1] + (round((above - below) / 2) if anchor[1] == "m" else 0)
    left = place[0] - {"l": 0.0, "m": 0.5, "r": 1.0}[anchor[0]] * sum(widths)
    engine = ImageFont.Layout.BASIC if direction is None else ImageFont.Layout.RAQM
    for piece, width in zip(pieces, widths, strict=True):
        own = _load(piece.family, size, engine, bold=bold)
        draw.text((round(left), baseline), piece.text, fill=fill, font=own, anchor="ls", direction=direction)
        left += width


def _pieces(family: str, text: str) -> tuple[tuple[_Piece, ...], Direction | None]:
    """A line in pieces from left to right, and the direction it is shaped in; None where nothing is shaped."""
    known = replace_unknown(family, text)
    shaped = _is_shaped(known)
    if shaped and not features.check("raqm"):
        _say_unshaped("this Pillow", "a wheel of Pillow from PyPI")
        shaped = False
    families = families_for(family, known)
    pieces = [_Piece(family, known)] if len(families) == 1 else _split(known, families, sticky=shaped)
    direction = _direction(known) if shaped else None
    return tuple(reversed(pieces) if direction == "rtl" else pieces), direction


def _split(text: str, families: tuple[str, ...], *, sticky: bool) -> list[_Piece]:
    """A text in pieces, each character in the first family that has it.

    Marks and joiners stay with their letters; with ``sticky``, whatever has no direction of its own stays with what is
    before it.
    """
    pieces: list[_Piece] = []
    for letter in text:
        before = pieces[-1] if pieces else None
        stays = unicodedata.category(letter) in _MARKS or letter.isspace()
        stays = stays or (sticky and unicodedata.bidirectional(letter) not in _STRONG)
        first = next((each for each in families if ord(letter) in characters_of(each)), families[0])
        if before and (before.family == first or (stays and ord(letter) in characters_of(before.family))):
            pieces[-1] = _Piece(before.family, before.text + letter)
        else:
            pieces.append(_Piece(first, letter))
    return pieces


def _direction(text: str) -> Direction:
    """The direction of a line: that of its first letter that has one."""
    first = next((kind for kind in map(unicodedata.bidirectional, text) if kind in _STRONG), "L")
    return "rtl" if first in _RIGHT_TO_LEFT else "ltr"


def check_matplotlib(text: str) -> None:
    """Say once if this matplotlib cannot shape a text that needs it; one from 3.11 on can."""
    from matplotlib import ft2font

    if _is_shaped(text) and not hasattr(ft2font, "__libraqm_version__"):
        _say_unshaped("this matplotlib", "matplotlib 3.11, or a viewer of SVG,")


_SAID: set[str] = set()


def _say_unshaped(who: str, instead: str) -> None:
    """Say once that letters which should be joined, or run from right to left, are drawn apart and in writing order.

    Args:
        who: What draws them so.
        instead: What draws them well.
    """
    if who not in _SAID:
        _SAID.add(who)
        say(
            f"{who} has no Raqm, so letters of Arabic, Hebrew or Indic scripts are drawn one by one from left to "
            f"right, not joined; {instead} joins them"
        )
