"""Font families: their files and characters, and which family stands in for one that lacks a character.

The order in which families stand in depends on their names only, and matplotlib chooses by the same order.
"""

from __future__ import annotations

import logging
import re
import sys
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cnnviz.errors import UnknownNameError

if TYPE_CHECKING:
    from matplotlib.font_manager import FontProperties

__all__ = [
    "FAMILY",
    "UNKNOWN",
    "FontFile",
    "FontWarning",
    "characters_of",
    "complete",
    "families_for",
    "family_named",
    "font_file",
    "quietly",
    "replace_unknown",
    "say",
]

FAMILY: Final = "DejaVu Sans"
UNKNOWN: Final = "\N{REPLACEMENT CHARACTER}"
_ODD = re.compile(r"Last Resort|Adobe Blank|cm(b|ex|mi|r|ss|sy|ti|tt)10$|STIX(NonUnicode|Size)|.*Color Emoji$")
"""Families that have no letters, other signs where Unicode has letters, or pictures in place of outlines."""
_SPECIAL: Final = frozenset(("mono", "serif", "light", "thin", "black", "condensed", "display", "hk", "tc", "kr", "jp"))
"""Words in the names of families that stand in only where no plainer one does."""
_UNSEEN = frozenset([0xFEFF, *range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xFFF9, 0xFFFC)])
"""Marks of byte order and of direction, which show nothing and turn words around, or cannot be written as PDF."""
_JOINERS: Final = "\u200b\u200c\u200d\u200e\u200f"
"""Signs that show nothing, but by which letters join or change sides."""


class FontWarning(UserWarning):
    """Some text is not drawn as it is written: no font has its characters, or nothing joins its letters."""


def family_named(name: str) -> str:
    """The family as matplotlib spells it, found whatever the case of its letters.

    Raises:
        UnknownNameError: There is none.
    """
    from matplotlib.font_manager import fontManager

    families = [each for each in fontManager.get_font_names() if not each.startswith("Last Resort")]
    found = {each.lower(): each for each in families}.get(str(name).lower())
    if found is None:
        raise UnknownNameError(
            "font", str(name), sorted(families), "Any font family that matplotlib finds can be named."
        )
    return found


class FontFile(NamedTuple):
    """A file, and which of the fonts in it."""

    path: str
    face: int = 0


def font_file(family: str, *, bold: bool) -> FontFile:
    """The file of a family; of DejaVu Sans the one that comes with matplotlib, whatever else is installed."""
    if family == FAMILY:
        import matplotlib

        name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
        return FontFile(str(Path(matplotlib.get_data_path(), "fonts", "ttf", name)))
    from matplotlib.font_manager import FontProperties

    weight = "bold" if bold else "normal"
    wanted = FontProperties(family=[family], style="normal", variant="normal", weight=weight, stretch="normal", size=10)
    return _found(wanted)


@contextmanager
def quietly() -> Iterator[None]:
    """Inside, matplotlib does not log that it draws a font in another weight where there is no bold one."""
    logger = logging.getLogger("matplotlib.font_manager")

    def asked(record: logging.LogRecord) -> bool:  # a new one each time, so that the inner of two takes its own away
        return "Failed to find font weight" not in str(record.msg)

    logger.addFilter(asked)
    try:
        yield
    finally:
        logger.removeFilter(asked)


def _found(wanted: FontProperties) -> FontFile:
    """The file that matplotlib finds; before 3.11 it draws with the first font in a file.

    Raises:
        ValueError: There is none.
    """
    from matplotlib.font_manager import findfont

    with quietly():
        file = findfont(wanted, fallback_to_default=False)
    return FontFile(str(file), getattr(file, "face_index", 0))


@cache
def characters_of(family: str) -> frozenset[int]:
    """The characters that a family has, in regular and in bold."""
    regular, bold = (_characters_in(font_file(family, bold=bold)) for bold in (False, True))
    return (regular & bold) - _UNSEEN


@cache
def _characters_in(file: FontFile) -> frozenset[int]:
    return _read_characters(file)


def _read_characters(file: FontFile) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    more: Any = {"face_index": file.face} if file.face else {}
    return frozenset(FT2Font(file.path, **more).get_charmap())


def families_for(family: str, text: str) -> tuple[str, ...]:
    """The family, and those that stand in for it in a text, the first that has a character drawing it.

    Args:
        family: The one that is asked for.
        text: What is drawn.
    """
    return family, *(each for each in _stand_ins(characters_of(family), text) if each != family)


def replace_unknown(family: str, text: str) -> str:
    """A text with a question mark in a diamond for what no font has, which is said once.

    Args:
        family: The font that is asked for.
        text: Any text.
    """
    return _replace(characters_of(family), text)


