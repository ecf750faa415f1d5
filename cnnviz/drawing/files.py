"""Files: written whole or not at all, the same bytes each time, with a note inside that can be read back."""

from __future__ import annotations

import gzip
import io
import os
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from cnnviz.core.atomic import replacing
from cnnviz.drawing.notes import MARK, NIFTI_COMMENT, NOTE_KEY, UNREADABLE, exif, find_note
from cnnviz.errors import MissingExtraError, OutputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "ARRAY_SUFFIXES",
    "FIGURE_SUFFIXES",
    "NIFTI_SUFFIXES",
    "NOTED_SUFFIXES",
    "PAGE_SUFFIXES",
    "PICTURE_SUFFIXES",
    "SUFFIXES",
    "ending_of",
    "ensure_writable",
    "read_note",
    "steady_settings",
    "write_arrays",
    "write_figure",
    "write_labels",
    "write_nifti",
    "write_page",
    "write_pixels",
]

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
FIGURE_SUFFIXES = (".svg", ".pdf")
ARRAY_SUFFIXES = (".npz",)
PAGE_SUFFIXES = (".html", ".htm")
SUFFIXES = PICTURE_SUFFIXES + FIGURE_SUFFIXES + ARRAY_SUFFIXES
NIFTI_SUFFIXES = (".nii", ".nii.gz")
NOTED_SUFFIXES = (*SUFFIXES, *PAGE_SUFFIXES, ".gif", ".mp4", ".json")
"""Everything that can carry a note, or has one beside it."""


_FIGURE_DPI = 200
_LONGEST_SIDE = {".jpg": 65_500, ".jpeg": 65_500, ".webp": 16_383}
_LONGEST_NOTE = 65_000
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_SETTINGS: Any = {"svg.hashsalt": MARK, "svg.fonttype": "none", "pdf.fonttype": 42, "savefig.bbox": None}


def ensure_writable(path: str | os.PathLike[str], *, force: bool = False, suffixes: tuple[str, ...] = SUFFIXES) -> None:
    """Find out before the work starts whether its result can be written.

    Args:
        path: The file that will be written.
        force: Whether it may replace a file.
        suffixes: The endings it may have.

    Raises:
        OutputError: It cannot, for the reason said.
    """
    path = Path(path)
    _ensure_suffix(path, suffixes)
    try:
        _ensure_place(path, force=force)
    except OSError as error:
        raise OutputError(f"'{path}' cannot be written: {error.strerror or error}.") from error


def write_pixels(path: Path, pixels: NDArray[np.uint8], note: str) -> None:
    """Write a picture as PNG, JPEG (quality 92, full colour resolution) or WebP (quality 90).

    Args:
        path: Its suffix says the format.
        pixels: ``(H, W, 3)`` uint8, RGB.
        note: Text to carry along (see :func:`read_note`); up to 65 000 bytes of UTF-8 in JPEG and WebP.

    Raises:
        OutputError: The file cannot be written, or the picture or note is too large for the format.
    """
    suffix = _ensure_suffix(path, PICTURE_SUFFIXES)
    longest = _LONGEST_SIDE.get(suffix)
    if longest and max(pixels.shape) > longest:
        raise OutputError(f"A {suffix} picture has at most {longest} pixels a side, not {max(pixels.shape)}; use .png.")
    if longest and len(note.encode()) > _LONGEST_NOTE:
        raise OutputError(f"What is to be noted in '{path.name}' is too long for {suffix}; use .png.")
    held = io.BytesIO()  # Pillow itself takes no notice when a disk has room for only a part of what it writes
    Image.fromarray(pixels).save(held, **_picture_options(suffix, note))
    with replacing(path) as file:
        file.write(held.getbuffer())


