"""Whatever Pillow or NumPy holds, as upright sRGB pixels: 8 bits to draw, and the values' own depth where more."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from cnnviz.core.picture import ValueRange, scale_values
from cnnviz.errors import PictureError

__all__ = ["Colour", "ConvertedPixels", "pixels_of_array", "pixels_of_image"]

Colour = tuple[int, int, int]
"""Red, green and blue, each 0 to 255."""


class ConvertedPixels(NamedTuple):
    """What was made of a picture.

    Attributes:
        levels: ``(H, W, 3)`` uint8, upright, sRGB.
        exact: ``(H, W)`` or ``(H, W, 3)`` float32 in [0, 1], where 8 bits do not hold the values; else None.
        value_range: The values that stand for 0 and 1.
        notes: A note for each decision.
    """

    levels: NDArray[np.uint8]
    exact: NDArray[np.float32] | None
    value_range: ValueRange
    notes: tuple[str, ...]


EIGHT_BITS: ValueRange = (0.0, 255.0)
DEPTHS = (8, 10, 12, 14, 16)
"""Bits that whole numbers come in."""
_OPAQUE = 255
_ROWS_AT_ONCE = 64
_NO_ALPHA = np.zeros((0, 0, 0), np.uint8)
_PROFILED_MODES = ("RGB", "L", "1", "CMYK")  # those that an embedded profile may describe
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def pixels_of_image(
    image: Image.Image, name: str, background: Colour, value_range: ValueRange | None = None
) -> ConvertedPixels:
    """Convert a Pillow image of any mode.

    Args:
        image: The image; it is loaded, but not changed.
        name: What a message calls it, quoted where it is a name.
        background: What transparent pixels are drawn over.
        value_range: The values that stand for 0 and 1; None for those of the image's kind.

    Raises:
        PictureError: It has no pixels, or values or a colour mode with no stated meaning.
    """
    notes: list[str] = []
    if min(image.size) < 1:
        raise PictureError(f"{name} has no pixels; expected at least 1 x 1.")
    image.load()
    profile = image.info.get("icc_profile")
    upright = _turn_upright(image, notes)
    exact, known = None, EIGHT_BITS
    if image.mode[0] in "IF":
        levels, exact, known = _to_levels(np.array(upright), name, notes, value_range)
        upright = Image.fromarray(levels)
    colours, alpha = _split_alpha(upright, name)
    if profile:
        before = colours
        colours = _to_srgb(colours, profile, notes)
        exact = exact if colours is before else None
    elif colours.mode == "CMYK":
        notes.append("CMYK without a colour profile converted to RGB")
    pixels = _draw_over(np.array(colours.convert("RGB")), alpha, background, notes)
    return ConvertedPixels(pixels, exact, known, tuple(notes))


def pixels_of_array(
    array: NDArray[Any], name: str, background: Colour, value_range: ValueRange | None = None
) -> ConvertedPixels:
    """Convert an array ``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)`` or ``(H, W, 4)``; the fourth channel is alpha.

    Args:
        array: uint8; uint16 (0 to 65535); bool; or floating within [0, 1]; with a range any numbers.
        name: What a message calls it.
        background: What transparent pixels are drawn over.
        value_range: The values that stand for 0 and 1; None for those of the array's type.

    Raises:
        PictureError: The shape, the type or the values are others.
    """
    _check_shape(array.shape, name)
    if value_range is None:
        _check_values(array, name)
    notes: list[str] = []
    planes = array.reshape(*array.shape[:2], -1)
    colours, alpha = planes[:, :, :3], planes[:, :, 3:]
    if value_range is None and array.dtype.itemsize == 1:
        levels = colours.astype(np.uint8) * (255 if array.dtype.kind == "b" else 1)
        exact, known = None, EIGHT_BITS
        opacity = alpha.astype(np.uint8) * (255 if array.dtype.kind == "b" else 1)
    else:
        levels, exact, known = _to_levels(colours, name, notes, value_range)
        opacity = scale_values(alpha, known)[0]
    opaque = bool(np.all(opacity == _OPAQUE))
    pixels = np.ascontiguousarray(np.broadcast_to(levels, (*planes.shape[:2], 3)))
    kept = exact.reshape(*exact.shape[: 2 if exact.shape[2] == 1 else 3]) if exact is not None and opaque else None
    return ConvertedPixels(_draw_over(pixels, opacity, background, notes), kept, known, tuple(notes))


def _check_values(array: NDArray[Any], name: str) -> None:
    """Refuse numbers of which nobody said what black and white are."""
    if array.dtype.kind == "f" and not _is_within(array, 1):
        raise PictureError(
            f"{name} is a float array {_range_text(array)}; expected values from 0 to 1, uint8 values from 0 to 255, "
            f"or the values that stand for black and white ({RANGE_ADVICE})."
        )
    if array.dtype.kind not in "fb" and array.dtype.str[1:] not in ("u1", "u2"):
        raise PictureError(
            f"{name} is an array of {array.dtype}; expected uint8, uint16, bool or float in [0, 1], or the values that "
            f"stand for black and white ({RANGE_ADVICE})."
        )


RANGE_ADVICE = "Model(..., value_range=(low, high)) or --range LOW,HIGH"


def _turn_upright(image: Image.Image, notes: list[str]) -> Image.Image:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - damaged EXIF data can raise anything, and the pixels are sound without it
        notes.append("unreadable EXIF data ignored")
        return image
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _to_levels(
    values: NDArray[Any], name: str, notes: list[str], value_range: ValueRange | None
) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None, ValueRange]:
    """16-bit, 32-bit or float values as 0 to 255, at their own depth, and the values that stand for 0 and 1.

    Where no range is given it is the format's, or that of the bits that whole numbers use; never that of the values.
    """
    if value_range and values.dtype.kind == "f" and not np.isfinite(values).all():
        raise PictureError(f"{name} holds values {_range_text(values)}; expected finite ones.")
    known = value_range or _usual_range(values, name, notes)
    levels, exact, clipped = scale_values(values, known)
    notes += clipped
    if exact is not None and value_range is None and values.dtype.kind != "f":
        notes.append("more than 8 bits: drawn with 8, given to the network whole")
    return levels, exact, known


def _usual_range(values: NDArray[Any], name: str, notes: list[str]) -> ValueRange:
    """The range of a picture's type, and of whole numbers that of the bits they use."""
    if values.dtype.kind == "f":
        top = 1 if _is_within(values, 1) else 255
        notes.append("float values from 0 to 1" if top == 1 else "float values taken as 0 to 255")
    else:
        most = int(values.max())
        bits = next((bits for bits in DEPTHS if 0 < most < 1 << bits), DEPTHS[-1])
        top = (1 << bits) - 1
        if bits < DEPTHS[-1]:
            notes.append(f"16-bit values up to {most} read as {bits}-bit, 0 to {top}; --range says otherwise")
    if not _is_within(values, top):
        expected = "0 to 1, or from 0 to 255" if values.dtype.kind == "f" else "0 to 65535"
        raise PictureError(
            f"{name} holds values {_range_text(values)}; expected values from {expected}, or the values that stand for "
            f"black and white ({RANGE_ADVICE})."
        )
    return 0.0, float(top)


