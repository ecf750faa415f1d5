"""The one reader of pictures: files, Pillow images and arrays become upright 8-bit sRGB."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from cnnviz.core.capacity import free_memory, ran_out_of_memory, spell_bytes
from cnnviz.core.picture import Picture, ValueRange, check_range
from cnnviz.core.sample import Sample
from cnnviz.core.untrusted import open_ordinary
from cnnviz.errors import ParameterError, PassingPictureError, PictureError, UsageError, nearest, quoted
from cnnviz.images.pixels import Colour, ConvertedPixels, pixels_of_array, pixels_of_image

if TYPE_CHECKING:
    import torch

__all__ = [
    "MAX_PIXELS",
    "SUFFIXES",
    "ImageLike",
    "ImagesLike",
    "as_picture",
    "check_size",
    "decode_picture",
    "explain_passing",
    "is_folder",
    "open_file",
    "quoted",
    "read_mask",
    "read_picture",
    "reason_of",
]

ImageLike: TypeAlias = str | os.PathLike[str] | Image.Image | NDArray[Any] | Sample
"""One picture: a path, a Pillow image, an array or a Picture; for networks of these a Signal or a Volume."""

if TYPE_CHECKING:
    ImagesLike: TypeAlias = ImageLike | torch.Tensor | Sequence[ImageLike | torch.Tensor]
else:
    ImagesLike: TypeAlias = Any  # resolving the hints of a method must not need torch

MAX_PIXELS = 178_000_000
"""Larger files are refused: decoding one of them takes over half a gigabyte."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
"""File name endings taken for pictures in a folder; a file named outright may have any ending."""