def write_labels(path: Path, indices: NDArray[np.uint8], palette: NDArray[np.uint8]) -> None:
    """Write a PNG whose pixels' values are indices of a palette.

    Args:
        path: Ends in ``.png``.
        indices: ``(H, W)``.
        palette: ``(256, 3)``, RGB.

    Raises:
        OutputError: The suffix is another, or the file cannot be written.
    """
    ensure_writable(path, force=True, suffixes=PICTURE_SUFFIXES[:1])
    image = Image.fromarray(indices)
    image.putpalette(palette.tobytes())
    held = io.BytesIO()
    image.save(held, "PNG")
    with replacing(path) as file:
        file.write(held.getbuffer())


def write_figure(path: Path, figure: Figure, note: str) -> None:
    """Write a figure: SVG and PDF with text as text and pictures at their own resolution, or pixels at 200 dpi.

    Args:
        path: Its suffix says the format.
        figure: What to write.
        note: Text to carry along (see :func:`read_note`).

    Raises:
        OutputError: The file cannot be written.
    """
    suffix = _ensure_suffix(path, PICTURE_SUFFIXES + FIGURE_SUFFIXES)
    if suffix in PICTURE_SUFFIXES:
        write_pixels(path, _rasterise(figure), note)
        return
    metadata: dict[str, str | None] = (
        {"Creator": MARK, "Description": note, "Date": None}
        if suffix == ".svg"
        else {"Creator": MARK, "Keywords": note, "CreationDate": None}
    )
    held = io.BytesIO()  # matplotlib writes a PDF's end even where there was no room for the rest
    with steady_settings(), _pictures_as_they_are(figure):
        figure.savefig(held, format=suffix[1:], metadata=metadata)
    with replacing(path) as file:
        file.write(held.getbuffer())


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], note: str) -> None:
    """Write arrays as ``.npz``, to be read with ``numpy.load``.

    Args:
        path: Ends in ``.npz``.
        arrays: By name; ``provenance`` is taken.
        note: Kept as the array ``provenance`` (see :func:`read_note`).

    Raises:
        OutputError: The file cannot be written, or an array holds Python objects.
    """
    _ensure_suffix(path, ARRAY_SUFFIXES)
    objects = [name for name, array in arrays.items() if array.dtype.hasobject]
    if objects:
        raise OutputError(f"The array '{objects[0]}' holds Python objects, which are not written to '{path.name}'.")
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in {**arrays, NOTE_KEY: np.array(note)}.items():
            entry = zipfile.ZipInfo(f"{name}.npy", _ZIP_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)


def write_nifti(path: Path, values: NDArray[Any], affine: NDArray[np.float64], note: str, *, unit: str = "mm") -> None:
    """Write values on a grid in space as NIfTI, to be opened in any viewer.

    Args:
        path: Ends in ``.nii`` or ``.nii.gz``.
        values: ``(I, J, K)`` or ``(I, J, K, N)``.
        affine: ``(4, 4)``, from indices (i, j, k) to the patient's right, front and head (RAS+).
        note: Kept as a comment (see :func:`read_note`).
        unit: That of the affine: ``"mm"``, ``"meter"`` or ``"micron"``.

    Raises:
        OutputError: The file cannot be written.
        MissingExtraError: nibabel is not installed.
    """
    suffix = _ensure_suffix(path, NIFTI_SUFFIXES)
    try:
        import nibabel
    except ImportError as error:
        raise MissingExtraError(f"Writing NIfTI files, such as '{path.name}',", "volumes") from error
    image: Any = cast("Any", nibabel).Nifti1Image(np.asarray(values, dtype=np.float32), affine)
    image.header.set_xyzt_units(unit)
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(NIFTI_COMMENT, f"{MARK} {note}".encode()))
    content = image.to_bytes()
    with replacing(path) as file:
        file.write(content if suffix == NIFTI_SUFFIXES[0] else gzip.compress(content, mtime=0))


def write_page(path: Path, text: str) -> None:
    """Write an HTML page, with its note inside already.

    Args:
        path: Ends in ``.html`` or ``.htm``.
        text: The whole page.

    Raises:
        OutputError: The file cannot be written.
    """
    _ensure_suffix(path, PAGE_SUFFIXES)
    with replacing(path) as file:
        file.write(text.encode("utf-8", "backslashreplace"))  # the name of a picture need not be valid text


