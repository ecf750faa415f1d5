"""Maps of volumes as NIfTI files, on the grid and in the place of the file that the volume was read from."""

from __future__ import annotations

import gzip
import io
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from cnnviz.core.sample import Volume
from cnnviz.errors import MissingExtraError, ParameterError

__all__ = ["NIFTI", "encode_nifti"]

NIFTI: Final = (".nii", ".nii.gz")
"""File name endings of NIfTI files."""

SCANNER: Final = 1
"""NIfTI's code for places that a scanner has given."""
_WORDS: Final = 79


def encode_nifti(values: NDArray[Any], volume: Volume, *, packed: bool = True, words: str = "") -> bytes:
    """A map as the content of a NIfTI file that lies on the volume in any viewer.

    A volume that does not say how the body lies in it gets the axes that its drawing has: columns to the left, rows to
    the back, slices to the head, from the origin on.

    Args:
        values: ``(D, H, W)``, as long as the volume along each axis; NaN where there is no value.
        volume: What the map is of.
        packed: Whether it is packed with gzip, for a ``.nii.gz``; the same map has the same bytes.
        words: What the header says of it, in ASCII; at most 79 letters.

    Raises:
        ParameterError: The map is not as large as the volume, or that is a clip.
        MissingExtraError: If nibabel is not installed.
    """
    if tuple(values.shape) != volume.size:
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
    data = np.ascontiguousarray(volume.orientation.to_file(np.asarray(values, np.float32)))
    image: Any = nibabel.Nifti1Image(data, affine)  # type: ignore[no-untyped-call]
    image.set_sform(affine, SCANNER)
    image.set_qform(affine, SCANNER)
    image.header.set_xyzt_units("mm")
    finite = data[np.isfinite(data)]
    image.header["cal_min"], image.header["cal_max"] = (finite.min(), finite.max()) if finite.size else (0, 0)
    image.header["descrip"] = words.encode("ascii", "replace")[:_WORDS]
    content: bytes = image.to_bytes()
    if not packed:
        return content
    held = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=held, mtime=0) as file:
        file.write(content)
    return held.getvalue()


def _plain_affine(volume: Volume) -> NDArray[np.float64]:
    """The place of a volume that says none: voxels of its spacing, or of 1 mm, the way up that it is drawn."""
    slices, rows, columns = volume.spacing or (1.0, 1.0, 1.0)
    return np.diag([-columns, -rows, slices, 1.0])