def _split_alpha(image: Image.Image, name: str) -> tuple[Image.Image, NDArray[np.uint8]]:
    """The image without its transparency, in a mode that an embedded profile may refer to; and its alpha."""
    try:
        if image.has_transparency_data:
            full = image if image.mode == "RGBA" else image.convert("RGBA")
            return full.convert("RGB"), np.array(full.getchannel("A"))[:, :, None]
        return (image if image.mode in _PROFILED_MODES else image.convert("RGB")), _NO_ALPHA
    except ValueError as error:
        raise PictureError(
            f"{name} has the colour mode {image.mode}; expected RGB, grey, palette, CMYK or one of these with alpha."
        ) from error


def _to_srgb(image: Image.Image, profile: bytes, notes: list[str]) -> Image.Image:
    """Convert from the embedded profile; sRGB itself is left alone, so that its values stay exactly as stored."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        title = " ".join(ImageCms.getProfileDescription(source).split())
        if title.lower().startswith("srgb"):
            return image
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, ImportError, OSError, ValueError, TypeError):
        converted = None
    if converted is None:
        notes.append("colour profile that does not fit ignored")
        return image
    notes.append(f"colours converted from the profile '{title}' to sRGB")
    return converted


def _draw_over(
    pixels: NDArray[np.uint8], alpha: NDArray[np.uint8], background: Colour, notes: list[str]
) -> NDArray[np.uint8]:
    """Draw over the background where alpha ``(H, W, 1)`` says so; it is empty where there is none."""
    if np.all(alpha == _OPAQUE):
        return pixels
    named = {(255, 255, 255): "white", (0, 0, 0): "black"}.get(background, f"RGB {background}")
    notes.append(f"transparent pixels drawn over {named}")
    drawn = np.empty_like(pixels)
    for start in range(0, len(pixels), _ROWS_AT_ONCE):  # in floats all rows would take ten times the picture's memory
        some = slice(start, start + _ROWS_AT_ONCE)
        share = alpha[some].astype(np.float32) / _OPAQUE
        mixed = pixels[some] * share + np.array(background, np.float32) * (1 - share)
        drawn[some] = np.rint(mixed)
    return drawn


def _check_shape(shape: tuple[int, ...], name: str) -> None:
    spoken = "(" + ", ".join(map(str, shape)) + ")"
    match shape:
        case (_, _) | (_, _, 1 | 3 | 4):
            if min(shape) < 1:
                raise PictureError(f"{name} has the shape {spoken}, so no pixels; expected at least 1 x 1.")
        case (1 | 3 | 4, _, _):
            raise PictureError(
                f"{name} has the shape {spoken}, which looks like channels first; expected (H, W, 3), which "
                "array.transpose(1, 2, 0) gives."
            )
        case _:
            raise PictureError(f"{name} has the shape {spoken}; expected (H, W), (H, W, 1), (H, W, 3) or (H, W, 4).")


def _is_within(values: NDArray[Any], top: float) -> bool:
    return bool(values.min() >= 0 and values.max() <= top)


def _range_text(values: NDArray[Any]) -> str:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return "with NaN or infinite values"
    return f"from {values.min():.6g} to {values.max():.6g}"
