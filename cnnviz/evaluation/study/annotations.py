"""Annotations: where the object of a picture is, from masks, boxes or the data set itself, on the network's input."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from cnnviz.core.sample import Geometry
from cnnviz.core.untrusted import open_ordinary, parse_json
from cnnviz.errors import PictureError, UsageError, quoted
from cnnviz.evaluation.metric import BoundingBox
from cnnviz.images.datasets.dataset import Dataset

__all__ = ["Annotation", "Annotations", "PlacedAnnotation", "open_annotations", "place"]

OBJECT, IGNORED, NOTHING = 255, 128, 0
"""Values of a mask's file."""

LEVELS: Final = {NOTHING, IGNORED, OBJECT}
GREY = ("1", "L", "LA", "RGB", "RGBA")
NUMBERED = re.compile(r"\d+ (?P<name>.+)")
"""Keys of pictures that were listed, and not found in a folder."""

SIDES: Final = 4
MOST_NAMED: Final = 3
WRONG_BOX = "a box is four numbers: left, top, right, bottom (COCO's: left, top, width, height)"


@dataclass(frozen=True, eq=False)
class Annotation:
    """Where a picture's object is, in the picture's own pixels.

    Attributes:
        mask: ``(H, W)``; None where only boxes are known.
        ignored: ``(H, W)``, what is not counted; None for nothing.
        boxes: Boxes with the name of their class, empty where it is not known.
        classes: The classes that their file knows.
    """

    mask: NDArray[np.bool_] | None = None
    ignored: NDArray[np.bool_] | None = None
    boxes: tuple[tuple[BoundingBox, str], ...] = ()
    classes: frozenset[str] = frozenset()


@dataclass(frozen=True, eq=False)
class PlacedAnnotation:
    """The same on the network's input.

    Attributes:
        mask: ``(H, W)``: the mask, or all that lies in a box; None where there is none.
        ignored: ``(H, W)``, or None.
        boxes: The boxes, or that around the mask.
    """

    mask: NDArray[np.bool_] | None = None
    ignored: NDArray[np.bool_] | None = None
    boxes: tuple[BoundingBox, ...] = ()


Annotations: TypeAlias = Callable[[int], Annotation | None]
"""From the number of a picture in the data set to its annotation, or None."""


def place(annotation: Annotation | None, geometry: Geometry, label: str = "") -> PlacedAnnotation:
    """An annotation on the network's input, each pixel that of the picture which its middle lies on.

    Args:
        annotation: Where the object is, or None.
        geometry: How the input was cut from the picture.
        label: The class that is explained: where the boxes' file knows it, only those of this class are taken.

    Raises:
        PictureError: If the mask is of another size than the picture.
    """
    if annotation is None:
        return PlacedAnnotation()
    boxes = tuple(_place_box(box, geometry) for box in _boxes_of(annotation, label))
    boxes = tuple(box for box in boxes if box[0] < box[2] and box[1] < box[3])
    if annotation.mask is None:
        return PlacedAnnotation(_fill(boxes, geometry.size), None, boxes) if annotation.boxes else PlacedAnnotation()
    mask = _cut(annotation.mask, geometry)
    ignored = None if annotation.ignored is None else _cut(annotation.ignored, geometry)
    return PlacedAnnotation(mask, ignored, boxes or _around(mask))


def _boxes_of(annotation: Annotation, label: str) -> list[BoundingBox]:
    known = label.casefold() in {name.casefold() for name in annotation.classes}
    return [box for box, name in annotation.boxes if not known or name.casefold() == label.casefold()]


def _cut(mask: NDArray[np.bool_], geometry: Geometry) -> NDArray[np.bool_]:
    if mask.shape != tuple(geometry.original):
        sizes = " x ".join(map(str, mask.shape)), " x ".join(map(str, geometry.original))
        raise PictureError(f"The mask has {sizes[0]} pixels and its picture {sizes[1]}; they must be the same size.")
    at = [
        np.floor((np.arange(length) + start + 0.5) * scale).astype(int)
        for length, start, scale in zip(geometry.size, geometry.start, geometry.scale, strict=True)
    ]
    inside = [(each >= 0) & (each < side) for each, side in zip(at, mask.shape, strict=True)]
    held = mask[np.ix_(*(each.clip(0, side - 1) for each, side in zip(at, mask.shape, strict=True)))]
    return np.asarray(held & inside[0][:, None] & inside[1][None])


