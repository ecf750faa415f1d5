"""The request: maps of which data set, by which method with which settings, of which targets."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import torch

from cnnviz.catalogue import command_name, load
from cnnviz.core.parse_target import parse_target
from cnnviz.core.similar import Similar, SimilarPair
from cnnviz.core.target import CustomTarget, DetectionTarget, RegionTarget, Target, TargetLike, TopClass
from cnnviz.errors import ParameterError, TargetError, UsageError, nearest
from cnnviz.images.datasets.dataset import Dataset
from cnnviz.images.datasets.memory import open_memory
from cnnviz.images.datasets.open import open_dataset
from cnnviz.method import Method, check_network
from cnnviz.methods.scan.manifest import IDENTITY, Manifest, describe_device
from cnnviz.models.model import Model
from cnnviz.models.origin import file_digest
from cnnviz.provenance import Provenance, __version__, asking, plain

if TYPE_CHECKING:
    from cnnviz.images.reading import ImagesLike

    DataLike: TypeAlias = Dataset | ImagesLike

__all__ = ["DIFFERENCES", "MapRequest", "MapSettings"]

AT_ONCE: Final = 32
"""Pictures in a block, where the method does not say how many it asks about at once."""

OF_PICTURES: Final = (RegionTarget, DetectionTarget, Similar, SimilarPair)
"""Targets that are about a place in a picture or about another picture, and so need more than the network's input."""

LAYOUT: Final = 1
DIFFERENCES: Final[Mapping[str, str]] = {
    "network": "another network, or the same with other weights or preprocessing",
    "data": "another data set, or the data set has changed",
    "classes": "a data set with other classes",
    "places": "another kind of network",
    "method": "another method",
    "settings": "other settings of the method",
    "target": "another target",
    "target_files": "another target: a file of that name with something else in it",
    "look": "another look",
    "files": "other files",
    "device": "another kind of device",
    "dtype": "another floating type",
    "versions": "another version of torch or cnnviz",
    "record": "other versions of libraries",
}


@dataclass(frozen=True)
class MapSettings:
    """How the work is done.

    Attributes:
        block: Pictures asked about together; None for as many as the method asks about at once.
        threads: CPU threads that compute.
        workers: Processes that read pictures; None chooses.

    Raises:
        ParameterError: If a number is out of bounds.
    """

    block: int | None = None
    threads: int | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("block", 1), ("threads", 1), ("workers", 0)):
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < least:
                raise ParameterError(f"{name} must be a whole number of at least {least}; got {value!r}.")
            object.__setattr__(self, name, int(value))

    @property
    def left_open(self) -> list[str]:
        """What work that has begun already decides over."""
        return [name for name in ("block", "threads") if getattr(self, name) is None]


