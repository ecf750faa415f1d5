"""Questions about a picture: its classes, what hiding parts of it changes, and what speaks for a class where."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from cnnviz.catalogue import command_name, load
from cnnviz.core.picture import Picture
from cnnviz.core.target import class_index
from cnnviz.drawing.colour import Scale, colourise
from cnnviz.errors import ParameterError, TargetError, UsageError
from cnnviz.explorer.cache import name_answer
from cnnviz.explorer.exploration import Exploration, ExploredNetwork, as_bytes, find_method
from cnnviz.explorer.questions.drawings import Drawn, draw_map, draw_overlay, shrink

if TYPE_CHECKING:
    from torch import Tensor

    from cnnviz.provenance import Provenance
    from cnnviz.results.explanation import Explanation

__all__ = [
    "FILLS",
    "classes_of",
    "geometry_of",
    "hide",
    "hold_map",
    "input_of",
    "map_of",
    "read_mask",
    "read_target",
    "spell_target",
]

MOST_CLASSES: Final = 1000
FILLS: Final = ("mean", "blur", "black")
"""What a hidden part is filled with."""
MOST_STROKES: Final = 20_000
COLOURS: Final = 17
"""Colours of a scale that are told."""
MOST_ALSO: Final = 20
"""Classes that are listed besides."""
INDICES: Final = re.compile(r"\d{1,9}(,\d{1,9})*")
NUMBERS: Final = re.compile(r"(\d{1,9})-(\d{1,9})")


def geometry_of(network: ExploredNetwork, picture: Picture) -> dict[str, Any]:
    """Where on a picture the network's input lies."""
    geometry = network.model.preprocess.geometry(picture)
    return {"crop": list(geometry.box), "input": list(geometry.size), "original": list(geometry.original)}


def input_of(network: ExploredNetwork, picture: Picture) -> NDArray[np.uint8]:
    """The network's own input as pixels ``(H, W, 3)``."""
    values, _ = network.cut(picture)
    pixels: NDArray[np.uint8] = network.model.preprocess.to_pixels(values[None])[0]
    return pixels


def classes_of(
    exploration: Exploration, network: ExploredNetwork, key: str, top: int, also: Any = ""
) -> dict[str, Any]:
    """The first classes of a picture.

    Args:
        exploration: What is explored.
        network: The network.
        key: The picture's.
        top: How many classes.
        also: Classes that are listed besides, wherever they stand: one, indices with commas between, or a list.

    Raises:
        TargetError: If there is no such class.
    """
    count = max(1, min(top, MOST_CLASSES))
    found = exploration.cache.remember(
        name_answer("classes", network.key, key, count), lambda: _ask_classes(exploration, network, key, count)
    )
    if not found["brush"]:
        return found
    listed = [one["index"] for one in found["classes"]]
    others = [index for index in dict.fromkeys(_find_classes(network, also)) if index not in listed]
    if not others:
        return found
    return {**found, "classes": [*found["classes"], *_list_classes(exploration, network, key, others)]}


def _find_classes(network: ExploredNetwork, also: Any) -> list[int]:
    """The indices of classes: a text is one, or several numbers.

    Raises:
        TargetError: If one is none, or there are too many.
    """
    several = also.split(",") if isinstance(also, str) and INDICES.fullmatch(also) else also
    named = several if isinstance(several, list) else [several]
    if len(named) > MOST_ALSO:
        raise TargetError(f"At most {MOST_ALSO} classes are listed besides the first; got {len(named)}.")
    return [_find_class(network, str(each)) for each in named if each != ""]


def _find_class(network: ExploredNetwork, text: str) -> int:
    """The index of a class.

    Raises:
        TargetError: If it is none.
    """
    from cnnviz.core.parse_target import parse_target

    model = network.model
    index = class_index(parse_target(text, model.labels, model.layer_names))
    if index is None:
        raise TargetError(f"'{text[:80]}' is not one class of '{model.name}'.")
    return index


def _list_classes(
    exploration: Exploration, network: ExploredNetwork, key: str, indices: Sequence[int]
) -> list[dict[str, Any]]:
    """Classes that are not among the first."""
    bars = _read_all(network, network.cut(exploration.shelf.picture(key))[0])
    if (odd := max(indices)) >= len(bars):
        raise TargetError(f"There is no class {odd}; '{network.model.name}' has {len(bars)}.")
    return _name_bars(network, bars, indices)