def read_note(path: str | os.PathLike[str]) -> str:
    """The note in a file that one of this module's writers wrote.

    Raises:
        OutputError: There is no such file, it cannot be read, or it holds no note.
    """
    path = Path(path)
    suffix = ending_of(path)
    if suffix not in NIFTI_SUFFIXES:
        _ensure_suffix(path, NOTED_SUFFIXES)
    try:
        if not path.is_file():
            raise OutputError(f"There is no file '{path}'.")
        note = find_note(path, suffix)
    except UNREADABLE as error:
        because = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
        raise OutputError(f"'{path}' cannot be read as {suffix}{because}.") from error
    if note is None:
        raise OutputError(f"'{path}' was not written by cnnviz, or its note was removed.")
    return note


def _ensure_place(path: Path, *, force: bool) -> None:
    if path.is_dir():
        raise OutputError(f"'{path}' is a folder; name a file in it.")
    if path.exists() and not path.is_file():
        raise OutputError(f"'{path}' is a pipe or a device, and no ordinary file; name another.")
    if not path.parent.is_dir():
        raise OutputError(f"There is no folder '{path.parent}' to write '{path.name}' into.")
    if os.path.lexists(path) and not force:
        raise OutputError(f"'{path}' exists already; allow it to be replaced, or choose another name.")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(f"The folder '{path.parent}' may not be written to.")


def ending_of(path: Path) -> str:
    """A file's ending in small letters, of which ``.nii.gz`` is one."""
    packed = NIFTI_SUFFIXES[1]
    return packed if path.name.lower().endswith(packed) else path.suffix.lower()


def _ensure_suffix(path: Path, known: tuple[str, ...]) -> str:
    suffix = ending_of(path)
    if suffix not in known:
        given = f"ends in '{path.name[-len(suffix) :]}'" if path.suffix else "has no ending"
        choices = " or ".join(filter(None, (", ".join(known[:-1]), known[-1])))
        raise OutputError(f"'{path.name}' {given}, but must end in {choices}.")
    return suffix


def _picture_options(suffix: str, note: str) -> dict[str, Any]:
    if suffix == ".png":
        info = PngImagePlugin.PngInfo()
        info.add_itxt(MARK, note)
        return {"format": "PNG", "pnginfo": info}
    if suffix == ".webp":
        return {"format": "WEBP", "quality": 90, "method": 4, "exif": exif(note)}
    return {"format": "JPEG", "quality": 92, "subsampling": 0, "exif": exif(note)}


class _Alone:
    """Held while matplotlib has other settings than the user's: it has one set of them for all threads."""

    lock = threading.RLock()

    @classmethod
    def renew(cls) -> None:
        """In a process that was just forked nobody else draws, whoever did in the one before."""
        cls.lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Alone.renew)


@contextmanager
def steady_settings() -> Iterator[None]:
    """Inside, matplotlib draws and writes as it does of itself, whatever the user's ``matplotlibrc`` and styles say.

    Matplotlib is loaded only where a figure is written, so that the command line starts quickly.
    """
    import matplotlib

    with _Alone.lock, matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def _rasterise(figure: Figure) -> NDArray[np.uint8]:
    buffer = io.BytesIO()
    with steady_settings():
        figure.savefig(buffer, format="png", dpi=_FIGURE_DPI)
    with Image.open(buffer) as image:
        rgba = image.convert("RGBA")
        paper = Image.new("RGBA", rgba.size, "white")
        return np.asarray(Image.alpha_composite(paper, rgba).convert("RGB"))


@contextmanager
def _pictures_as_they_are(figure: Figure) -> Iterator[None]:
    """Vector formats embed pictures pixel for pixel only where their interpolation is ``none``."""
    images = [image for axes in figure.axes for image in axes.images]
    before = [image.get_interpolation() for image in images]
    try:
        for image in images:
            image.set_interpolation("none")
        yield
    finally:
        for image, interpolation in zip(images, before, strict=True):
            image.set_interpolation(interpolation)
