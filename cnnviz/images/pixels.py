"""Whatever Pillow or NumPy holds, as upright 8-bit sRGB pixels, and what had to be decided on the way."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from cnnviz.errors import PictureError

__all__ = ["Colour", "pixels_of_array", "pixels_of_image"]

Colour = tuple[int, int, int]
"""Red, green and blue, each 0 to 255."""

_OPAQUE = 255
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


def pixels_of_image(image: Image.Image, name: str, background: Colour) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Convert a Pillow image of any mode.

    Args:
        image: The image; it is loaded, but not changed.
        name: What a message calls it, quoted where it is a name.
        background: What transparent pixels are drawn over.

    Returns:
        Pixels ``(H, W, 3)`` uint8, upright, sRGB; and a note for each decision.

    Raises:
        PictureError: It has no pixels, or values or a colour mode with no stated meaning.
    """
    notes: list[str] = []
    if min(image.size) < 1:
        raise PictureError(f"{name} has no pixels; expected at least 1 x 1.")
    image.load()
    profile = image.info.get("icc_profile")
    upright = _turn_upright(image, notes)
    if image.mode[0] in "IF":
        upright = Image.fromarray(_to_levels(np.array(upright), name, notes))
    colours, alpha = _split_alpha(upright, name)
    if profile:
        colours = _to_srgb(colours, profile, notes)
    elif colours.mode == "CMYK":
        notes.append("CMYK without a colour profile converted to RGB")
    pixels = np.array(colours.convert("RGB"))
    return _draw_over(pixels, alpha, background, notes), tuple(notes)


def pixels_of_array(array: NDArray[Any], name: str, background: Colour) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Convert an array ``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)`` or ``(H, W, 4)``; the fourth channel is alpha.

    Args:
        array: uint8; uint16 (0 to 65535); bool; or floating within [0, 1].
        name: What a message calls it.
        background: What transparent pixels are drawn over.

    Returns:
        Pixels ``(H, W, 3)`` uint8, a copy; and a note for each decision.

    Raises:
        PictureError: The shape, the type or the values are others.
    """
    _check_shape(array.shape, name)
    if array.dtype.kind == "f" and not _is_within(array, 1):
        raise PictureError(
            f"{name} is a float array {_range_text(array)}; expected values from 0 to 1, or uint8 values from 0 to 255."
        )
    if array.dtype.kind not in "fb" and array.dtype.str[1:] not in ("u1", "u2"):
        raise PictureError(f"{name} is an array of {array.dtype}; expected uint8, uint16, bool or float in [0, 1].")
    notes: list[str] = []
    if array.dtype.kind == "f":
        levels = np.rint(array.astype(np.float64) * 255).astype(np.uint8)
    elif array.dtype.itemsize > 1:
        levels = _to_levels(array, name, notes)
    else:
        levels = array.astype(np.uint8) * (255 if array.dtype.kind == "b" else 1)
    planes = levels.reshape(*levels.shape[:2], -1)
    pixels = np.ascontiguousarray(np.broadcast_to(planes[:, :, :3], (*planes.shape[:2], 3)))
    return _draw_over(pixels, planes[:, :, 3:], background, notes), tuple(notes)


def _turn_upright(image: Image.Image, notes: list[str]) -> Image.Image:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - damaged EXIF data can raise anything, and the pixels are sound without it
        notes.append("unreadable EXIF data ignored")
        return image
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _to_levels(values: NDArray[Any], name: str, notes: list[str]) -> NDArray[np.uint8]:
    """16-bit, 32-bit or float values as 0 to 255; the range is the format's, never that of the values found."""
    if values.dtype.kind == "f":
        top = 1 if _is_within(values, 1) else 255
        notes.append("float values from 0 to 1 scaled to 8-bit" if top == 1 else "float values taken as 0 to 255")
    else:
        top = 65535
        notes.append("16-bit reduced to 8-bit")
    if not _is_within(values, top):
        expected = "0 to 1, or from 0 to 255" if values.dtype.kind == "f" else "0 to 65535"
        raise PictureError(f"{name} holds values {_range_text(values)}; expected values from {expected}.")
    return np.rint(values.astype(np.float64) * (255 / top)).astype(np.uint8)


def _split_alpha(image: Image.Image, name: str) -> tuple[Image.Image, NDArray[np.uint8]]:
    """The image without its transparency, in a mode that an embedded profile may refer to; and its alpha."""
    try:
        if image.has_transparency_data:
            full = image.convert("RGBA")
            return full.convert("RGB"), np.array(full)[:, :, 3:]
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
    share = alpha.astype(np.float32) / _OPAQUE
    mixed = pixels * share + np.array(background, np.float32) * (1 - share)
    return np.rint(mixed).astype(np.uint8)


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