WHITE: Colour = (255, 255, 255)
_FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "GIF", "WEBP")  # a Pillow without WebP stumbles over the last only
_EXPECTED = "expected a JPEG, PNG, WebP, BMP, TIFF or GIF file"
_SIGNATURES = (
    (0, b"\xff\xd8\xff", "a damaged JPEG"),
    (0, b"\x89PNG", "a damaged PNG"),
    (8, b"WEBP", "a damaged WebP"),
    (0, b"BM", "a damaged BMP"),
    (0, b"II*\0", "a TIFF that is damaged or of a kind Pillow does not read"),
    (0, b"MM\0*", "a TIFF that is damaged or of a kind Pillow does not read"),
    (0, b"GIF8", "a damaged GIF"),
    (4, b"ftyphe", "a HEIC photo"),
    (4, b"ftypmif1", "a HEIC photo"),
    (4, b"ftypavif", "an AVIF picture"),
    (0, b"%PDF", "a PDF document"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x93NUMPY", "a NumPy array"),
)
_HEAD = 64
JPEG, HALF_WHITE = b"\xff\xd8", 127
_SIBLINGS_SEARCHED = 5000
_BYTES_OF_LEVELS, _BYTES_OF_WIDE = 30, 42
"""What a pixel of 8 bits a channel, or of more, takes at most while it is read and converted, as measured."""
_ALWAYS_FREE = 1 << 26


def read_picture(
    path: str | os.PathLike[str], *, background: Colour = WHITE, value_range: ValueRange | None = None
) -> Picture:
    """Read a picture file: JPEG, PNG, WebP, BMP, TIFF or GIF, known by its content and not by its name.

    The EXIF orientation is applied, an embedded colour profile is converted to sRGB, 16-bit values keep their depth (0
    to what the bits they use can hold), transparent pixels are drawn over the background, and of several frames the
    first is taken. What had to be decided is in the picture's notes.

    Args:
        path: The file.
        background: Red, green and blue, 0 to 255, drawn behind transparent pixels.
        value_range: The values that stand for 0 and 1, such as ``(0, 4095)``; None for those of the file's kind.

    Returns:
        The picture, named after the file without its folder.

    Raises:
        PictureError: The file is missing, a folder, empty, not readable, not a picture, damaged, or larger than
            MAX_PIXELS.
        ParameterError: The background is not a colour, or the range no lower and higher number.
    """
    _check_background(background)
    check_range(value_range)
    given = os.fsdecode(path)
    shown = quoted(given)
    with open_file(given, shown) as file:
        return _decode(file, Path(given).name, shown, background, value_range)


def read_mask(path: str | os.PathLike[str]) -> NDArray[np.bool_]:
    """A mask ``(H, W)`` from a picture file: true where it is not black (or transparent).

    Of a JPEG, which blurs edges, true where it is nearer to white than to black.

    Raises:
        PictureError: As :func:`read_picture` does.
    """
    brightest = read_picture(path, background=(0, 0, 0)).pixels.max(axis=2)
    with Path(path).open("rb") as file:
        lossy = file.read(len(JPEG)) == JPEG
    return np.asarray(brightest > (HALF_WHITE if lossy else 0))


def decode_picture(
    file: io.BufferedReader, name: str, *, background: Colour = WHITE, most: int | None = None
) -> Picture:
    """Decode a picture from an open file, as :func:`read_picture` does.

    Args:
        file: Open at the picture's first byte.
        name: What messages call it; its last part, after a slash, becomes the picture's name.
        background: Red, green and blue, 0 to 255, drawn behind transparent pixels.
        most: How many pixels it may have; None for MAX_PIXELS.

    Raises:
        PictureError: It is empty, not a picture, damaged, or larger than that.
    """
    return _decode(file, name.rpartition("/")[2], quoted(name), background, most=most)


def _decode(
    file: io.BufferedReader,
    name: str,
    shown: str,
    background: Colour,
    value_range: ValueRange | None = None,
    *,
    most: int | None = None,
) -> Picture:
    head = b""
    with warnings.catch_warnings(action="ignore"):
        try:
            head = file.peek(_HEAD)[:_HEAD]
            # The open file, not its path: given a path, Pillow maps uncompressed grey TIFFs into memory and scrambles
            # those whose orientation exchanges height and width.
            with Image.open(file, formats=_FORMATS) as image:
                return _convert_image(image, name, shown, background, value_range, most=most)
        except PictureError:
            raise
        except Image.DecompressionBombError as error:
            raise PictureError(_explain_too_large(shown, most)) from error
        except Exception as error:  # a decoder fed with damaged data can raise anything
            # Packages that replace Pillow's open (ultralytics) answer an unknown file by asking for another package.
            if any(isinstance(each, UnidentifiedImageError) for each in (error, error.__context__)):
                raise PictureError(f"{shown} is {_describe_kind(head)}; {_EXPECTED}.") from error
            if passing := explain_passing(error, shown):
                raise PassingPictureError(passing) from error
            raise PictureError(
                f"{shown} is truncated or damaged ({reason_of(error)}); {_EXPECTED} that is whole."
            ) from error


def as_picture(
    image: ImageLike,
    name: str | None = None,
    *,
    background: Colour = WHITE,
    value_range: ValueRange | None = None,
) -> Picture:
    """Make a Picture of whatever an analysis script holds.

    Args:
        image: A path, a Pillow image (of any mode; its EXIF orientation is applied), a Picture (returned as it is), or
            an array ``(H, W)``, ``(H, W, 1)``, ``(H, W, 3)`` or ``(H, W, 4)`` of uint8, uint16, bool, or float in
            [0, 1]; with a range, of any numbers.
        name: What to call a picture that has no name of its own; ``"image"`` if it is not given.
        background: Red, green and blue, 0 to 255, drawn behind transparent pixels.
        value_range: The values that stand for 0 and 1; None for those of its kind.

    Returns:
        The picture; its pixels are a copy.

    Raises:
        PictureError: It cannot be read, or has another shape, type or range.
        UsageError: It is none of these things.
        ParameterError: The background is not a colour.
    """
    _check_background(background)
    name = name or "image"
    if isinstance(image, Picture):
        return image
    if isinstance(image, (str, os.PathLike)):
        return read_picture(image, background=background, value_range=value_range)
    check_range(value_range)
    if isinstance(image, np.ndarray):
        return _make_picture(pixels_of_array(image, name, background, value_range), name)
    if isinstance(image, Image.Image):
        called = Path(os.fsdecode(getattr(image, "filename", "") or name)).name
        return _picture_of_image(image, called, background, value_range)
    raise UsageError(f"{name} is of type {type(image).__name__}; expected a path, a PIL image, an array or a Picture.")


def _make_picture(made: ConvertedPixels, name: str, notes: Sequence[str] = ()) -> Picture:
    return Picture(made.levels, name, notes=(*notes, *made.notes), exact=made.exact, value_range=made.value_range)


def _picture_of_image(image: Image.Image, name: str, background: Colour, value_range: ValueRange | None) -> Picture:
    shown = quoted(name)
    with warnings.catch_warnings(action="ignore"):
        try:
            return _convert_image(image, name, shown, background, value_range)
        except PictureError:
            raise
        except Exception as error:  # a lazily opened file can be damaged or closed by now
            if passing := explain_passing(error, shown):
                raise PassingPictureError(passing) from error
            raise PictureError(
                f"The PIL image {shown} cannot be loaded ({reason_of(error)}); expected a sound one."
            ) from error


def _convert_image(
    image: Image.Image,
    name: str,
    shown: str,
    background: Colour,
    value_range: ValueRange | None,
    *,
    most: int | None = None,
) -> Picture:
    check_size(image.size, shown, wide=image.mode[0] in "IF", most=most)
    frames = int(getattr(image, "n_frames", 1))
    chosen = image.tell() if frames > 1 else 0
    first = f"frame {chosen + 1} of {frames}" if chosen else f"first of {frames} frames"
    made = pixels_of_image(image, shown, background, value_range)
    return _make_picture(made, name, (first,) if frames > 1 else ()).in_range(value_range)


def is_folder(path: Path) -> bool:
    """Whether it is a folder; a name that the system refuses is none, and left for the reader to complain about."""
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def open_file(given: str, shown: str, expected: str = _EXPECTED) -> io.BufferedReader:
    """Open an ordinary file.

    Args:
        given: Its path.
        shown: What a message calls it.
        expected: The end of a message: what it is expected to be.

    Raises:
        PictureError: It is missing, a folder, or may not be read.
    """
    try:
        return open_ordinary(given)
    except FileNotFoundError as error:
        raise PassingPictureError(_explain_missing(given, shown, expected)) from error
    except IsADirectoryError as error:
        raise PictureError(f"{shown} is a folder; {expected}.") from error
    except PermissionError as error:
        what = "is a folder" if Path(given).is_dir() else "may not be read (permission denied)"
        raise PassingPictureError(f"{shown} {what}; {expected}.") from error
    except (OSError, ValueError) as error:
        kind = PassingPictureError if isinstance(error, OSError) else PictureError
        raise kind(f"{shown} cannot be opened ({reason_of(error)}); {expected}.") from error


def _explain_missing(given: str, shown: str, expected: str) -> str:
    folder = Path(given).parent
    try:
        siblings = [entry.name for entry in islice(folder.iterdir(), _SIBLINGS_SEARCHED) if entry.exists()]
    except OSError:
        return f"There is no file {shown}, nor its folder; {expected}."
    close = " or ".join(quoted(name) for name in nearest(Path(given).name, siblings))
    return f"There is no file {shown}; {f'did you mean {close}?' if close else f'{expected}.'}"


def _describe_kind(head: bytes) -> str:
    """What a file that no decoder knows looks like from its first bytes."""
    if not head:
        return "empty (0 bytes)"
    for offset, mark, kind in _SIGNATURES:
        if head[offset:].startswith(mark):
            return kind
    return "text" if all(byte >= ord(" ") or byte in b"\t\r\n" for byte in head) else "not a picture"


def check_size(size: tuple[int, int], shown: str, *, wide: bool = False, most: int | None = None) -> None:
    """Refuse a picture, before its pixels are decoded, that has too many of them, for any machine or for this one now.

    Args:
        size: Width and height.
        shown: What a message calls it.
        wide: Whether its values are of more than 8 bits.
        most: How many pixels it may have; None for MAX_PIXELS.

    Raises:
        PictureError: If it has more than that, or than fit into the memory that is free.
    """
    pixels = size[0] * size[1]
    if pixels > (MAX_PIXELS if most is None else most):
        raise PictureError(_explain_too_large(shown, most))
    needed = pixels * (_BYTES_OF_WIDE if wide else _BYTES_OF_LEVELS)
    free = free_memory() if needed > _ALWAYS_FREE else None
    if free is not None and needed > free:
        raise PassingPictureError(
            f"{shown} has {size[0]}x{size[1]} pixels, which takes about {spell_bytes(needed)} of memory to read; "
            f"{spell_bytes(free)} are free."
        )


def explain_passing(error: Exception, shown: str) -> str:
    """What has kept a sound picture from being read, if that is it: the system, or want of memory."""
    if ran_out_of_memory(error):
        return f"There is not enough memory to read {shown}."
    if isinstance(error, OSError) and error.errno is not None:
        return f"{shown} cannot be read ({reason_of(error)})."
    return ""


def _explain_too_large(shown: str, most: int | None = None) -> str:
    allowed = MAX_PIXELS if most is None else most
    return f"{shown} has too many pixels; expected at most {allowed // 1_000_000} million."


def reason_of(error: Exception) -> str:
    """A decoder's message as part of a sentence."""
    text = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return " ".join(text.split()).rstrip(".")


def _check_background(background: Colour) -> None:
    if len(background) != len(WHITE) or not all(level in range(256) for level in background):
        raise ParameterError(f"background is {background}; expected red, green and blue, each a whole number 0 to 255.")