def _place_box(box: BoundingBox, geometry: Geometry) -> BoundingBox:
    (top, left), (down, across), (high, wide) = geometry.start, geometry.scale, geometry.size
    columns = [min(max(edge / across - left, 0.0), float(wide)) for edge in box[::2]]
    rows = [min(max(edge / down - top, 0.0), float(high)) for edge in box[1::2]]
    return columns[0], rows[0], columns[1], rows[1]


def _fill(boxes: Iterable[BoundingBox], size: Sequence[int]) -> NDArray[np.bool_]:
    """All pixels whose middle lies in a box."""
    rows, columns = (np.arange(side) + 0.5 for side in size)
    mask = np.zeros(tuple(size), np.bool_)
    for left, top, right, bottom in boxes:
        mask |= ((rows >= top) & (rows < bottom))[:, None] & ((columns >= left) & (columns < right))[None]
    return mask


def _around(mask: NDArray[np.bool_]) -> tuple[BoundingBox, ...]:
    if not mask.any():
        return ()
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return ((float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)),)


def open_annotations(
    data: Dataset, masks: str | os.PathLike[str] | None = None, boxes: str | os.PathLike[str] | None = None
) -> Annotations | None:
    """Where the objects of a data set are: from a folder of masks, a file of boxes, or the data set itself.

    Args:
        data: The pictures.
        masks: A folder with a PNG for each picture, of its name and in its folders: 255 is the object, 128 is not
            counted, 0 is anything else.
        boxes: A JSON file: ``{"photo.jpg": [[left, top, right, bottom], ...]}`` in the picture's pixels, or COCO's.

    Returns:
        A function of a picture's number; None where nothing is known of any.

    Raises:
        UsageError: If both are given, or none of them is about a picture of the data set.
        PictureError: If the folder or file cannot be read.
    """
    if masks is not None and boxes is not None:
        raise UsageError("masks and boxes both say where the objects are; give one.")
    if masks is not None:
        return _open_masks(data, Path(masks))
    if boxes is not None:
        return _open_boxes(data, Path(boxes))
    if len(data) and data.mask(0) is not None:
        return lambda index: Annotation(data.mask(index))
    return None


def _open_masks(data: Dataset, folder: Path) -> Annotations:
    if not folder.is_dir():
        raise PictureError(f"There is no folder {quoted(str(folder))} of masks.")
    files = {str(file.relative_to(folder).with_suffix("")): file for file in sorted(folder.rglob("*.png"))}
    found = {number: files[name] for number, name in _names_in(data, files)}
    if not found:
        raise UsageError(
            f"No mask in {quoted(str(folder))} has the name of a picture of '{data.name}', whose first is "
            f"{quoted(data.keys[0])}; a mask is a PNG of its picture's name, such as photo.png for photo.jpg."
        )
    return lambda index: _read_mask(found[index]) if index in found else None


def _names_in(data: Dataset, known: Mapping[str, Any]) -> Iterable[tuple[int, str]]:
    """Numbers of pictures with the name, among those known, that is theirs: with folders, without, with an ending."""
    for number, key in enumerate(data.keys):
        numbered = NUMBERED.fullmatch(key)
        for one in [key, *([numbered["name"]] if numbered else [])]:
            path = Path(one)
            names = (one, str(path.with_suffix("")), path.name, path.stem)
            match = next((name for name in names if name in known), None)
            if match is not None:
                yield number, match
                break


