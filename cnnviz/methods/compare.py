"""Several methods side by side on several images, and on several networks or layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from cnnviz.catalogue import command_name, load, proper_name
from cnnviz.core.dimensions import KINDS
from cnnviz.core.sample import Sample
from cnnviz.core.target import TargetLike
from cnnviz.errors import UsageError
from cnnviz.images.inputs import gather
from cnnviz.images.reading import ImagesLike
from cnnviz.method import Method, check_network, interruptible
from cnnviz.methods.cams.kept import keeping_answers
from cnnviz.methods.predict import predict
from cnnviz.models.model import Model
from cnnviz.provenance import Caution, plain
from cnnviz.results.attribution import Attributions
from cnnviz.results.comparison import Comparison, Panel
from cnnviz.results.heatmap import Heatmaps
from cnnviz.results.predictions import Predictions

__all__ = ["compare"]

SAME = 1 - 1e-6


@interruptible
def compare(
    model: Model | Sequence[Model],
    images: ImagesLike,
    methods: str | Sequence[str],
    target: TargetLike = None,
    *,
    layers: str | Sequence[str] = (),
    sort: Literal["mistakes"] | None = None,
    **settings: Any,
) -> Comparison:
    """Several methods on the same images and targets, as one grid: a row an image, a column a method.

    With several networks or layers there is a row for each of them; a single method has them as columns.

    Args:
        model: The network, or several.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        methods: Names of methods that give heat maps; one text has commas between them.
        target: What is explained; None is each network's top class of each image, the same for every method.
        layers: Layers to look at, one after the other, written likewise; methods that look at no layer are asked once.
        sort: ``"mistakes"`` puts the (first) network's mistakes first, the most confident before the others, then right
            answers, the least confident first, and last pictures whose ``true_class`` is not known.
        **settings: Settings such as ``layer`` or ``batch_size``, given to every method that has them.

    Returns:
        The maps of every method; draws itself as a grid. Its checks say which methods gave the same maps.

    Raises:
        UnknownNameError: If there is no such method or layer.
        UsageError: If a method gives no heat maps, no method has a setting, there is no method or no network, or images
            are to be sorted and the true class of none is known.
    """
    layers = _split_names(layers)
    chosen = {command_name(load(name).name): load(name) for name in _split_names(methods)}
    if not isinstance(model, (list, tuple)):
        check_network(model)
    networks = [model] if isinstance(model, Model) else list(model)
    for network in networks:
        check_network(network)
    _check_request(chosen, settings, networks, layers)
    given = gather(images, networks[0].preprocess.entrance._replace(value_range=None))
    order: tuple[int, ...] = ()
    if sort is not None:
        order = _sort_by_mistakes(networks[0], given, sort)
        given = [given[row] for row in order]
        target = [target[row] for row in order] if isinstance(target, (list, tuple)) else target
    ask = _MapQuestion(given, set())
    panels: list[Panel] = []
    for name, network in zip(_name_networks(networks), networks, strict=True):
        goal = [best[0].target for best in predict(network, given, k=1)] if target is None else target
        for layer in layers or (None,):
            asked = _pair_with_layer(chosen, layer, first=not layers or layer == layers[0])
            with keeping_answers():
                maps = {key: ask(key, method, network, goal, {**settings, **own}) for key, method, own in asked}
            panels.append(Panel(name, layer, maps))
    asked_for = {"methods": list(chosen), "target": target, "layers": list(layers), **settings}
    found = Comparison.of(
        tuple(panels),
        _note_coincidences(panels),
        frozenset(ask.pixelwise),
        {key: plain(value) for key, value in asked_for.items() if value not in (None, [])},
    )
    return replace(found, order=order)


def _sort_by_mistakes(model: Model, images: Sequence[Any], sort: str) -> tuple[int, ...]:
    """The numbers of images, mistakes first."""
    if sort != "mistakes":
        raise UsageError(f"Images are sorted by 'mistakes', not by {sort!r}.")
    known = [image.true_class if isinstance(image, Sample) else None for image in images]
    if not any(name is not None for name in known):
        raise UsageError(
            "Images are sorted by mistakes where their true classes are known: Picture.true_class, or --truth FILE.csv "
            "or folders on the command line."
        )

    answers = predict(model, images, k=1)
    if not isinstance(answers, Predictions):
        raise UsageError("Images are sorted by mistakes of networks that give each image a class.")

    def rank(row: int) -> tuple[int, float]:
        best = answers.best[row][0]
        sure = best.probability if best.probability is not None else best.logit
        if known[row] is None:
            return 2, 0.0
        return (1, sure) if str(best.target) == known[row] else (0, -sure)

    return tuple(sorted(range(len(images)), key=rank))


def _split_names(names: str | Sequence[str]) -> Sequence[str]:
    """Names, also of one text with commas between them."""
    return [name.strip() for name in names.split(",") if name.strip()] if isinstance(names, str) else names


@dataclass(frozen=True)
class _MapQuestion:
    """The images that every method is asked about, and the methods whose answers are pixelwise."""

    images: Sequence[Any]
    pixelwise: set[str]

    def __call__(
        self, name: str, method: Method[Any, Any], model: Model, target: Any, settings: Mapping[str, Any]
    ) -> Heatmaps:
        own = {key: value for key, value in settings.items() if key in method.parameters}
        if not {"model", "images"} <= set(method.needs) <= {"model", "images", "target"}:
            raise _refuse_method(name)
        found = method(model, self.images, **({"target": target} if "target" in method.needs else {}), **own)
        if isinstance(found, Attributions):
            self.pixelwise.add(name)
            found = found.heatmaps()
        if not isinstance(found, Heatmaps):
            raise _refuse_method(name)
        return found


def _refuse_method(name: str) -> UsageError:
    return UsageError(f"'{name}' gives no heat maps; compare shows methods that do, such as gradcam.")


def _pair_with_layer(
    chosen: Mapping[str, Method[Any, Any]], layer: str | None, *, first: bool
) -> Iterator[tuple[str, Method[Any, Any], dict[str, Any]]]:
    """Methods with the layer as a setting; those that look at none only the first time."""
    for name, method in chosen.items():
        if layer is not None and "layer" in method.parameters:
            yield name, method, {"layer": layer}
        elif first:
            yield name, method, {}


def _name_networks(networks: Sequence[Model]) -> list[str]:
    """Names of networks, a number after those that were there before."""
    names: list[str] = []
    for network in networks:
        before = sum(other.name == network.name for other in networks[: len(names)])
        names.append(f"{network.name} ({before + 1})" if before else network.name)
    return names


def _check_request(
    chosen: Mapping[str, Method[Any, Any]],
    settings: Mapping[str, Any],
    networks: Sequence[Model],
    layers: Sequence[str],
) -> None:
    if not networks:
        raise UsageError("Give at least one network to compare methods on.")
    if not chosen:
        raise UsageError("Name at least one method to compare; 'cnnviz methods' lists them.")
    kinds = sorted({KINDS[network.places] for network in networks})
    if len(kinds) > 1:
        taken = " and ".join(f"{kind}s" for kind in kinds)
        raise UsageError(f"Networks are compared on the same inputs; these take {taken}.")
    if layers and "layer" in settings:
        raise UsageError("Give layers to compare, or one layer for all; not both.")
    if len(set(layers)) < len(layers):
        raise UsageError(f"A layer is compared with itself: {', '.join(layers)}.")
    if layers and not any("layer" in method.parameters for method in chosen.values()):
        raise UsageError(f"None of {', '.join(chosen)} looks at a layer; compare gradcam or another that does.")
    for key in settings:
        if not any(key in method.parameters for method in chosen.values()):
            raise UsageError(f"None of {', '.join(chosen)} has a setting '{key}'.")


def _note_coincidences(panels: Sequence[Panel]) -> tuple[str, ...]:
    """Which methods coincide; named by network and layer where they do not everywhere."""
    found: dict[str, list[Panel]] = {}
    for panel in panels:
        for sentence in _find_coincidences(panel.maps):
            found.setdefault(sentence, []).append(panel)
    where = {
        sentence: [", ".join(filter(None, (one.network, one.layer))) for one in ones]
        for sentence, ones in found.items()
    }
    return tuple(
        Caution(sentence if len(found[sentence]) == len(panels) else f"{'; '.join(places)}: {sentence}")
        for sentence, places in where.items()
    )


def _find_coincidences(found: Mapping[str, Heatmaps]) -> list[str]:
    """A sentence for each group of methods whose maps are the same, but for a factor, on every image."""
    groups: list[list[str]] = []
    said = "{} and {} give identical maps here".format
    for name, maps in found.items():
        alike = next((group for group in groups if _coincide(found[group[0]], maps)), None)
        if alike is None:
            groups.append([name])
        else:
            alike.append(name)
    named = [list(map(proper_name, group)) for group in groups if len(group) > 1]
    return [said(", ".join(group[:-1]), group[-1]) for group in named]


def _coincide(one: Heatmaps, other: Heatmaps) -> bool:
    for a, b in zip(one.upsampled("pixel"), other.upsampled("pixel"), strict=True):
        product = float(np.linalg.norm(a)) * float(np.linalg.norm(b))
        if product == 0 or float((a.astype(np.float64) * b).sum()) < SAME * product:
            return False
    return True