def _name_bars(
    network: ExploredNetwork, bars: Sequence[dict[str, Any]], indices: Sequence[int]
) -> list[dict[str, Any]]:
    from cnnviz.core.target import named_class

    named = [named_class(index, network.model.labels) for index in indices]
    return [
        {"index": target.index, "label": target.label or str(target), "target": str(target), **bars[target.index]}
        for target in named
    ]


def _ask_classes(exploration: Exploration, network: ExploredNetwork, key: str, count: int) -> dict[str, Any]:
    import cnnviz
    from cnnviz.results.predictions import Predictions

    found: Any = cnnviz.predict(network.model, exploration.shelf.picture(key), k=count)
    if isinstance(found, Predictions) and network.model.head.multilabel:  # of these predict lists what is likely alone
        bars = _bars_of(network, found)
        order = sorted(range(len(bars)), key=lambda index: -bars[index]["logit"])[:count]
        listed = _name_bars(network, bars, order)
    else:
        listed = [_describe_class(each) for each in found[0]][:count]
    kind = {"Segmentations": "areas", "Detections": "boxes"}.get(type(found).__name__, "classes")
    return {
        "classes": listed,
        "head": str(network.model.head),
        "kind": kind,
        "brush": isinstance(found, Predictions),
        "notes": list(found.checks),
    }


def _describe_class(one: Any) -> dict[str, Any]:
    """A class as a bar: its probability, or of a regression its value; of areas and boxes what they have of these."""
    target = one.target
    logit = getattr(one, "logit", None)
    return {
        "index": class_index(target),
        "label": getattr(target, "label", None) or str(target),
        "target": str(target),
        "logit": logit,
        "probability": getattr(one, "probability", getattr(one, "score", None)),
        **{name: getattr(one, name) for name in ("unit", "share") if getattr(one, name, None) is not None},
        **({"box": list(one.box)} if getattr(one, "box", None) is not None else {}),
    }


