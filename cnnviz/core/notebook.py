"""What objects show of themselves at a prompt and in a notebook: one short line, or a small piece of HTML.

The HTML has no script and no colour of its own but grey, so that it reads on white and on dark ground; every word in it
is escaped.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from cnnviz.errors import visible

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["HtmlBar", "html_picture", "html_table", "repr_line", "spell_sides"]

LONGEST: Final = 100
"""Characters of a line at the prompt."""
ROWS: Final = 400
"""Rows of a table in a notebook; longer ones say how many are left out."""
WIDEST: Final = 400
"""Pixels of a picture's longer side in a notebook."""
TABLE: Final = "border-collapse:collapse;font-size:90%;color:inherit"
SMALLEST: Final = 128
"""Smaller pictures are shown with larger pixels, up to so many."""
CELL: Final = "padding:2px 10px 2px 0;text-align:left;vertical-align:top;background:none;white-space:nowrap"


class HtmlBar(float):
    """A share in [0, 1] that a table shows as a bar and in percent."""


def spell_sides(sides: Sequence[int]) -> str:
    """Lengths as ``"3 x 224 x 224"``."""
    return " x ".join(map(str, sides))


def repr_line(kind: str, *words: object) -> str:
    """``Kind(word, word)`` on one line of at most 100 characters, cut with ``...`` where it is longer.

    Args:
        kind: The class.
        *words: What there is to say; the first is a name, in quotes, unless it is empty.
    """
    name, *others = [visible(str(word)) for word in words]
    rest = "".join(f", {word}" for word in others) if name else ", ".join(others)
    room = LONGEST - len(kind) - len(rest) - len("('')")
    if name and len(name) > room >= len("..."):
        name = f"{name[: room - len('...')]}..."
    line = f"{kind}({repr(name) if name else ''}{rest})"
    return line if len(line) <= LONGEST else f"{line[: LONGEST - len('...)')]}...)"


def html_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A small table under a line of text.

    Args:
        title: What it is about.
        headings: One for each column; none for a table of facts without a heading.
        rows: Cells of each row: anything that is said as text, or an ``HtmlBar``.
    """
    held = [*rows]
    head = "".join(f"<th style='{CELL};opacity:.65'>{_escape(each)}</th>" for each in headings)
    body = "".join(f"<tr style='background:none'>{''.join(map(_cell, row))}</tr>" for row in held[:ROWS])
    left = f"<div style='opacity:.65'>and {len(held) - ROWS} more</div>" if len(held) > ROWS else ""
    top = f"<thead><tr>{head}</tr></thead>" if head else ""
    table = f"<table style='{TABLE}'>{top}<tbody>{body}</tbody></table>" if held else ""
    return f"<div><div><b>{_escape(title)}</b></div>{table}{left}</div>"


def html_picture(name: str, words: str, pixels: NDArray[np.uint8]) -> str:
    """A picture with its name and a few words, at most 400 pixels a side; a tiny one with larger pixels.

    Args:
        name: The picture's name.
        words: What else to say of it.
        pixels: ``(H, W, 3)`` uint8.
    """
    from PIL import Image

    image = Image.fromarray(pixels)
    image.thumbnail((WIDEST, WIDEST))
    if (times := SMALLEST // max(image.size)) > 1:
        image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    held = io.BytesIO()
    image.save(held, "PNG")
    source = base64.b64encode(held.getvalue()).decode()
    shown = f"<img src='data:image/png;base64,{source}' alt='{_escape(name)}' style='max-width:100%'>"
    caption = f"<figcaption>{_escape(name)} <span style='opacity:.65'>{_escape(words)}</span></figcaption>"
    return f"<figure style='margin:0'>{shown}{caption}</figure>"


def _cell(value: Any) -> str:
    if not isinstance(value, HtmlBar):
        return f"<td style='{CELL}'>{_escape(value)}</td>"
    width = 100 * min(max(value, 0.0), 1.0)
    bar = f"<span style='display:inline-block;width:{width:.1f}%;height:.7em;background:#888'></span>"
    held = f"<span style='display:inline-block;width:8em;margin-right:.6em;border-bottom:1px solid #8886'>{bar}</span>"
    return f"<td style='{CELL}'>{held}{value:.2%}</td>"


def _escape(value: object) -> str:
    return html.escape(visible(str(value)))
