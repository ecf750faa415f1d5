"""Volumes of the body in: NIfTI files, turned the way all volumes lie."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.picture import ValueRange
from cnnviz.core.sample import Orientation, Volume
from cnnviz.errors import MissingExtraError, PassingPictureError, PictureError, quoted
from cnnviz.images.arrays import check_room, checked_values, quiet_library, spell_shape
from cnnviz.images.reading import explain_passing, open_file, reason_of

__all__ = ["NIFTI", "letters_of", "read_nifti", "turned"]

NIFTI: Final = (".nii", ".nii.gz")
_EXPECTED: Final = "expected a NIfTI file (.nii or .nii.gz) that is whole"
_HEADER: Final = 352
FARTHEST: Final = 1 << 24
"""Bytes of a NIfTI file before its values; more are never read."""
UNITS: Final = {1: ("metres", 1000.0), 3: ("micrometres", 0.001)}


def read_nifti(path: str | os.PathLike[str], channels: int | None = None) -> Volume:
    """Read a NIfTI file: its values with the header's scale, turned to slices from feet to head.

    A fourth axis is that of channels.

    Args:
        path: The file.
        channels: How many channels the network takes; None where that is not known.

    Raises:
        PictureError: The file is missing, damaged, too large for this machine, or has other channels.
        MissingExtraError: If nibabel is not installed.
    """
    given = os.fsdecode(path)
    shown = quoted(given)
    _check_header(given, shown)
    try:
        import nibabel
    except ImportError as error:
        raise MissingExtraError(f"Reading NIfTI files, such as {shown},", "volumes") from error
    try:
        with quiet_library("nibabel.global"):
            image: Any = nibabel.load(given)
            affine = np.array(image.affine, np.float64)
            _check_grid(image, shown, channels)
            values = np.asarray(image.get_fdata(dtype=np.float32, caching="unchanged"))
    except PictureError:
        raise
    except Exception as error:  # a header that is damaged or forged can raise anything
        if passing := explain_passing(error, shown):
            raise PassingPictureError(passing) from error
        raise PictureError(f"{shown} is truncated or damaged ({reason_of(error)}); {_EXPECTED}.") from error
    notes = list(_placing_notes(image))
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < np.finfo(np.float32).tiny:
        raise PictureError(f"{shown} says no sound place of its voxels (its affine is singular); {_EXPECTED}.")
    unit = _unit_of(image, notes)
    grid = values.reshape(*values.shape[:3], -1)
    return turned(grid, affine, Path(given).name, shown, notes=notes, unit=unit)


def _check_header(given: str, shown: str) -> None:
    """Refuse what is not a NIfTI file, and one that would have much unpacked before its values."""
    with open_file(given, shown, _EXPECTED) as file:
        packed = file.peek(2)[:2] == b"\x1f\x8b"
        try:
            head = gzip.GzipFile(fileobj=file).read(_HEADER) if packed else file.read(_HEADER)
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise PictureError(f"{shown} is truncated or damaged ({reason_of(error)}); {_EXPECTED}.") from error
    if not head:
        raise PictureError(f"{shown} is empty (0 bytes); {_EXPECTED}.")
    kinds = {348: ("f", 108), 540: ("q", 168)}
    orders = [order for order in "<>" if len(head) == _HEADER and struct.unpack(f"{order}i", head[:4])[0] in kinds]
    if not orders:
        raise PictureError(f"{shown} is not a NIfTI file, or is truncated; {_EXPECTED}.")
    letter, place = kinds[struct.unpack(f"{orders[0]}i", head[:4])[0]]
    (start,) = struct.unpack_from(f"{orders[0]}{letter}", head, place)
    if not 0 <= start <= FARTHEST:
        raise PictureError(f"{shown} says that its values begin at byte {start:g}, which is damage; {_EXPECTED}.")


def _check_grid(image: Any, shown: str, channels: int | None) -> None:
    """Refuse, before they are read, values on another grid, of no real numbers, or too many of them."""
    shape = tuple(int(side) for side in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    places, more = shape[:3], shape[3:]
    if len(places) < 3 or len([side for side in more if side > 1]) > 1 or min(shape) < 1:
        raise PictureError(
            f"{shown} has the shape {spell_shape(shape)}; expected (I, J, K), or (I, J, K, C) of channels."
        )
    held = math.prod(more)
    if channels is not None and held != channels:
        raise PictureError(
            f"{shown} has the shape {spell_shape(shape)}, so {held} channel{'s' if held > 1 else ''}; the network "
            f"takes {channels}."
        )
    if image.get_data_dtype().kind not in "uif":
        raise PictureError(f"{shown} holds values of {image.get_data_dtype()}; expected real numbers, one a voxel.")
    if places[0] > 1 and min(places) == 1:
        raise PictureError(f"{shown} is a single slice {spell_shape(places)}; expected a volume of several.")
    check_room(shape, shown, 12 + image.get_data_dtype().itemsize)


def _placing_notes(image: Any) -> Sequence[str]:
    """What to say about a header that does not say where the body lies."""
    if int(image.header["sform_code"]) or int(image.header["qform_code"]):
        return ()
    return ("the file does not say how the body lies in it: taken as right, front, head (RAS)",)


def _unit_of(image: Any, notes: list[str]) -> float:
    """Millimetres in the header's unit of length."""
    name, unit = UNITS.get(int(image.header["xyzt_units"]) & 7, ("", 1.0))
    if name:
        notes.append(f"its lengths are in {name}: spacing converted to millimetres, its affine kept")
    return unit


def turned(
    values: NDArray[Any],
    affine: NDArray[np.float64],
    name: str,
    shown: str,
    *,
    notes: Sequence[str],
    unit: float = 1.0,
    window: ValueRange | None = None,
) -> Volume:
    """A volume of values ``(I, J, K, C)`` on a file's axes, turned the way all volumes lie."""
    orientation = Orientation.of(affine)
    held, more = checked_values(orientation.from_file(np.moveaxis(values, -1, 0)), shown)
    slices, rows, columns = (length * unit for length in orientation.spacing(affine))
    spoken = " x ".join(f"{length:.3g}" for length in (slices, rows, columns))
    lies = f"voxels of {spoken} mm; stored as {letters_of(affine)}, given as slices from feet to head, (z, y, x)"
    return Volume(
        held, name, notes=(*notes, *more, lies), spacing=(slices, rows, columns), affine=affine, window=window
    )


def letters_of(affine: NDArray[np.float64]) -> str:
    """Where the file's axes (i, j, k) run to, such as ``"LPS"``: left or right, front or back, head or feet."""
    orientation = Orientation.of(affine)
    ends = ("SI", "PA", "LR")  # along slices, rows and columns, and against them
    found = {axis: end[flipped] for axis, flipped, end in zip(orientation.axes, orientation.flipped, ends, strict=True)}
    return "".join(found[axis] for axis in range(3))
