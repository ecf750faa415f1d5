"""Volumes in: arrays, stacks of slices, and files and folders of whatever kind that holds one."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from cnnviz.core.picture import LUMA
from cnnviz.core.sample import Volume
from cnnviz.errors import PassingPictureError, PictureError, quoted
from cnnviz.images.arrays import NPY, check_room, checked_values, placed_values, read_npy, spell_shape
from cnnviz.images.dicom import is_dicom, read_dicom
from cnnviz.images.nifti import NIFTI, read_nifti
from cnnviz.images.reading import SUFFIXES, explain_passing, is_folder, open_file, reason_of

__all__ = ["VOLUME_SUFFIXES", "as_volume", "holds_slices", "read_volume"]

TIFFS: Final = (".tif", ".tiff")
VOLUME_SUFFIXES: Final = (NPY, *NIFTI, *TIFFS, ".dcm")
"""File name endings taken for volumes; a folder of pictures or DICOM files is one too."""

_EXPECTED: Final = (
    f"expected a volume in a file ending in {', '.join(VOLUME_SUFFIXES)}, or in a folder of DICOM files or slices"
)


def read_volume(path: str | os.PathLike[str], channels: int | None = None) -> Volume:
    """Read a volume: ``.npy``, NIfTI, a multi-page TIFF, a folder of DICOM files or of slices, or a file of a series.

    Where the file says how the body lies in it, the volume is turned as :class:`cnnviz.Volume` describes; elsewhere its
    axes are taken as slices, rows and columns.

    Args:
        path: The file or the folder. Of several series in a folder, the one of the DICOM file named.
        channels: How many channels the network takes; None where that is not known.

    Raises:
        PictureError: It is missing, damaged, of another kind, a single slice, or has another number of channels.
        MissingExtraError: It needs nibabel or pydicom, and they are not installed.
    """
    given = os.fsdecode(path)
    where, shown = Path(given), quoted(given)
    if is_folder(where):
        return _read_folder(where, shown, channels)
    name = where.name.lower()
    if name.endswith(NPY):
        return as_volume(read_npy(given), where.name, channels, shown=shown)
    if name.endswith(NIFTI):
        return read_nifti(given, channels)
    if name.endswith(TIFFS):
        return _read_pages(where, shown, channels)
    with open_file(given, shown, _EXPECTED):
        pass
    if is_dicom(where):
        _check_grey(1, channels, shown)
        beside = [each for each in _files_in(where.parent, shown) if is_dicom(each)]
        return read_dicom(beside, where.name, shown, chosen=where)
    what = "a single picture" if where.suffix.lower() in SUFFIXES else "no volume"
    raise PictureError(f"{shown} is {what}, and the network takes three dimensions; {_EXPECTED}.")


def as_volume(array: NDArray[Any], name: str, channels: int | None = None, *, shown: str = "") -> Volume:
    """A volume from an array ``(D, H, W)``, ``(C, D, H, W)`` or ``(D, H, W, C)`` of numbers.

    Args:
        array: The array.
        name: What the volume is called.
        channels: How many channels the network takes; None where that is not known.
        shown: What a message calls it; default: the name.

    Raises:
        PictureError: It has another shape, or values that are no finite numbers.
    """
    values, notes = placed_values(array, channels, shown or name, "DHW")
    return Volume(values, name, notes=notes)


def holds_slices(folder: Path) -> bool:
    """Whether a folder is one volume: whether DICOM files or pictures lie in it, and no volumes of other kinds."""
    files = _files_in(folder, quoted(str(folder)))
    if any(is_dicom(each) for each in files):
        return True
    if any(each.name.lower().endswith((NPY, *NIFTI)) for each in files):
        return False
    pictures = [each for each in files if each.suffix.lower() in SUFFIXES]
    return bool(pictures) and _count_pages(pictures[0]) <= 1


def _files_in(folder: Path, shown: str) -> list[Path]:
    """The files of a folder that are not hidden, numbers in their names in the order of numbers."""
    try:
        found = [each for each in folder.iterdir() if not each.name.startswith(".") and each.is_file()]
    except OSError as error:
        raise PictureError(f"The folder {shown} cannot be read; {_EXPECTED}.") from error
    return sorted(found, key=_natural)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Numbers within names as numbers: slice 9 before slice 10."""
    parts = re.split(r"(\d+)", path.name.lower())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