@dataclass(frozen=True)
class MapRequest:
    """Maps of which data set, by which method, of which targets.

    Attributes:
        model: The network.
        data: The pictures.
        method: The method.
        settings: All its settings.
        target: What is explained of every picture, or a list with as many targets as there are pictures.
    """

    model: Model
    data: Dataset
    method: Method[Any, Any]
    settings: Mapping[str, Any]
    target: Any = None

    @classmethod
    def of(
        cls,
        model: Model,
        data: DataLike,
        method: str | Method[Any, Any],
        target: TargetLike | Sequence[TargetLike],
        settings: Mapping[str, Any],
    ) -> MapRequest:
        """What a call asks.

        Raises:
            UnknownNameError: If there is no such method, label or layer.
            UsageError: If the method gives no map of each picture, has no such setting or takes no target.
            PictureError: If the data set cannot be opened.
        """
        check_network(model)
        asked = method if isinstance(method, Method) else load(str(method))
        if not asked.singly:
            raise UsageError(
                f"'{command_name(asked.name)}' gives no map of each picture; choose one that does, such as gradcam."
            )
        checked = _check_settings(model, asked, settings)
        opened = open_dataset(data, entrance=model.preprocess.entrance)
        several = isinstance(target, (list, tuple)) or getattr(target, "ndim", 0) == 1
        given: Any = list(target) if several else target  # type: ignore[arg-type]
        if given is not None and "target" not in asked.needs:
            raise UsageError(f"'{command_name(asked.name)}' explains no target: its maps are the same for every class.")
        if several and len(given) != len(opened):
            raise TargetError(f"Give one target for all, or one for each: {len(given)} targets, {len(opened)} images.")
        found = cls(model, opened, asked, checked, given)
        if checked.get("layer"):
            for name in str(checked["layer"]).split(","):
                model.check_layer(name.strip())
        found._ensure_telling()
        return found

    def _ensure_telling(self) -> None:
        """Refuse targets of which a run that goes on could not tell whether they are still the same.

        Raises:
            TargetError: If one is a function, an object in memory, or a pair of pictures.
        """
        for each in self._every_target:
            if isinstance(each, SimilarPair):
                raise TargetError("'similar:pair' explains two pictures; name one that all are compared with instead.")
            if isinstance(each, CustomTarget):
                raise TargetError(
                    "A function has no name that says what it computes, so a run that goes on could not tell it from "
                    "another; name a class, a unit or a difference of them, or ask the method itself."
                )

    @property
    def _every_target(self) -> list[Target]:
        return self.parsed if isinstance(self.parsed, list) else [self.parsed]

    def _target_files(self) -> list[str]:
        """A hash of every file and picture that targets name: under the same name there may be another next time."""
        found: dict[str, None] = {}
        for each in self._every_target:
            if isinstance(each, RegionTarget) and each.region is not None and each.region.file:
                found[file_digest(Path(each.region.file))] = None
            for side in each.sides if isinstance(each, Similar) else ():
                named = isinstance(side, (str, os.PathLike))
                entrance = self.model.preprocess.entrance
                found[file_digest(Path(side)) if named else open_memory([side], entrance).mark(0)] = None
        return list(found)

    @cached_property
    def parsed(self) -> Target | list[Target]:
        """The target, or one for each picture, not yet settled."""
        known: dict[Any, Target] = {}

        def parse(like: Any) -> Target:
            key = like if isinstance(like, (str, int)) else id(like)
            if key not in known:
                known[key] = (
                    TopClass() if like is None else parse_target(like, self.model.labels, self.model.layer_names)
                )
            return known[key]

        return [parse(each) for each in self.target] if isinstance(self.target, list) else parse(self.target)

    @cached_property
    def whole(self) -> bool:
        """Whether the method needs the pictures themselves, and not only the network's inputs made of them."""
        return self.model.detecting or any(isinstance(each, OF_PICTURES) for each in self._every_target)

    def targets_of(self, images: Sequence[int]) -> dict[str, Any]:
        """What a method is given as its target for some pictures; nothing where it takes none."""
        if "target" not in self.method.needs:
            return {}
        if isinstance(self.target, list):
            return {"target": [self.target[image] for image in images]}
        return {"target": self.target}

    def ask(self, images: Any, numbers: Sequence[int]) -> Any:
        """The method's result of some pictures.

        Args:
            images: Pictures, or inputs ``(N, C, H, W)``.
            numbers: Which pictures of the data set they are.
        """
        return self.method(self.model, images, **self.targets_of(numbers), **self.settings)

    def manifest(self, how: MapSettings, **more: Any) -> Manifest:
        """All that decides over the maps, and their record.

        Args:
            how: How the work is done.
            **more: What else decides.
        """
        model, count = self.model, len(self.data)
        usual = self.settings.get("batch_size") or AT_ONCE
        block = model.fixed_batch or min(how.block or usual, count)
        told = model.describe()
        held = {
            "layout": LAYOUT,
            "network": {name: told[name] for name in IDENTITY if name in told},
            "data": self.data.describe(),
            "classes": None if self.data.classes is None else list(self.data.classes),
            "places": model.places,
            "method": self.method.name,
            "settings": {name: plain(value) for name, value in self.settings.items()},
            "target": plain(self.target),
            "target_files": self._target_files(),
            "block": int(block),
            "blocks_a_shard": 1,
            "threads": how.threads or 1,
            "device": describe_device(model.device),
            "dtype": str(model.dtype).removeprefix("torch."),
            "versions": {"cnnviz": __version__, "torch": str(torch.__version__), "numpy": np.__version__},
            "record": json.loads(self._record(told).to_json())["cnnviz"],
            **more,
        }
        return Manifest(json.loads(json.dumps(held)))

    def _record(self, told: Mapping[str, Any]) -> Provenance:
        """The record of all maps, but for how they were computed, and what is known only once they are there."""
        with asking({} if self.target is None else {"target": self.target}):
            record = Provenance(
                model=told,
                images=({"name": self.data.name, "sha256": self.data.fingerprint, "kind": "dataset"},),
                device=self.model.device.type,
                dtype=str(self.model.dtype).removeprefix("torch."),
                seed=self.settings.get("seed"),
            )
        return record.stamped(self.method.name, self.settings)


def _check_settings(model: Model, method: Method[Any, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a method, those that are given checked.

    Raises:
        UsageError: If it has no such setting.
        ParameterError: If one is out of its bounds.
    """
    for name in given:
        if name not in method.parameters:
            near = nearest(name, method.parameters, 1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise UsageError(f"'{command_name(method.name)}' has no setting '{name}'.{hint}")
    if given.get("layer") is not None:
        several = given["layer"] if isinstance(given["layer"], (list, tuple)) else [given["layer"]]
        given = {**given, "layer": ",".join(str(model.spell_layer(each)) for each in several)}
    return {name: one.check(given.get(name, one.default)) for name, one in method.parameters.items()}
