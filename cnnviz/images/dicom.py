"""Volumes of the body in: series of DICOM files, sorted by place and turned the way all volumes lie."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.picture import ValueRange
from cnnviz.core.sample import Volume
from cnnviz.errors import MissingExtraError, PassingPictureError, PictureError, quoted
from cnnviz.images.arrays import check_room, checked_values, quiet_library
from cnnviz.images.nifti import turned
from cnnviz.images.reading import explain_passing, open_file, reason_of

__all__ = ["is_dicom", "read_dicom"]

SUFFIXES: Final = (".dcm", ".dicom")
UNEVEN: Final = 0.02
"""Share of the step between slices by which one may lie elsewhere than it should."""
_PREAMBLE: Final = 128
_AGREEING: Final = 1e-3
_SAME: Final = {
    "Rows": "rows", "Columns": "columns", "PixelSpacing": "pixel spacing", "ImageOrientationPatient": "orientation",
    "SamplesPerPixel": "samples a pixel",
}  # fmt: skip
"""What the slices of a volume have in common."""
HEADER: Final = (
    *_SAME, "SeriesInstanceUID", "SeriesDescription", "SeriesNumber", "NumberOfFrames", "ImagePositionPatient",
    "InstanceNumber", "PhotometricInterpretation", "WindowCenter", "WindowWidth",
)  # fmt: skip
"""What of a header is looked at."""
_EXPECTED: Final = "expected a DICOM file that is whole"

Decoded = TypeVar("Decoded")


def is_dicom(path: Path) -> bool:
    """Whether a file is a DICOM file: by its ending, or by its first bytes where it ends in numbers or in nothing."""
    if path.suffix.lower() in SUFFIXES:
        return True
    if path.suffix and not path.suffix[1:].isdecimal():
        return False
    try:
        with path.open("rb") as file:
            return file.read(_PREAMBLE + 4)[_PREAMBLE:] == b"DICM"
    except OSError:
        return False


def read_dicom(files: Sequence[Path], name: str, shown: str, chosen: Path | None = None) -> Volume:
    """Read a series of DICOM files: slices by their place, with the header's scale, turned as all volumes are.

    Args:
        files: All files that there are.
        name: What the volume is called.
        shown: What a message calls it.
        chosen: One of the files, whose series is read where there are several.

    Raises:
        PictureError: There is no series, or more than one and none chosen; a slice is missing, damaged, or differs.
        MissingExtraError: If pydicom is not installed.
    """
    try:
        import pydicom
    except ImportError as error:
        raise MissingExtraError(f"Reading DICOM files, such as {shown},", "volumes") from error
    with quiet_library("pydicom"):
        headers = {file: _read_header(pydicom, file) for file in files}
        files, series = _one_series({file: head for file, head in headers.items() if "Rows" in head}, shown, chosen)
        heads = [headers[file] for file in files]
        _check_alike(files, heads, shown)
        check_room((len(files), int(heads[0]["Rows"]), int(heads[0].get("Columns", 1))), shown, 12)
        order, affine, notes = _place_slices(files, heads, shown)
        values = _stack_slices(pydicom, [files[place] for place in order])
    middle = heads[order[len(order) // 2]]
    notes = [f"{len(files)} slices of the series {series}", *notes]
    if middle.get("PhotometricInterpretation") == "MONOCHROME1":
        notes.append("MONOCHROME1: viewers draw its low values bright")
    window = _window_of(middle)
    if affine is not None:
        return turned(np.transpose(values, (2, 1, 0))[..., None], affine, name, shown, notes=notes, window=window)
    held, more = checked_values(values[None], shown)
    return Volume(held, name, notes=(*notes, *more), window=window)


def _read_header(pydicom: Any, file: Path) -> dict[str, Any]:
    """What of a file's header is looked at, by its name; nothing else of it is decoded."""
    return _decode(file, lambda opened: _plain_header(pydicom.dcmread(opened, stop_before_pixels=True)))


def _plain_header(head: Any) -> dict[str, Any]:
    return {key: head.get(key) for key in HEADER if key in head}


def _read_pixels(pydicom: Any, file: Path) -> NDArray[Any]:
    """The values ``(rows, columns)`` of a file, with its own scale."""
    from pydicom.pixels.processing import apply_modality_lut

    def decode(opened: IO[bytes]) -> NDArray[Any]:
        read = pydicom.dcmread(opened)
        return np.asarray(apply_modality_lut(read.pixel_array, read))

    return _decode(file, decode)


def _decode(file: Path, decode: Callable[[IO[bytes]], Decoded]) -> Decoded:
    shown = quoted(file.name)
    with open_file(str(file), shown, _EXPECTED) as opened:
        try:
            return decode(opened)
        except Exception as error:  # a decoder fed with damaged data can raise anything
            if passing := explain_passing(error, shown):
                raise PassingPictureError(passing) from error
            reason = reason_of(error)[:200]
            raise PictureError(f"{shown} is damaged, or not a DICOM file ({reason}); {_EXPECTED}.") from error


