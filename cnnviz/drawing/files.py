"""Files: written whole or not at all, the same bytes each time, with a note inside that can be read back."""

from __future__ import annotations

import gzip
import io
import os
import threading
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from cnnviz.core.atomic import replacing
from cnnviz.core.sample import Volume
from cnnviz.drawing.fonts.families import quietly
from cnnviz.drawing.fonts.pdf import shown_in_pdf
from cnnviz.drawing.notes import MARK, NIFTI_COMMENT, NOTE_KEY, STORE, UNREADABLE, exif, find_note, load_av
from cnnviz.errors import MissingExtraError, OutputError, ParameterError

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
    "encode_nifti",
    "ending_of",
    "ensure_writable",
    "is_ours",
    "load_encoder",
    "rasterise",
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
        MissingExtraError: It is a video, and PyAV is not installed.
    """
    path = Path(path)
    if _ensure_suffix(path, suffixes) == ".mp4":
        load_encoder()
    try:
        _ensure_place(path, force=force)
    except OSError as error:
        raise OutputError(f"'{path}' cannot be written: {error.strerror or error}.") from error


def load_encoder() -> Any:
    """PyAV, to write a video with.

    Raises:
        MissingExtraError: It is not installed.
    """
    return load_av("Writing an .mp4 file (.gif and .webp need nothing more)")


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
        write_pixels(path, rasterise(figure), note)
        return
    metadata: dict[str, str | None] = (
        {"Creator": MARK, "Description": note, "Date": None}
        if suffix == ".svg"
        else {"Creator": MARK, "Keywords": note, "CreationDate": None}
    )
    held = io.BytesIO()  # matplotlib writes a PDF's end even where there was no room for the rest
    as_text = shown_in_pdf(figure) if suffix == ".pdf" else nullcontext()
    with steady_settings(), quietly(), _pictures_as_they_are(figure), as_text:
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


SCANNER: Final = 1
"""NIfTI's code for places that a scanner has given."""

FAR: Final = 30.0
"""How many times larger another unit of length is, at least."""


def encode_nifti(values: NDArray[Any], volume: Volume, *, packed: bool = True, note: str = "") -> bytes:
    """A map as the content of a NIfTI file that lies on the volume in any viewer.

    A volume that does not say how the body lies in it gets the axes that its drawing has: columns to the left, rows to
    the back, slices to the head, from the origin on.

    Args:
        values: ``(D, H, W)``, as long as the volume along each axis, or ``(N, D, H, W)`` of several maps; NaN where
            there is no value.
        volume: What the map is of.
        packed: Whether it is packed with gzip, for a ``.nii.gz``; the same map has the same bytes.
        note: Kept as a comment (see :func:`read_note`).

    Raises:
        ParameterError: The map is not as large as the volume, or that is a clip.
        MissingExtraError: If nibabel is not installed.
    """
    if tuple(values.shape[-len(volume.size) :]) != volume.size:
        raise ParameterError(
            f"The map has the shape {tuple(values.shape)}, the volume {volume.size}; expected the same."
        )
    if volume.is_clip:
        raise ParameterError("A clip has no place in space, so its map cannot be a NIfTI file; expected an .npz.")
    try:
        import nibabel
    except ImportError as error:
        raise MissingExtraError("Writing NIfTI files", "volumes") from error
    affine = _plain_affine(volume) if volume.affine is None else volume.affine
    turned = volume.orientation.to_file(np.asarray(values, np.float32))
    data = np.ascontiguousarray(np.moveaxis(turned, 0, -1) if turned.ndim > len(volume.size) else turned)
    image: Any = nibabel.Nifti1Image(data, affine)  # type: ignore[no-untyped-call]
    image.set_sform(affine, SCANNER)
    image.set_qform(affine, SCANNER)
    image.header.set_xyzt_units(_unit_of(volume))
    finite = data[np.isfinite(data)]
    image.header["cal_min"], image.header["cal_max"] = (finite.min(), finite.max()) if finite.size else (0, 0)
    image.header["descrip"] = MARK.encode()
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(NIFTI_COMMENT, f"{MARK} {note}".encode()))
    content: bytes = image.to_bytes()
    return gzip.compress(content, mtime=0) if packed else content


def _plain_affine(volume: Volume) -> NDArray[np.float64]:
    """The place of a volume that says none: voxels of its spacing, or of 1 mm, the way up that it is drawn."""
    slices, rows, columns = volume.spacing or (1.0, 1.0, 1.0)
    return np.diag([-columns, -rows, slices, 1.0])


def _unit_of(volume: Volume) -> str:
    """The unit of a volume's affine, beside which its spacing is in millimetres."""
    if volume.affine is None or volume.spacing is None:
        return "mm"
    ratio = volume.spacing[0] / volume.orientation.spacing(volume.affine)[0]
    return "meter" if ratio > FAR else "micron" if ratio < 1 / FAR else "mm"


def write_nifti(path: Path, values: NDArray[Any], volume: Volume, note: str) -> None:
    """Write maps of a volume as NIfTI, on its own grid.

    Args:
        path: Ends in ``.nii`` or ``.nii.gz``.
        values: As :func:`encode_nifti` takes them.
        volume: What the maps are of.
        note: Kept as a comment (see :func:`read_note`).

    Raises:
        OutputError: The file cannot be written.
        MissingExtraError: nibabel is not installed.
    """
    packed = _ensure_suffix(path, NIFTI_SUFFIXES) != NIFTI_SUFFIXES[0]
    content = encode_nifti(values, volume, packed=packed, note=note)
    with replacing(path) as file:
        file.write(content)


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
    """The note in a file that one of this module's writers wrote, or in a store of maps.

    Raises:
        OutputError: There is no such file, it cannot be read, or it holds no note.
    """
    path = Path(path)
    suffix = ending_of(path)
    if suffix not in NIFTI_SUFFIXES:
        _ensure_suffix(path, (*NOTED_SUFFIXES, STORE))
    try:
        if not (path.is_file() or (suffix == STORE and path.is_dir())):
            raise OutputError(f"There is no file '{path}'.")
        note = find_note(path, suffix)
    except UNREADABLE as error:
        because = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
        raise OutputError(f"'{path}' cannot be read as {suffix}{because}.") from error
    if note is None:
        raise OutputError(f"'{path}' was not written by cnnviz, or its note was removed.")
    return note


CARRIERS: Final = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".mp4", *NIFTI_SUFFIXES)
"""Endings of files that are inputs of networks, or outputs of ours."""


def is_ours(path: Path) -> bool:
    """Whether a picture, a clip or a volume is an output of ours, as the note in it tells; a broken file is none."""
    suffix = ending_of(path)
    if suffix not in CARRIERS:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            if suffix != ".png":
                return find_note(path, suffix) is not None
            with Image.open(path) as image:  # ours stands before the pixels, which need not be decoded
                return MARK in image.info
    except (MissingExtraError, *UNREADABLE):  # of a video, where nothing is installed that reads it
        return False


def _ensure_place(path: Path, *, force: bool) -> None:
    if path.is_dir():
        raise OutputError(f"'{path}' is a folder; name a file in it.")
    if path.exists() and not path.is_file():
        raise OutputError(f"'{path}' is a pipe or a device, and not an ordinary file; name another.")
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


def rasterise(figure: Figure, dpi: int = _FIGURE_DPI) -> NDArray[np.uint8]:
    """A figure as pixels ``(H, W, 3)`` uint8, so many an inch."""
    buffer = io.BytesIO()
    with steady_settings():
        figure.savefig(buffer, format="png", dpi=dpi)
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
