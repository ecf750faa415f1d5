"""Targets: what is explained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from cnnviz.core.dimensions import Size
from cnnviz.core.region import Mask, Region, picture_part
from cnnviz.core.sample import Sample
from cnnviz.errors import TargetError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = [
    "ClassSum",
    "ClassTarget",
    "CustomTarget",
    "DetectionTarget",
    "Difference",
    "Finer",
    "NoTarget",
    "RegionTarget",
    "Target",
    "TargetLike",
    "TopClass",
    "Unit",
    "check_indices",
    "class_index",
    "class_indices",
    "dense_target",
    "detection_target",
    "named_class",
]


@dataclass(frozen=True, eq=False)
class Target:
    """What is explained; ``str(target)`` is how captions and provenance name it.

    Targets that are equal are asked as one, so this class compares nothing: a kind of target says itself what makes
    two of it equal, and is otherwise equal to itself only.
    """


@dataclass(frozen=True)
class TopClass(Target):
    """The class that the network puts first, for each image its own."""

    spelt: ClassVar[str] = "top"

    def __str__(self) -> str:
        return "top class"


@dataclass(frozen=True)
class NoTarget(Target):
    """Nothing in particular: what methods without a target explain."""

    def __str__(self) -> str:
        return "no target"


@dataclass(frozen=True)
class ClassTarget(Target):
    """The logit of one class."""

    index: int
    label: str | None = None

    @property
    def spelt(self) -> str:
        """How it is asked for."""
        return self.label if self.label is not None else str(self.index)

    def __str__(self) -> str:
        return self.label if self.label is not None else f"class {self.index}"


@dataclass(frozen=True)
class ClassSum(Target):
    """The sum of the logits of several classes: those whose labels match a pattern such as ``"*cat"``.

    Attributes:
        pattern: As the user wrote it.
        classes: The classes.
    """

    pattern: str
    classes: tuple[ClassTarget, ...]

    def __str__(self) -> str:
        named = " + ".join(map(str, self.classes[:NAMED_CLASSES]))
        more = len(self.classes) - NAMED_CLASSES
        return f"{self.pattern} ({named}{f' + {more} more' if more > 0 else ''})"

    def explain(self) -> str:
        """What is explained, all classes named."""
        return f"'{self.pattern}' is the sum of {len(self.classes)} logits: {', '.join(map(str, self.classes))}"


@dataclass(frozen=True)
class Difference(Target):
    """The logit of one class minus that of another: why this rather than that."""

    first: ClassTarget
    second: ClassTarget

    def __str__(self) -> str:
        return f"{self.first} - {self.second}"


@dataclass(frozen=True)
class Finer(Target):
    """What tells a class from the classes nearest to it, as Finer-CAM contrasts them.

    The logit of the class minus ``strength`` times the mean logit of the ``rivals`` classes whose logits are nearest to
    its own. Reference: Zhang et al., Finer-CAM: Spotting the Difference Reveals Finer Details for Visual Explanation,
    CVPR 2025.

    Attributes:
        first: The class.
        strength: How much the others count.
        rivals: How many others.
        others: Their indices, once the network has answered; they stay the same however the picture is changed then.
    """

    first: ClassTarget | TopClass
    strength: float = 0.6
    rivals: int = 3
    others: tuple[int, ...] | None = None

    def __str__(self) -> str:
        return f"{self.first} vs similar"


@dataclass(frozen=True)
class Unit(Target):
    """One channel of a layer: its mean over all places, or its value at one place (row, column).

    A place of a signal's layer is one number, of a volume's three.

    Attributes:
        layer: The layer's name.
        channel: Counted from 0.
        place: Row and column, or None for the mean.
        mirrored: Whether columns are counted from the right, as on a mirrored picture.
    """

    layer: str
    channel: int
    place: Size | None = None
    mirrored: bool = False

    def __str__(self) -> str:
        return f"{self.layer}:{self.channel}" + (f"@{','.join(map(str, self.place))}" if self.place else "")


@dataclass(frozen=True, eq=False)
class CustomTarget(Target):
    """Any function from logits ``(N, K)`` to scores ``(N,)``; equal to itself only, so it need not be hashable."""

    function: Callable[[Tensor], Tensor]

    def __str__(self) -> str:
        return str(getattr(self.function, "__name__", type(self.function).__name__))


@dataclass(frozen=True)
class RegionTarget(Target):
    """Logits of classes summed over pixels of a dense answer, which are held fixed however the picture is changed.

    Reference: Vinogradova, Dibrov and Myers, Towards Interpretable Semantic Segmentation via Gradient-weighted Class
    Activation Mapping, AAAI 2020 (Seg-Grad-CAM).

    Attributes:
        side: The class, several, or the top class, until the network has answered.
        rival: A class whose logits are subtracted, or None.
        region: The part of the picture that was named; None where it is the pixels that the classes win.
        seen: The region on the network's input, once its picture is known.
        mask: The pixels on the answer's grid, once the network has answered.
        peak: Whether it is one place, that of the channel's largest value: a point of a network that gives a heat map
            for each (a keypoint).
        frame: The part of the network's input that shows the picture, where something was put around it.
        picture: The hash of the picture for which the pixels were found; None where that is not known.
    """

    side: ClassTarget | ClassSum | TopClass
    rival: ClassTarget | None = None
    region: Region | None = None
    seen: Mask | None = None
    mask: Mask | None = None
    peak: bool = False
    frame: Mask | None = None
    picture: str | None = field(default=None, compare=False, repr=False)

    @property
    def classes(self) -> tuple[ClassTarget, ...]:
        """The classes that are summed; none before the top class is known."""
        if isinstance(self.side, ClassSum):
            return self.side.classes
        return (self.side,) if isinstance(self.side, ClassTarget) else ()

    @property
    def recorded(self) -> str:
        """What a record says of it, by which it can be asked again: the words, and not the pixels."""
        side = self.side.pattern if isinstance(self.side, ClassSum) else self.side.spelt
        side = f"point {side}" if self.peak else side
        rival = f" - {self.rival.spelt}" if self.rival else ""
        return f"{side}{rival}{self.region.text if self.region else ''}"

    @property
    def count(self) -> int:
        """How many pixels of the answer are meant."""
        return 0 if self.mask is None else int(self.mask.array().sum())

    def placed(self, picture: Sample, read: Callable[[str], NDArray[np.bool_]]) -> RegionTarget:
        """The same with its region, if any, on the input of a picture; ``read`` is from a mask's file to pixels.

        What was found for another picture is forgotten.
        """
        if self.picture not in (None, picture.digest):
            return replace(self, seen=None, mask=None, frame=None, picture=None).placed(picture, read)
        geometry = picture.cut
        if self.region is None:
            return self if self.mask is not None else replace(self, frame=picture_part(geometry))
        return self if self.seen is not None else replace(self, seen=self.region.on_input(geometry, read))

    def settled_for(self, picture: Sample) -> RegionTarget:
        """The same, told to be settled for a picture."""
        return replace(self, picture=picture.digest)

    def mirrored(self) -> RegionTarget:
        """The same on the mirrored picture."""
        places: dict[str, Any] = {"seen": self.seen, "mask": self.mask, "frame": self.frame}
        return replace(self, **{name: each.mirrored() for name, each in places.items() if each is not None})

    def __str__(self) -> str:
        if self.peak:
            return self.recorded
        rival = f" - {self.rival}" if self.rival else ""
        return f"{self.side}{rival}{self.region.text if self.region else ''}"

    def explain(self, *, values: bool = False) -> str:
        """What is explained, in words; of a network that gives values, and no classes, if ``values``."""
        if self.peak and self.mask is not None:
            (rows, columns), place = self.mask.shape, int(self.mask.array().argmax())
            at = f"column {place % columns}, row {place // columns} of its {columns}x{rows} heat map"
            return f"{self}: the value at its own peak on the unchanged picture, {at}, which is held fixed"
        what = f"the sum of {'values' if values else 'logits'}" + (f" less those of {self.rival}" if self.rival else "")
        won = "all pixels" if values else "the pixels where it wins"
        where = won if self.region is None else "the region's pixels"
        shares = "" if values else "; probabilities: their mean there"
        return f"{self}: {what} over {where}, which are held fixed{shares}"


@dataclass(frozen=True)
class DetectionTarget(Target):
    """One of a detector's boxes: how sure the network is of its class there.

    Its box is held fixed once the network has answered. The score is that of the detection of its class which overlaps
    it most, times the overlap (intersection over union), which is 1 on the unchanged picture.

    Attributes:
        side: The class, or the top class for whichever is surest.
        number: Which of the boxes of that class, the surest first, from 1.
        box: Left, top, right and bottom in pixels of the network's input, once the network has answered.
        probability: The detection's score on the unchanged picture, in [0, 1].
        picture: The picture for which the box was found, and how it was cut; None where that is not known.
    """

    side: ClassTarget | TopClass
    number: int = 1
    box: tuple[float, float, float, float] | None = None
    probability: float | None = None
    picture: str | None = field(default=None, compare=False, repr=False)

    @property
    def recorded(self) -> str:
        """What a record says of it, by which it can be asked again."""
        return f"#{self.number}" if isinstance(self.side, TopClass) else f"{self.side.spelt} #{self.number}"

    def placed(self, picture: Sample) -> DetectionTarget:
        """The same for a picture: a box that was found for another, or for another cut of it, is forgotten."""
        known = self.picture in (None, _identify_cut(picture))
        return self if known else replace(self, box=None, probability=None, picture=None)

    def settled_for(self, picture: Sample) -> DetectionTarget:
        """The same, told to be settled for a picture."""
        return replace(self, picture=_identify_cut(picture))

    def mirrored(self, width: int) -> DetectionTarget:
        """The same on a mirrored input of so many pixels across."""
        if self.box is None:
            return self
        left, top, right, bottom = self.box
        return replace(self, box=(width - right, top, width - left, bottom))

    def explain(self) -> str:
        """What is explained, in words."""
        return (
            "a box is held fixed: its score is that of its class's detection there, times their overlap (IoU); where "
            "parts are hidden, the largest such product"
        )

    def __str__(self) -> str:
        return f"detection #{self.number}" if isinstance(self.side, TopClass) else f"{self.side} #{self.number}"


def _identify_cut(picture: Sample) -> str:
    return f"{picture.digest} {picture.cut}"


NAMED_CLASSES = 3
"""Classes that a caption names of a sum."""

TargetLike: TypeAlias = Target | int | str | Callable[[Any], Any] | Sequence[Any] | None


def dense_target(target: Target) -> Target:
    """What a target of whole pictures means of a dense answer: the same, summed over the pixels that its class wins."""
    if isinstance(target, (ClassTarget, ClassSum, TopClass)):
        return RegionTarget(target)
    return RegionTarget(target.first, target.second) if isinstance(target, Difference) else target


def named_class(index: int, labels: Sequence[str] | None) -> ClassTarget:
    """A class with its label, where there is one for it."""
    return ClassTarget(index, labels[index] if labels and index < len(labels) else None)


def class_index(target: Target) -> int | None:
    """The index of the one class that a target is about, or None."""
    if isinstance(target, DetectionTarget) or (isinstance(target, RegionTarget) and target.rival is None):
        target = target.side
    return target.index if isinstance(target, ClassTarget) else None


def class_indices(target: Target) -> list[int]:
    """Indices of all classes that a target is made of."""
    match target:
        case ClassTarget():
            return [target.index]
        case Finer(first=ClassTarget(index=index)):
            return [index, *(target.others or ())]
        case Difference():
            return [target.first.index, target.second.index]
        case ClassSum():
            return [each.index for each in target.classes]
        case RegionTarget():
            return [each.index for each in (*target.classes, *([target.rival] if target.rival else []))]
    return []


def check_indices(target: Target, classes: int) -> None:
    """Refuse a target of a class that is not there, with a TargetError."""
    for index in class_indices(target):
        if not 0 <= index < classes:
            raise TargetError(f"There is no class {index}; this network's classes are 0 to {classes - 1}.")


def detection_target(target: Target) -> Target:
    """What a target of whole pictures means of a detector: the surest box of its class."""
    return DetectionTarget(target) if isinstance(target, (ClassTarget, TopClass)) else target