def complete(families: Sequence[str], text: str) -> tuple[str, tuple[str, ...]]:
    """A text and families as matplotlib can draw it: what no font has is replaced, which is said once.

    Args:
        families: Those that are asked for, generic ones such as ``"sans-serif"`` too.
        text: Any text.

    Returns:
        The text, and the families with those behind them that stand in.
    """
    known = frozenset().union(*map(_characters_found, families)) or characters_of(FAMILY)
    text = _replace(known, text)
    return text, (*families, *_stand_ins(known, text))


def _characters_found(family: str) -> frozenset[int]:
    """The characters of the font that matplotlib draws a family with; none where it finds no such family."""
    from matplotlib.font_manager import FontProperties

    try:
        return _characters_in(_found(FontProperties(family=[family])))
    except ValueError:
        return frozenset()


def _lacking(known: frozenset[int], text: str) -> list[str]:
    if known.issuperset(map(ord, text)):
        return []
    return [each for each in dict.fromkeys(text) if ord(each) not in known and not each.isspace()]


def _stand_ins(known: frozenset[int], text: str) -> tuple[str, ...]:
    """The families that draw the characters of a text that are not known, in the order in which they stand in."""
    used = set(map(_substitute, _lacking(known, text))) - {None}
    return tuple(each for each in _substitutes(_installed()) if each in used) if used else ()


def _replace(known: frozenset[int], text: str) -> str:
    missing = [each for each in _lacking(known, text) if _substitute(each) is None]
    if not missing:
        return text
    _say_missing([each for each in missing if unicodedata.category(each)[0] != "C"])
    return text.translate(dict.fromkeys(map(ord, missing), UNKNOWN))


def _substitute(letter: str) -> str | None:
    """The first family in order that has a character; None for none, and for what has no meaning of its own."""
    meaningless = unicodedata.category(letter)[0] == "C" and letter not in _JOINERS
    return None if meaningless else _first_with(ord(letter), _installed())


@cache
def _first_with(code: int, count: int) -> str | None:
    return next((each for each in _substitutes(count) if _has(each, code)), None)


def _has(family: str, code: int) -> bool:
    """Whether a family has a character; none that cannot be opened: matplotlib's list may be older than the fonts."""
    try:
        return all(_holds(_bits_of(font_file(family, bold=bold)), code) for bold in (False, True))
    except (OSError, RuntimeError, ValueError):
        return False


@cache
def _bits_of(file: FontFile) -> bytes:
    """The characters of a font, a bit each: of many fonts with as many characters sets would be large."""
    codes = _read_characters(file) - _UNSEEN
    held = bytearray(max(codes, default=0) // 8 + 1)
    for code in codes:
        held[code // 8] |= 1 << code % 8
    return bytes(held)


def _holds(bits: bytes, code: int) -> bool:
    return code // 8 < len(bits) and bool(bits[code // 8] >> code % 8 & 1)


def _installed() -> int:
    """How many fonts matplotlib knows; more where the user has added some."""
    from matplotlib.font_manager import fontManager

    return len(fontManager.ttflist)


@cache
def _substitutes(_count: int) -> tuple[str, ...]:
    """The families that can stand in, in order."""
    from matplotlib.font_manager import fontManager

    return tuple(sorted({each.name for each in fontManager.ttflist if not _ODD.match(each.name)}, key=_rank))


def _rank(family: str) -> tuple[bool, bool, str]:
    """DejaVu Sans, then plain families, then those of a special kind or for one region; each by name."""
    return family != FAMILY, not _SPECIAL.isdisjoint(family.lower().split()), family


_SCRIPTS: Final = {"CJK": "Chinese", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "HANGUL": "Korean"}
_WIDE: Final = ("FULLWIDTH", "HALFWIDTH", "IDEOGRAPHIC", "KATAKANA-HIRAGANA")
"""First words of the names of signs that stand among Chinese, Japanese and Korean."""
_SAID: set[str] = set()


def _say_missing(letters: list[str]) -> None:
    """Say of each script that no font has some of its characters, once."""
    for script, some in _by_script(letters).items():
        if script not in _SAID:
            _SAID.add(script)
            font = "CJK" if script in _SCRIPTS.values() else script
            say(
                f"no installed font has {script} characters such as {' '.join(some[:3])}, so {UNKNOWN} is drawn in "
                f"their place; install a font that has them, such as Noto Sans {font}"
            )


def _by_script(letters: list[str]) -> dict[str, list[str]]:
    """Characters by the name of their script; signs that belong to none under that of Noto's font for symbols."""
    found: dict[str, list[str]] = {}
    for letter in letters:
        first = unicodedata.name(letter, "").partition(" ")[0]
        spoken = unicodedata.category(letter)[0] in "LM" or first in _SCRIPTS or first in _WIDE
        name = _SCRIPTS.get(first, "Chinese" if first in _WIDE else first.title()) if spoken else "Symbols"
        found.setdefault(name or "Symbols", []).append(letter)
    return found


def say(sentence: str) -> None:
    """Warn whoever called cnnviz, at the place of their call."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] == "cnnviz":
        frame, level = frame.f_back, level + 1
    warnings.warn(sentence, FontWarning, stacklevel=level)
