"""Networks of torchvision, by name."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from torch import nn
from torchvision.models import WeightsEnum, get_model, get_model_weights

from cnnviz.errors import UnknownNameError, WeightsError
from cnnviz.models.downloads import cached_file, download
from cnnviz.models.formats import looks_like_file, wants_random
from cnnviz.models.origin import RANDOM, OpenedNetwork
from cnnviz.models.preprocess import Preprocess
from cnnviz.models.sources.registries import DETECTION, SEGMENTATION, VIDEO, torchvision_registry
from cnnviz.models.state_dict import build_for
from cnnviz.models.weights import Checkpoint, read_checkpoint

__all__ = ["open_torchvision"]

INCEPTIONS: Final = ("googlenet", "inception_v3")
"""Their own initialisation is slow and warns."""

AUXILIARY: Final = ("aux1.", "aux2.", "AuxLogits.", "aux_classifier.")
"""Heads that only training calls: they are left out."""

USUAL_FRAMES: Final = 16
USUAL_RATE: Final = 15.0
"""How many frames torchvision trains its networks for clips with, and how many of them a second."""


def open_torchvision(name: str, weights: str | os.PathLike[str] | None = None) -> OpenedNetwork:
    """Open a network of torchvision for classification, segmentation, detection or clips.

    Args:
        name: Its name, such as ``"resnet50"`` or ``"fcn_resnet50"``.
        weights: One of torchvision's names, a file, ``"none"`` for random ones, or None for torchvision's default.

    Raises:
        UnknownNameError: If the network has no such weights.
        WeightsError: If the weights are neither cached nor reachable, or do not fit.
    """
    entries = get_model_weights(name)
    if wants_random(weights):
        module = _build_network(name, entries.DEFAULT, None)
        return _describe_network(module, name, entries.DEFAULT, "random", notes=(RANDOM,))
    if weights is None:
        entry, notes = _choose_default(name, entries)
        return _open_trained(name, entry, notes)
    known = _find_entry(entries, os.fspath(weights))
    if known is not None:
        return _open_trained(name, known, ())
    if not looks_like_file(os.fspath(weights)):
        raise UnknownNameError(
            "weights entry", os.fspath(weights), entries.__members__,
            f"{name} has {', '.join(entry.name for entry in entries)}; a file and 'none' are taken too.",
        )  # fmt: skip
    return _open_with_file(name, entries, weights)


def _find_entry(entries: type[WeightsEnum], text: str) -> WeightsEnum | None:
    plain = text.removeprefix(f"{entries.__name__}.").upper()
    return entries.__members__.get(plain)


def _choose_default(name: str, entries: type[WeightsEnum]) -> tuple[WeightsEnum, tuple[str, ...]]:
    """The default weights, or others that are cached where the default can be had nowhere."""
    default = entries.DEFAULT
    if cached_file(default.url):
        return default, ()
    try:
        download(default.url, name, default.meta.get("_file_size"))
    except WeightsError:
        for other in entries:
            if cached_file(other.url):
                return other, (f"{other.name} used: {default.name} is neither cached nor reachable",)
        raise
    return default, ()


def _open_trained(name: str, entry: WeightsEnum, notes: tuple[str, ...]) -> OpenedNetwork:
    file = cached_file(entry.url) or download(entry.url, name, entry.meta.get("_file_size"))
    try:
        checkpoint = _read_weights(name, file)
    except WeightsError as error:
        raise WeightsError(f"{error} It is in {file.parent}; delete it to have it fetched again.") from None
    fitted = build_for(checkpoint, lambda _: _build_network(name, entry, None), name, None)
    return _describe_network(fitted.module, name, entry, entry.name, notes=notes)


def _read_weights(name: str, weights: str | os.PathLike[str]) -> Checkpoint:
    checkpoint = read_checkpoint(weights)
    if name not in INCEPTIONS and not _has_pixels(name):
        return checkpoint
    state = {key: value for key, value in checkpoint.state.items() if not any(head in key for head in AUXILIARY)}
    return replace(checkpoint, state=state)


def _open_with_file(name: str, entries: type[WeightsEnum], weights: str | os.PathLike[str]) -> OpenedNetwork:
    """A network with weights of the user's; torchvision's own files are known by their names."""
    file = Path(weights)
    own = next((entry for entry in entries if Path(entry.url).name == file.name), None)
    entry = own or entries.DEFAULT
    checkpoint = _read_weights(name, weights)
    classes = len(entry.meta["categories"])
    fitted = build_for(checkpoint, lambda count: _build_network(name, entry, count), name, classes)
    assumed = "" if own else f"preprocessing was not given: that of torchvision's {entry} assumed"
    return _describe_network(
        fitted.module, name, entry, file.name, classes=fitted.classes, notes=fitted.notes, assumed=assumed
    )


def _has_pixels(name: str) -> bool:
    """Whether a network has a class for every pixel."""
    return torchvision_registry()[name].task == SEGMENTATION


def _detects(name: str) -> bool:
    """Whether a network finds boxes."""
    return torchvision_registry()[name].task == DETECTION


def _build_network(name: str, entry: WeightsEnum, classes: int | None) -> nn.Module:
    """The network with its initial weights, in the form that these trained weights have."""
    settings: dict[str, Any] = {} if classes is None else {"num_classes": classes}
    if name.startswith("vit_"):
        settings["image_size"] = entry.meta["min_size"][0]
    if name in INCEPTIONS:
        settings |= {"init_weights": False, "transform_input": True, "aux_logits": False}
    if _has_pixels(name) or _detects(name):
        settings |= {"num_classes": classes or len(entry.meta["categories"]), "weights_backbone": None}
    module: nn.Module = get_model(name, weights=None, **settings)
    return module


def _describe_network(
    module: nn.Module,
    name: str,
    entry: WeightsEnum,
    weights: str,
    *,
    classes: int | None = None,
    notes: tuple[str, ...] = (),
    assumed: str = "",
) -> OpenedNetwork:
    categories = entry.meta["categories"]
    classes = classes or len(categories)
    return OpenedNetwork(
        module=module,
        name=name,
        origin={"source": "torchvision", "weights": weights},
        preprocess=_preprocessing_of(module, name, entry),
        labels=categories if classes == len(categories) else None,
        classes=classes,
        notes=notes,
        assumed=assumed,
    )


def _preprocessing_of(module: nn.Module, name: str, entry: WeightsEnum) -> Preprocess:
    if _detects(name):
        return _whole_pictures(module)
    if torchvision_registry()[name].task != VIDEO:
        return Preprocess.from_torchvision(entry.transforms())
    frames, rate = (re.search(rf"{word}=([\d.]+\d)", entry.meta["_docs"]) for word in ("clip_len", "frame_rate"))
    return Preprocess.from_clips(
        entry.transforms(),
        frames=int(frames[1]) if frames else USUAL_FRAMES,
        rate=float(rate[1]) if rate else USUAL_RATE,
    )


def _whole_pictures(module: nn.Module) -> Preprocess:
    """Whole pictures in a square of the size that a detector makes its inputs; it normalises them itself."""
    transform: Any = module.transform
    side = int((transform.fixed_size or transform.min_size)[-1])
    return Preprocess(input_size=(side, side), resize="whole", mean=(0.0,), std=(1.0,))
