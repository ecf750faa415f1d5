"""A sheet laid out for a width on paper: the largest letters beside which pictures of a good size have room."""

from __future__ import annotations

from dataclasses import replace

from cnnviz.drawing.layout import Layout, Style, lay_out, sheet_width
from cnnviz.drawing.montage import fitted
from cnnviz.drawing.sheet import Sheet
from cnnviz.errors import ParameterError

__all__ = ["PER_INCH", "PER_POINT", "USUAL_SIZE", "fit"]

PER_INCH = 300
PER_POINT = PER_INCH / 72
USUAL_SIZE = 8.0
_SMALLER_SIZES = (7.5, 7.0, 6.5, 6.0, 5.5)
_EMS_PER_PICTURE = 8


def fit(sheet: Sheet, width: float, size: float = USUAL_SIZE) -> Layout:
    """Lay a sheet out for a width.

    It is exactly as wide unless a single picture is higher than wide (then it is narrower), or the words of many
    columns need more.

    Args:
        sheet: What is drawn.
        width: In inches, of 300 pixels each.
        size: Of the ordinary text, in points; as little as 5.5 in narrow columns.

    Raises:
        ParameterError: width or size is not above 0.
    """
    if width <= 0 or size <= 0:
        raise ParameterError(f"A figure's width and text size are above 0, not {width:g} inches and {size:g} points.")
    asked = round(width * PER_INCH)
    for points in sorted({size, *(each for each in _SMALLER_SIZES if each < size)}, reverse=True):
        style = Style(round(points * PER_POINT), gap=round(0.08 * PER_INCH), margin=round(0.05 * PER_INCH))
        longer = _longest_side(sheet, asked, style)
        if longer >= _EMS_PER_PICTURE * style.em:
            break
    layout = lay_out(sheet, _sizes(sheet, longer), style)
    return replace(layout, width=asked) if 0 < asked - layout.width <= sheet.shape[1] else layout


def _longest_side(sheet: Sheet, width: int, style: Style) -> int:
    """Of the largest pictures with which the sheet is not wider than ``width``; no less than an em."""
    least, most = style.em, max(width, style.em)
    while least < most:
        longer = (least + most + 1) // 2
        if sheet_width(sheet, _sizes(sheet, longer), style) <= width:
            least = longer
        else:
            most = longer - 1
    return least


def _sizes(sheet: Sheet, longer: int) -> list[list[tuple[int, int]]]:
    return [[fitted(cell.size, longer) if cell else (0, 0) for cell in row] for row in sheet.rows]
