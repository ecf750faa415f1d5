"""What of a figure's text a PDF can hold as text: letters of TrueType fonts, embedded as Type 42."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cnnviz.drawing.fonts.families import font_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Text

__all__ = ["shown_in_pdf"]

_POSTSCRIPT: Final = b"OTTO"
_COLLECTION: Final = b"ttcf"


@contextmanager
def shown_in_pdf(figure: Figure) -> Iterator[None]:
    """Inside, text in fonts with PostScript outlines is drawn as shapes, as those cannot be embedded as Type 42.

    Args:
        figure: Comes back as it was.
    """
    from matplotlib.patheffects import Normal
    from matplotlib.text import Text as MatplotlibText

    texts = [each for each in figure.findobj(MatplotlibText) if isinstance(each, MatplotlibText)]
    texts = [each for each in texts if each.get_text() and _is_postscript(each)]
    before = [each.get_path_effects() for each in texts]
    try:
        for each in texts:
            each.set_path_effects([Normal()])
        yield
    finally:
        for each, effects in zip(texts, before, strict=True):
            each.set_path_effects(effects)


def _is_postscript(text: Text) -> bool:
    bold = text.get_fontweight() == "bold"
    return any(_has_postscript_outlines(family, bold=bold) for family in text.get_fontfamily())


@cache
def _has_postscript_outlines(family: str, *, bold: bool) -> bool:
    """Whether a font is of that kind; one that matplotlib does not find it does not draw either."""
    try:
        file = font_file(family, bold=bold)
    except ValueError:
        return False
    with Path(file.path).open("rb") as opened:
        kind = opened.read(4)
        if kind == _COLLECTION:
            opened.seek(12 + 4 * file.face)
            opened.seek(int.from_bytes(opened.read(4), "big"))
            kind = opened.read(4)
    return kind == _POSTSCRIPT