def _one_series(headers: Mapping[Path, Any], shown: str, chosen: Path | None) -> tuple[list[Path], str]:
    """The files of the one series that there is, or that was chosen, and what it is called."""
    series: dict[str, list[Path]] = defaultdict(list)
    for file, head in headers.items():
        series[str(head.get("SeriesInstanceUID", ""))].append(file)
    if chosen is not None and chosen in headers:
        series = {"": series[str(headers[chosen].get("SeriesInstanceUID", ""))]}
    if not series:
        raise PictureError(f"{shown} holds no DICOM file with pixels; expected the slices of one series.")
    if len(series) > 1:
        found = [
            f"{_series_name(headers[each[0]])} ({len(each)} files, such as {each[0].name})" for each in series.values()
        ]
        raise PictureError(
            f"{shown} holds {len(series)} series: {'; '.join(found[:5])}{'; ...' if len(found) > 5 else ''}. Name one "
            "of the files for its series."
        )
    (files,) = series.values()
    first = headers[files[0]]
    if int(first.get("NumberOfFrames", 1) or 1) > 1:
        raise PictureError(
            f"{quoted(files[0].name)} holds several frames in one DICOM file, which is not read; expected a file a "
            "slice, or a NIfTI file, which dcm2niix makes of it."
        )
    if len(files) == 1:
        raise PictureError(f"{shown} holds a single slice of the series {_series_name(first)}; expected several.")
    return files, _series_name(first)


def _series_name(head: Any) -> str:
    said = " ".join(str(head.get("SeriesDescription", "") or "").split())[:60]
    number = head.get("SeriesNumber")
    return " ".join(filter(None, [quoted(said) if said else "", f"number {number}" if number is not None else ""])) or (
        "without a name"
    )


def _check_alike(files: Sequence[Path], heads: Sequence[Any], shown: str) -> None:
    """Refuse slices that differ in what those of one volume have in common."""
    for key, word in _SAME.items():
        first = _numbers(heads[0].get(key))
        for file, head in zip(files, heads, strict=True):
            own = _numbers(head.get(key))
            if own.shape != first.shape or not np.allclose(own, first, atol=_AGREEING):
                raise PictureError(
                    f"{shown}: {quoted(file.name)} has other {word} than {quoted(files[0].name)}: {_spell(own)} and "
                    f"{_spell(first)}; expected slices of one volume."
                )
    if int(heads[0].get("SamplesPerPixel", 1) or 1) != 1:
        raise PictureError(f"{shown} holds colours; expected slices of one value a pixel.")


def _numbers(value: Any) -> NDArray[np.float64]:
    try:
        return np.atleast_1d(np.array([] if value is None else value, np.float64))
    except (TypeError, ValueError):
        return np.array([])


def _spell(numbers: NDArray[np.float64]) -> str:
    return " ".join(f"{number:g}" for number in numbers) or "nothing"


def _place_slices(
    files: Sequence[Path], heads: Sequence[Any], shown: str
) -> tuple[list[int], NDArray[np.float64] | None, list[str]]:
    """The order of slices along their normal, the affine of (column, row, slice) to RAS+ millimetres, and notes.

    Raises:
        PictureError: If slices share a place, or are not equally far from each other.
    """
    spacing, turn = _numbers(heads[0].get("PixelSpacing")), _numbers(heads[0].get("ImageOrientationPatient"))
    places = [_numbers(head.get("ImagePositionPatient")) for head in heads]
    if spacing.shape != (2,) or turn.shape != (6,) or any(each.shape != (3,) for each in places):
        order = sorted(
            range(len(heads)), key=lambda row: (int(heads[row].get("InstanceNumber", 0) or 0), files[row].name)
        )
        return order, None, ["the files do not say where slices lie: sorted by their numbers, without spacing"]
    normal = np.cross(turn[:3], turn[3:])
    order = sorted(range(len(heads)), key=lambda row: float(places[row] @ normal))
    sorted_places = np.stack([places[row] for row in order])
    step = (sorted_places[-1] - sorted_places[0]) / (len(order) - 1)
    heights = sorted_places @ normal
    gaps = np.diff(heights)
    usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])
    if gaps.min() <= UNEVEN * max(usual, _AGREEING):
        row = int(np.argmin(gaps))
        pair = " and ".join(quoted(files[order[each]].name) for each in (row, row + 1))
        raise PictureError(f"{shown}: the slices {pair} lie at one place; expected one slice a place.")
    line = sorted_places[0] + np.arange(len(order))[:, None] * step
    away = np.linalg.norm(sorted_places - line, axis=1).max()
    if np.abs(gaps - usual).max() > UNEVEN * usual or away > len(order) * UNEVEN * usual:
        row = int(np.argmax(np.abs(gaps - usual)))
        pair = " and ".join(quoted(files[order[each]].name) for each in (row, row + 1))
        raise PictureError(
            f"{shown}: slices are not equally far from each other: {gaps[row]:g} mm between {pair}, {usual:g} mm "
            "elsewhere; expected a series without gaps."
        )
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = turn[:3] * spacing[1], turn[3:] * spacing[0], step
    affine[:3, 3] = sorted_places[0]
    affine[:2] *= -1  # DICOM counts to the patient's left and back
    if abs(np.linalg.det(affine[:3, :3])) < np.finfo(np.float32).tiny:
        raise PictureError(f"{shown} says no sound place of its slices; expected those of one volume.")
    return order, affine, []


def _stack_slices(pydicom: Any, files: Sequence[Path]) -> NDArray[np.float32]:
    """The values ``(slices, rows, columns)``."""
    first = _read_pixels(pydicom, files[0])
    values = np.empty((len(files), *first.shape), np.float32)
    for number, file in enumerate(files):
        plane = _read_pixels(pydicom, file) if number else first
        if plane.shape != first.shape:
            raise PictureError(f"{quoted(file.name)} has pixels of another size than its header says; {_EXPECTED}.")
        values[number] = plane
    return values


def _window_of(head: Any) -> ValueRange | None:
    """The values that the header wants black and white (the standard's linear function); of several the first."""
    centre, width = _numbers(head.get("WindowCenter")), _numbers(head.get("WindowWidth"))
    if not len(centre) or not len(width) or not np.isfinite([centre[0], width[0]]).all() or width[0] <= 1:
        return None
    low = float(centre[0] - 0.5 - (width[0] - 1) / 2)
    return low, low + float(width[0] - 1)
