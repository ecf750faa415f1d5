"""Opening the networks that come with cnnviz; their names are known without torch."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cnnviz.core.dimensions import PICTURE
from cnnviz.models.bundled import BUNDLED, build, detection_reader, weights_path
from cnnviz.models.formats import wants_random

if TYPE_CHECKING:
    from cnnviz.models.origin import OpenedNetwork

__all__ = ["bundled_names", "bundled_present", "open_bundled"]


def bundled_names() -> list[str]:
    """Names of the networks that come with cnnviz."""
    return list(BUNDLED)


def bundled_present(name: str) -> bool:
    """Whether the weights of a bundled network are there."""
    return weights_path(name).is_file()


def open_bundled(name: str, weights: str | os.PathLike[str] | None = None) -> OpenedNetwork:
    """Open a network that comes with cnnviz.

    Args:
        name: One of ``bundled_names()``.
        weights: None for its own, a file of others, or ``"none"`` for random ones.

    Raises:
        WeightsError: If the weights cannot be read or do not fit.
    """
    from cnnviz.models.origin import RANDOM, OpenedNetwork
    from cnnviz.models.preprocess import Preprocess
    from cnnviz.models.state_dict import build_for
    from cnnviz.models.weights import read_checkpoint

    entry = BUNDLED[name]
    notes: tuple[str, ...] = (RANDOM,)
    if wants_random(weights):
        module, file = build(name), "random"
    else:
        checkpoint = read_checkpoint(weights_path(name) if weights is None else weights)
        fitted = build_for(checkpoint, lambda _: build(name), name, None)
        module, file, notes = fitted.module, checkpoint.name, fitted.notes
    kept = len(entry.input_size) != PICTURE
    preprocess = Preprocess(
        input_size=entry.input_size,
        resize=None if kept else min(entry.input_size),
        mean=entry.mean,
        std=entry.std,
        channels=len(entry.mean),
        keeps_size=kept,
        rate=entry.rate,
        spacing=entry.spacing,
    )
    return OpenedNetwork(
        module=module,
        name=name,
        origin={"source": "bundled", "weights": file},
        preprocess=preprocess,
        labels=entry.labels,
        classes=len(entry.labels),
        notes=notes,
        detections=detection_reader(name),
    )
