"""Several methods side by side on several images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnviz.catalogue import command_name, load
from cnnviz.core.target import TargetLike
from cnnviz.errors import UsageError
from cnnviz.images.gathering import gather
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.predict import predict
from cnnviz.models.model import Model
from cnnviz.registry import Method
from cnnviz.results.attributions import Attributions
from cnnviz.results.comparison import Comparison
from cnnviz.results.heatmaps import Heatmaps

__all__ = ["compare"]

SAME = 1 - 1e-6


def compare(
    model: Model, images: ImagesLike, methods: Sequence[str], target: TargetLike = None, **settings: Any
) -> Comparison:
    """Several methods on the same images and targets, as one grid: a row an image, a column a method.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        methods: Names of methods that give heat maps.
        target: What is explained; None is each image's top class, the same for every method.
        **settings: Settings such as ``layer`` or ``batch_size``, given to every method that has them.

    Returns:
        The maps of every method; draws itself as a grid. Its checks say which methods gave the same maps.

    Raises:
        UnknownNameError: If there is no such method.
        UsageError: If a method gives no heat maps, no method has a setting, or there is no method.
    """
    chosen = {command_name(load(name).name): load(name) for name in methods}
    _check(chosen, settings)
    given = gather(images)
    if target is None:
        target = [best[0].target for best in predict(model, given, k=1)]
    found: dict[str, Heatmaps] = {}
    pixelwise: set[str] = set()
    for name, method in chosen.items():
        own = {key: value for key, value in settings.items() if key in method.parameters}
        needed = {"target": target} if "target" in method.needs else {}
        result = method(model, given, **needed, **own)
        if isinstance(result, Attributions):
            pixelwise.add(name)
            result = result.heatmaps()
        if not isinstance(result, Heatmaps):
            raise UsageError(f"'{name}' gives no heat maps; compare shows methods that do, such as gradcam.")
        found[name] = result
    return Comparison(found, tuple(_coincidences(found)), frozenset(pixelwise))


def _check(chosen: dict[str, Method[Any, Any]], settings: dict[str, Any]) -> None:
    if not chosen:
        raise UsageError("Name at least one method to compare; 'cnnviz methods' lists them.")
    for key in settings:
        if not any(key in method.parameters for method in chosen.values()):
            raise UsageError(f"None of {', '.join(chosen)} has a setting '{key}'.")


def _coincidences(found: dict[str, Heatmaps]) -> list[str]:
    """A sentence for each group of methods whose maps are the same, but for a factor, on every image."""
    groups: list[list[str]] = []
    for name, maps in found.items():
        alike = next((group for group in groups if _same(found[group[0]], maps)), None)
        if alike is None:
            groups.append([name])
        else:
            alike.append(name)
    return [f"{', '.join(group[:-1])} and {group[-1]} give the same maps here" for group in groups if len(group) > 1]


def _same(one: Heatmaps, other: Heatmaps) -> bool:
    for a, b in zip(one.upsampled(), other.upsampled(), strict=True):
        product = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
        if product == 0 or float((a.astype(np.float64) * b).sum()) < SAME * product:
            return False
    return True
