"""A page as one HTML file that asks for nothing: pictures inside, no script, light and dark, on paper too."""

from __future__ import annotations

import base64
import io
from functools import cache

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from cnnviz.drawing.colour import Scale, colour_bar, ticks
from cnnviz.drawing.layout import NOTHING
from cnnviz.drawing.notes import embed_note
from cnnviz.drawing.pages.blocks import Block, Fold, Gallery, Group, Page, Plate, SideBySide
from cnnviz.errors import visible

__all__ = ["data_uri", "render"]

_LONGEST = {"whole": 1600, "broad": 1200, "row": 480, "strip": 240, "medium": 480, "small": 320, "tiny": 160}
_HARD = 64
_QUALITY = 78
_STOPS = 24


def render(page: Page) -> str:
    """The page as HTML text, the same each time."""
    return _environment().get_template("page.html").render(page=page, note=embed_note(page.note))


def data_uri(pixels: NDArray[np.uint8], *, longest: int, exact: bool = False) -> str:
    """A picture inside the page: WebP of at most so many pixels a side, or PNG without loss.

    Args:
        pixels: ``(h, w, 3)`` uint8, RGB.
        longest: A longer side is resampled to so many pixels; a picture kept exactly is not.
        exact: Keep every pixel.
    """
    image, held = Image.fromarray(pixels), io.BytesIO()
    if exact:
        image.save(held, "PNG", optimize=True)
    else:
        image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
        image.save(held, "WEBP", quality=_QUALITY, method=4)
    kind = "png" if exact else "webp"
    return f"data:image/{kind};base64,{base64.b64encode(held.getvalue()).decode()}"


def _picture_source(plate: Plate, size: str = "medium") -> str:
    return data_uri(plate.pixels, longest=_LONGEST[size], exact=plate.exact)


def _has_hard_pixels(plate: Plate) -> bool:
    """Whether a browser should enlarge it with hard pixels."""
    return plate.exact and max(plate.pixels.shape[:2]) <= _HARD


def _css_gradient(scale: Scale) -> str:
    """The scale's colours as a CSS gradient."""
    line = colour_bar(scale, 1, _STOPS)[0]
    return f"linear-gradient(to right,{','.join(f'#{red:02x}{green:02x}{blue:02x}' for red, green, blue in line)})"


def _scale_numbers(scale: Scale) -> tuple[str, ...]:
    """Low end, middle and high end."""
    return tuple(text for _, text in ticks(scale))


def _describe_scale(scale: Scale) -> str:
    if scale.blank:
        return NOTHING
    low, _, high = _scale_numbers(scale)
    return f"Colour scale from {low} to {high}" + (f": {scale.measures}" if scale.measures else "")


def _block_kind(block: Block) -> str:
    return type(block).__name__.lower()


def _count_pictures(blocks: tuple[Block, ...]) -> int:
    """How many pictures there are in some blocks and those within them."""
    inner = (_count_pictures(block.blocks) for block in blocks if isinstance(block, (Fold, Group, SideBySide)))
    return sum(len(block.plates) for block in blocks if isinstance(block, Gallery)) + sum(inner)


def _legible(value: object) -> object:
    """A text without what no page may hold: commands to a terminal, and halves of characters."""
    return visible(value, keep="\n\t") if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("cnnviz.drawing.pages", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_legible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "source": _picture_source,
        "gradient": _css_gradient,
        "numbers": _scale_numbers,
        "spoken": _describe_scale,
        "kind": _block_kind,
    }
    made.filters |= {"hard": _has_hard_pixels, "pictures": _count_pictures}
    made.globals["nothing"] = NOTHING
    return made