def _read_mask(file: Path) -> Annotation:
    """A mask from its file.

    Raises:
        PictureError: If it cannot be read, or holds other values.
    """
    try:
        with open_ordinary(file) as opened, Image.open(opened) as image:
            if image.mode not in GREY:
                raise PictureError(
                    f"The mask {quoted(file.name)} is a PNG of kind {image.mode}; expected a grey one (8 bits), 255 "
                    "where the object is, 128 where nothing is counted, 0 elsewhere."
                )
            levels = np.asarray(ImageOps.exif_transpose(image).convert("L"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise PictureError(f"The mask {quoted(file.name)} cannot be read: {error}.") from error
    odd = sorted(set(np.unique(levels).tolist()) - LEVELS)
    if odd:
        named = ", ".join(map(str, odd[:MOST_NAMED])) + (", ..." if len(odd) > MOST_NAMED else "")
        raise PictureError(
            f"The mask {quoted(file.name)} holds {named}; expected 255 where the object is, 128 where nothing is "
            "counted, and 0 elsewhere."
        )
    ignored = levels == IGNORED
    return Annotation(levels == OBJECT, ignored if ignored.any() else None)


def _open_boxes(data: Dataset, file: Path) -> Annotations:
    try:
        with open_ordinary(file) as opened:
            held = parse_json(opened.read())
    except OSError as error:
        raise PictureError(f"{quoted(str(file))} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise PictureError(f"{quoted(file.name)} is no JSON: {error}.") from error
    try:
        known = _read_coco(held) if isinstance(held, dict) and "annotations" in held else _read_plain(held)
        classes = frozenset(name for boxes in known.values() for _, name in boxes if name)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        because = str(error) if isinstance(error, ValueError) else f"{WRONG_BOX}, listed by the picture's name"
        raise PictureError(f"{quoted(file.name)} holds no boxes: {because}.") from error
    bare = {**{str(Path(name).with_suffix("")): boxes for name, boxes in known.items()}, **known}
    found = {number: bare[name] for number, name in _names_in(data, bare)}
    if not found:
        raise UsageError(
            f"{quoted(file.name)} has boxes of no picture of '{data.name}', whose first is {quoted(data.keys[0])}."
        )
    return lambda index: Annotation(boxes=found[index], classes=classes) if index in found else None


def _read_plain(held: Mapping[str, Any]) -> dict[str, tuple[tuple[BoundingBox, str], ...]]:
    """Lists of boxes by the picture's name; a single box need not be in a list."""
    found = {}
    for name, given in held.items():
        several = [given] if given and not isinstance(given[0], (list, tuple)) else given
        found[str(name)] = tuple((_check_box(each), "") for each in several)
    return found


def _read_coco(held: Mapping[str, Any]) -> dict[str, tuple[tuple[BoundingBox, str], ...]]:
    """Boxes of COCO's annotations by the picture's file name, each with the name of its category."""
    names = {each["id"]: str(each["file_name"]) for each in held["images"]}
    classes = {each["id"]: str(each["name"]) for each in held.get("categories", ())}
    found: dict[str, list[tuple[BoundingBox, str]]] = {name: [] for name in names.values()}
    for each in held["annotations"]:
        if each.get("iscrowd"):
            continue
        left, top, wide, high = _numbers(each["bbox"])
        box = _check_box((left, top, left + wide, top + high))
        found[names[each["image_id"]]].append((box, classes.get(each.get("category_id"), "")))
    return {name: tuple(boxes) for name, boxes in found.items()}


def _numbers(given: Any) -> tuple[float, ...]:
    if not isinstance(given, (list, tuple)) or len(given) != SIDES or any(isinstance(each, bool) for each in given):
        raise ValueError(f"{WRONG_BOX}; got {str(given)[:40]}")
    return tuple(float(each) for each in given)


def _check_box(given: Any) -> BoundingBox:
    left, top, right, bottom = _numbers(given)
    if not (left < right and top < bottom):
        raise ValueError(f"{WRONG_BOX}; {str(list(given))[:60]} ends before it begins")
    if max(right, bottom) <= 1:
        raise ValueError(f"boxes are in the picture's pixels, not in shares of it; got {str(list(given))[:60]}")
    return left, top, right, bottom