def _read_folder(folder: Path, shown: str, channels: int | None) -> Volume:
    files = _files_in(folder, shown)
    scans = [each for each in files if is_dicom(each)]
    if scans:
        _check_grey(1, channels, shown)
        return read_dicom(scans, folder.resolve().name, shown)
    slices = [each for each in files if each.suffix.lower() in SUFFIXES]
    if not slices:
        raise PictureError(f"The folder {shown} holds no slices; {_EXPECTED}.")
    if len(slices) == 1:
        raise PictureError(f"The folder {shown} holds a single slice, {quoted(slices[0].name)}; expected several.")
    planes = (plane for each in slices for plane in _pages_of(each, quoted(each.name), most=1))
    volume = _stack(planes, len(slices), [each.name for each in slices], shown, channels)
    order = f"{len(slices)} slices from {slices[0].name} to {slices[-1].name}"
    return volume.changed(name=folder.resolve().name, notes=(order, *volume.notes))


def _read_pages(path: Path, shown: str, channels: int | None) -> Volume:
    with open_file(str(path), shown, _EXPECTED):
        count = _count_pages(path)
    if count == 0:
        raise PictureError(f"{shown} is damaged, or not a TIFF; expected one that is whole.")
    if count == 1:
        raise PictureError(
            f"{shown} is a single slice, and the network takes three dimensions; expected several pages."
        )
    names = [f"page {page}" for page in range(1, count + 1)]
    volume = _stack(_pages_of(path, shown), count, names, shown, channels)
    return volume.changed(name=path.name)


def _count_pages(path: Path) -> int:
    """How many pictures a file holds; 0 for one that cannot be read, which reading it says."""
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            return int(getattr(image, "n_frames", 1))
    except Exception:  # noqa: BLE001 - a decoder fed with damaged data can raise anything; reading it says so
        return 0


def _pages_of(path: Path, shown: str, most: int | None = None) -> Iterator[NDArray[Any]]:
    """The values ``(H, W)`` or ``(H, W, 3)`` of each picture in a file, as they are stored."""
    try:
        with open_file(str(path), shown, _EXPECTED) as file, Image.open(file) as image:
            for number, page in enumerate(ImageSequence.Iterator(image)):
                if number == most:
                    return
                check_room((page.size[1], page.size[0]), shown, 24)
                yield _plain_page(page)
    except (PictureError, GeneratorExit):
        raise
    except Exception as error:  # a decoder fed with damaged data can raise anything
        if passing := explain_passing(error, shown):
            raise PassingPictureError(passing) from error
        raise PictureError(f"{shown} is damaged, or not a picture ({reason_of(error)}); expected a slice.") from error


def _plain_page(page: Image.Image) -> NDArray[Any]:
    """The stored numbers of a picture; palettes and transparency are resolved to colours."""
    if page.mode.startswith("I;16") or page.mode in ("L", "I", "F", "RGB"):
        return np.asarray(page)
    if page.mode == "1":
        return np.asarray(page).astype(np.uint8)
    return np.asarray(page.convert("L" if page.mode == "LA" else "RGB"))


def _stack(
    planes: Iterator[NDArray[Any]], count: int, names: Sequence[str], shown: str, channels: int | None
) -> Volume:
    """A volume of slices of one size, one by one; colours are channels, or their luma where the network takes one."""
    values: NDArray[np.float32] | None = None
    notes: list[str] = []
    number = 0
    for number, plane in enumerate(planes, 1):
        layers = plane[None] if plane.ndim < 3 else np.moveaxis(plane, -1, 0)
        if len(layers) == len(LUMA) and channels == 1:
            alike = bool((layers == layers[:1]).all())
            layers = layers[:1] if alike else np.tensordot(np.array(LUMA), layers, 1)[None]
            notes += [] if alike else ["colours read as grey (luma)"]
        if values is None:
            _check_grey(len(layers), channels, shown)
            check_room((len(layers), count, *layers.shape[1:]), shown, 6)
            values = np.empty((len(layers), count, *layers.shape[1:]), np.float32)
        if values[:, 0].shape != layers.shape:
            raise PictureError(
                f"{shown}: {names[number - 1]} has the shape {spell_shape(plane.shape)}, the first slice "
                f"{spell_shape(tuple(values.shape[2:]))}; expected slices of one size and kind."
            )
        values[:, number - 1] = layers
    if values is None or number < count:
        raise PictureError(f"{shown} is truncated: {number} of {count} slices can be read.")
    checked, more = checked_values(values, shown)
    return Volume(checked, notes=(*dict.fromkeys(notes), *more))


def _check_grey(held: int, channels: int | None, shown: str) -> None:
    if channels not in (None, held):
        raise PictureError(
            f"{shown} has {held} channel{'s' if held > 1 else ''}; the network takes {channels}: expected an array "
            f"(C, D, H, W) with C = {channels}."
        )