def hide(exploration: Exploration, network: ExploredNetwork, key: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The classes of a picture before and after some of the network's input is hidden.

    Args:
        exploration: What is explored.
        network: The network.
        key: The picture's.
        asked: ``strokes`` (discs of ``x``, ``y`` and ``radius`` in pixels of the input, whose left upper corner is 0,
            0: hidden is each pixel whose centre lies in one) or ``mask`` (``(H, W)`` bool), ``fill``, ``top`` and
            ``also``.

    Raises:
        ParameterError: If a stroke is no disc, or there is no such fill.
        UsageError: If the network answers with areas or boxes, which have no bars.
    """
    top = asked.get("top", 10)
    before = classes_of(exploration, network, key, top if isinstance(top, int) else 10, asked.get("also", ""))
    if not before["brush"]:
        raise UsageError("The brush shows how classes of the whole picture move; this network answers for its parts.")
    values, _ = network.cut(exploration.shelf.picture(key))
    height, width = int(values.shape[1]), int(values.shape[2])
    mask = asked["mask"] if "mask" in asked else disc_mask(asked.get("strokes", ()), (height, width))
    if mask.shape != (height, width):
        raise ParameterError(f"The mask is {mask.shape[0]} x {mask.shape[1]}; expected the input's {height} x {width}.")
    hidden = hide_part(network, values, mask, str(asked.get("fill", "mean")))
    after = _read_all(network, hidden)
    pixels = network.model.preprocess.to_pixels(hidden[None])[0]
    name = name_answer("hidden", network.key, key, mask.tobytes(), asked.get("fill"))
    exploration.cache.hold(name, Drawn(partial(shrink, pixels)), pixels.nbytes)
    rows = [
        {**one, "before": _bar(one["logit"], one["probability"]), "after": after[one["index"]]}
        for one in before["classes"]
    ]
    first = max(range(len(after)), key=lambda index: after[index]["logit"])
    return {
        "classes": rows,
        "hidden": float(mask.mean()),
        "first": first,
        "fill": str(asked.get("fill", "mean")),
        "picture": f"api/images/{name}.png",
    }


def disc_mask(strokes: Sequence[Mapping[str, Any]], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Where discs lie, ``(H, W)``: each pixel whose centre lies in one.

    Raises:
        ParameterError: If one is no disc, or there are too many.
    """
    if len(strokes) > MOST_STROKES:
        raise ParameterError(f"There are {len(strokes)} strokes; expected at most {MOST_STROKES}.")
    mask = np.zeros(size, dtype=np.bool_)
    for stroke in strokes:
        try:
            x, y, radius = (float(stroke[name]) for name in ("x", "y", "radius"))
        except (KeyError, TypeError, ValueError):
            raise ParameterError("A stroke is a disc: x, y and radius in pixels of the network's input.") from None
        if not (np.isfinite([x, y, radius]).all() and 0 <= radius <= 1e6 and max(abs(x), abs(y)) <= 1e6):
            raise ParameterError("A stroke is a disc: x, y and radius in pixels of the network's input.")
        top, bottom = (int(np.clip(edge, 0, size[0])) for edge in (np.floor(y - radius), np.ceil(y + radius)))
        left, right = (int(np.clip(edge, 0, size[1])) for edge in (np.floor(x - radius), np.ceil(x + radius)))
        rows = np.arange(top, bottom)[:, None] + 0.5 - y
        columns = np.arange(left, right)[None] + 0.5 - x
        mask[top:bottom, left:right] |= rows**2 + columns**2 <= radius**2
    return mask


def hide_part(network: ExploredNetwork, values: Tensor, mask: NDArray[np.bool_], fill: str) -> Tensor:
    """The network's input ``(C, H, W)`` with a part of it filled: with the mean, blurred, or black.

    Raises:
        ParameterError: If there is no such fill.
    """
    import torch

    from cnnviz.methods.occlusion.baselines import fill_with

    if fill not in FILLS:
        raise ParameterError(f"fill must be one of {', '.join(FILLS)}; got {fill[:40]!r}.")
    side = max(3, min(values.shape[1:]) // 4)
    where = torch.from_numpy(mask)[None, None]
    filled = fill_with(fill, network.model, values, side=side, seed=0)(where.float())[0]
    return torch.where(where[0], filled, values)


def _read_all(network: ExploredNetwork, values: Tensor) -> list[dict[str, Any]]:
    """Logit and probability of every class for one input."""
    import cnnviz

    return _bars_of(network, cnnviz.predict(network.model, values[None], k=1))


def _bars_of(network: ExploredNetwork, found: Any) -> list[dict[str, Any]]:
    import torch

    from cnnviz.engine.scores.score import class_probabilities

    logits = torch.from_numpy(found.logits).double()
    head = network.model.head
    shares = class_probabilities(logits, head)[0].tolist() if head.probable else [None] * logits.shape[1]
    return [_bar(logit, share) for logit, share in zip(logits[0].tolist(), shares, strict=True)]


def _bar(logit: float | None, probability: float | None) -> dict[str, Any]:
    return {"logit": logit, "probability": probability}


def spell_target(text: str) -> str | None:
    """A target from an address: ``"281-282"`` is a difference of classes, nothing is the predicted class."""
    numbers = NUMBERS.fullmatch(text.strip())
    return f"{numbers[1]} - {numbers[2]}" if numbers else text.strip() or None


def read_target(network: ExploredNetwork, text: str) -> str | None:
    """A target from the browser, as all methods take it; None for the predicted class.

    Raises:
        TargetError: If the network has none such, or it names a file: what a browser says opens none.
        UnknownNameError: If there is no such label or layer.
    """
    from cnnviz.core.parse_target import parse_target
    from cnnviz.core.similar import Similar, SimilarPair
    from cnnviz.core.target import RegionTarget

    spelt, model = spell_target(text), network.model
    if spelt is None or (spelt.endswith(":*") and spelt[:-2] in model.layer_names):
        return spelt
    found = parse_target(spelt, model.labels, model.layer_names)
    region = found.region if isinstance(found, RegionTarget) else None
    if isinstance(found, (Similar, SimilarPair)) or (region is not None and region.file is not None):
        raise TargetError(f"The target '{spelt}' names a file, which a page cannot; name it on the command line.")
    return spelt


def map_of(exploration: Exploration, network: ExploredNetwork, key: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """A method's map of a target on a picture.

    Args:
        exploration: What is explored.
        network: The network.
        key: The picture's.
        asked: ``method``, ``target``, ``layer``, and ``settings`` by name.

    Raises:
        CnnvizError: As the method raises it.
    """
    method = find_method(str(asked.get("method") or "gradcam"))
    target, layer = read_target(network, str(asked.get("target") or "")), str(asked.get("layer") or "")
    settings = dict(asked.get("settings") or {})
    if unknown := next((name for name in settings if name not in method.parameters), None):
        raise ParameterError(f"{method.name} has no setting {unknown[:40]!r}.")
    if layer and "layer" in method.parameters:
        settings["layer"] = layer
    name = name_answer("map", network.key, key, method.name, target, sorted(settings.items()))
    answer = exploration.cache.find(f"{name}.said")
    if answer is not None and exploration.cache.find(name) is not None:
        return dict(answer)
    given = {"model": network.model, "images": exploration.shelf.picture(key), "target": target}
    found = method(*(given[need] for need in method.needs), **settings)[0]
    return hold_map(exploration, network, name, found, asked=target)


def hold_map(
    exploration: Exploration,
    network: ExploredNetwork,
    name: str,
    found: Explanation,
    *,
    asked: str | None = None,
    made: Provenance | None = None,
) -> dict[str, Any]:
    """Hold a map with all that is drawn of it, and tell what there is to say.

    Args:
        exploration: What is explored.
        network: The network.
        name: The answer's name.
        found: The map.
        asked: The target as it was asked for.
        made: How it was made, where the map itself does not say it.
    """
    provenance = made or found.provenance
    flat: Any = getattr(found, "flat", found)
    values, scale = flat.upsampled(), found.scale()
    drawn = Drawn(lambda side: draw_overlay(found, side), lambda side: draw_map(found, side))
    exploration.cache.hold(name, drawn, found.picture.held.nbytes + found.values.nbytes)
    exploration.cache.hold(f"{name}.result", found, found.values.nbytes)
    exploration.cache.hold(f"{name}.values", as_bytes(values), values.nbytes)
    answer = {
        "id": name,
        "image": f"api/images/{name}.png",
        "plain": f"api/images/{name}.map.png",
        "values": f"api/arrays/{name}.values",
        "shape": list(values.shape),
        "box": list(found.geometry.box),
        "range": [scale.low, scale.high],
        "signed": scale.signed,
        "colours": spell_colours(scale),
        "blank": found.blank,
        "target": str(found.target),
        "index": class_index(found.target),
        "score": found.score,
        "probability": found.probability,
        "layer": found.layer,
        "caption": found.caption(),
        "notes": list(found.checks),
        "unit": found.measures.strip("|"),
        "command": spell_command(network, provenance, found.picture.name, asked),
        "python": spell_python(network, provenance, found.picture.name, asked),
    }
    exploration.cache.hold(f"{name}.said", answer, 1 << 12)
    return answer


def spell_colours(scale: Scale) -> list[str]:
    """Colours of a scale from its low end to its high one, as a page writes them."""
    shares = np.linspace(scale.low, scale.high, COLOURS)
    return ["#{:02x}{:02x}{:02x}".format(*colour) for colour in colourise(shares[None], scale)[0].tolist()]


def _asked_settings(made: Provenance) -> dict[str, Any]:
    """The settings that are not a method's defaults."""
    told = made.settings
    return {
        name: told[name]
        for name, known in load(made.method).parameters.items()
        if name in told and told[name] is not None and told[name] != known.default
    }


def spell_command(network: ExploredNetwork, made: Provenance, picture: str, target: str | None) -> str:
    """The command that makes a result again; empty where the network was made by a script."""
    if not network.command:
        return ""
    words = ["cnnviz", command_name(made.method), *shlex.split(network.command)]
    if "target" in load(made.method).needs and target is not None:
        words += ["--target", target]
    for name, value in _asked_settings(made).items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            words += [f"--{option}", str(value)]
    return shlex.join([*words, picture])


def spell_python(network: ExploredNetwork, made: Provenance, picture: str, target: str | None) -> str:
    """The Python that makes a result again."""
    given = [repr(picture), *([repr(target)] if "target" in load(made.method).needs and target is not None else [])]
    more = [f"{name}={value!r}" for name, value in _asked_settings(made).items()]
    opened = f"model = {network.code}\n" if network.code else ""
    return f"{opened}cnnviz.{made.method}({', '.join(['model', *given, *more])})"


def read_mask(values: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """A mask ``(H, W)`` from a picture's pixels: true where it is not black."""
    if values.ndim != 3:
        raise TargetError("A mask is a picture.")
    return np.asarray(values.max(axis=2) > 0)
