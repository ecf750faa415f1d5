"""Candidates: what is judged, methods at their layers, functions of a script, and controls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cnnviz.catalogue import command_name, load, proper_name
from cnnviz.core.dimensions import size_of
from cnnviz.core.target import ClassTarget
from cnnviz.errors import CnnvizError, ExplanationError, UsageError, describe_failure, nearest
from cnnviz.evaluation.controls import CONTROLS
from cnnviz.evaluation.metric import Explain
from cnnviz.method import MOST_SEED, Method
from cnnviz.models.model import Model
from cnnviz.results.attribution import Attributions
from cnnviz.results.heatmap import Heatmaps

__all__ = ["Candidate", "MethodsLike", "read_candidates"]

Function: TypeAlias = "Callable[[Model, Tensor, Any], Any]"
"""A user's method: from the network, its inputs ``(N, C, H, W)`` and N targets to maps ``(N, H, W)``."""

MethodsLike: TypeAlias = "str | Sequence[str] | Mapping[str, str | Function]"

AT: Final = "@"
"""Between a method's name and a layer's."""


@dataclass(frozen=True)
class Candidate:
    """One way to get maps.

    Attributes:
        name: As it was typed, with its layer: ``"gradcam"`` or ``"gradcam@layer3"``; a user's own name; a control's.
        proper: As tables and figures say it.
        explain: Network, inputs, targets and a seed to maps.
        method: The method of the catalogue, or None.
        layer: The layer that was named, or None.
        control: Whether it knows nothing of the network.
        settings: Settings of the method besides the layer.
    """

    name: str
    proper: str
    explain: Explain = field(repr=False)
    method: str | None = None
    layer: str | None = None
    control: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)


def read_candidates(
    model: Model, methods: MethodsLike, layers: str | Sequence[str] = (), settings: Mapping[str, Any] | None = None
) -> tuple[Candidate, ...]:
    """What is to be judged, in the order it was given.

    Args:
        model: The network.
        methods: Names of methods that give maps, with ``@LAYER`` at a layer of their own, one text with commas between;
            or a mapping from names of your own to these, and to functions ``(model, inputs, targets) -> maps``.
        layers: Layers at which every method that looks at one is judged.
        settings: For every method that has them.

    Raises:
        UnknownNameError: If there is no such method or layer.
        UsageError: If a method gives no maps, two have one name, or no method has a setting.
    """
    named = _named(methods)
    places = _split(layers)
    for place in places:
        model.check_layer(place)
    found: list[Candidate] = []
    for name, what in named:
        if isinstance(what, str):
            found += _read_method(model, name, what, places, settings or {})
        elif callable(what):
            found.append(Candidate(name, name, _explain_by(name, what)))
        else:
            raise UsageError(f"The method '{name}' is of type {type(what).__name__}; expected a name or a function.")
    _check(found, places, settings or {})
    return tuple(found)


def control_candidates() -> tuple[Candidate, ...]:
    """The controls of every table."""
    return tuple(Candidate(name, name.capitalize(), _explain_control(name), control=True) for name in CONTROLS)


def _named(methods: MethodsLike) -> list[tuple[str, Any]]:
    if isinstance(methods, Mapping):
        return [(str(name), what) for name, what in methods.items()]
    if callable(methods):
        raise UsageError("A function is given with a name: methods={'theirs': function}.")
    several = _split(methods)
    odd = next((each for each in several if not isinstance(each, (str, Method))), None)
    if odd is not None:
        raise UsageError(f"A method is given by its name, or a function as {{'theirs': function}}; got {odd!r}.")
    return [(name, name) for name in (each.name if isinstance(each, Method) else each for each in several)]


def _split(names: str | Sequence[Any]) -> list[Any]:
    return [name.strip() for name in names.split(",") if name.strip()] if isinstance(names, str) else list(names)


def _read_method(
    model: Model, name: str, what: str, places: Sequence[str], settings: Mapping[str, Any]
) -> list[Candidate]:
    """A method, at every layer if it looks at one and none is its own."""
    plain, mark, own = what.partition(AT)
    method = load(plain)
    if not {"model", "images"} <= set(method.needs) <= {"model", "images", "target"} or not method.singly:
        raise UsageError(f"'{plain}' gives no map of each picture; evaluate judges methods that do, such as gradcam.")
    if mark:
        if "layer" not in method.parameters:
            raise UsageError(f"'{plain}' looks at no layer, so '{what}' has no meaning; write {plain}.")
        model.check_layer(own)
    looks = "layer" in method.parameters
    given = {key: method.parameters[key].check(value) for key, value in settings.items() if key in method.parameters}
    chosen: Sequence[str | None] = [own] if mark else (places if looks and places else [None])
    called = command_name(method.name)
    return [
        Candidate(
            _spell(called if name == what else name, layer),
            _spell(proper_name(method.name) if name == what else name, layer, " at "),
            _explain_with(method, {**given, **({"layer": layer} if layer else {})}),
            method.name,
            layer,
            settings=given,
        )
        for layer in chosen
    ]


def _spell(name: str, layer: str | None, mark: str = AT) -> str:
    return name if layer is None or name.endswith(f"{mark}{layer}") else f"{name}{mark}{layer}"


def _check(found: Sequence[Candidate], places: Sequence[str], settings: Mapping[str, Any]) -> None:
    if not found:
        raise UsageError("Name at least one method to evaluate; 'cnnviz methods' lists them.")
    names = [each.name for each in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"'{twice}' is named twice; a method is judged once at each layer.")
    taken = next((name for name in names if name in CONTROLS), None)
    if taken is not None:
        raise UsageError(f"'{taken}' is the name of a control, which is in every table; choose another.")
    looking = [each for each in found if each.method and "layer" in load(each.method).parameters]
    if places and not looking:
        raise UsageError(f"None of {', '.join(names)} looks at a layer; evaluate gradcam or another that does.")
    methods = [load(each.method) for each in found if each.method]
    for key in settings:
        if not any(key in method.parameters for method in methods):
            near = nearest(key, [name for method in methods for name in method.parameters], 1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise UsageError(f"None of {', '.join(names)} has a setting '{key}'.{hint}")


def inputs_of(model: Model, pictures: Any) -> Tensor:
    """Network inputs ``(N, C, H, W)`` of pictures, or of what are inputs already, on the network's device."""
    if isinstance(pictures, Tensor):
        return model.to_device(pictures)
    made = [each if isinstance(each, Tensor) else model.preprocess(each)[0] for each in pictures]
    return model.to_device(torch.stack(made))


def _explain_with(method: Method[Any, Any], settings: Mapping[str, Any]) -> Explain:
    """A method of the catalogue."""
    targeted, seeded = "target" in method.needs, "seed" in method.parameters

    def explain(model: Model, pictures: Any, target: Any, seed: int) -> NDArray[np.float32]:
        given = {**settings, **({"seed": seed} if seeded and "seed" not in settings else {})}
        found = method(model, pictures, **({"target": target} if targeted else {}), **given)
        if isinstance(found, Attributions):
            found = found.heatmaps()
        if not isinstance(found, Heatmaps):
            raise UsageError(f"'{command_name(method.name)}' gives no heat maps of this network.")
        return found.upsampled()

    return explain


def _explain_control(name: str) -> Explain:
    control = CONTROLS[name]

    def explain(model: Model, pictures: Any, _target: Any, seed: int) -> NDArray[np.float32]:
        inputs = inputs_of(model, pictures)
        _, std = model.preprocess.columns(torch.float32)
        pixels = (inputs.detach().cpu().float() * std).numpy()
        return np.stack([control(each, (seed + row) % (MOST_SEED + 1)) for row, each in enumerate(pixels)])

    return explain


def _explain_by(name: str, function: Function) -> Explain:
    """A user's function; classes are given to it as numbers."""

    def explain(model: Model, pictures: Any, target: Any, _seed: int) -> NDArray[np.float32]:
        inputs = inputs_of(model, pictures)
        targets = [_plainly(each) for each in (target if isinstance(target, (list, tuple)) else [target] * len(inputs))]
        try:
            with torch.enable_grad():
                found = function(model, inputs.clone(), targets)
        except CnnvizError:
            raise
        except Exception as error:
            raise ExplanationError(f"The method '{name}' fails: {describe_failure(error)}.") from error
        return _as_maps(name, found, (len(inputs), *size_of(inputs)))

    return explain


def _plainly(target: Any) -> Any:
    return target.index if isinstance(target, ClassTarget) else target


def _as_maps(name: str, found: Any, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Maps ``(N, H, W)`` of what a function returned: coarser ones enlarged bilinearly, channels of one taken off."""
    if isinstance(found, Attributions):
        found = found.heatmaps()
    if isinstance(found, Heatmaps):
        return found.upsampled()
    try:
        values = found.detach() if isinstance(found, Tensor) else torch.as_tensor(np.asarray(found))
        values = values.cpu().float()
    except (TypeError, ValueError, RuntimeError):
        raise _refuse_maps(name, type(found).__name__, shape) from None
    if values.dim() == len(shape) + 1 and values.shape[1] == 1:
        values = values[:, 0]
    if values.dim() != len(shape) or len(values) != shape[0] or 0 in values.shape:
        raise _refuse_maps(name, " x ".join(map(str, values.shape)) or "one number", shape)
    if tuple(values.shape) != shape:
        values = functional.interpolate(values[:, None], size=shape[1:], mode="bilinear", align_corners=False)[:, 0]
    return values.numpy()


def _refuse_maps(name: str, got: str, shape: tuple[int, ...]) -> ExplanationError:
    wanted = " x ".join(map(str, shape))
    return ExplanationError(
        f"The method '{name}' gives {got}; expected maps of {wanted} numbers, one for each pixel of each picture (or "
        "coarser ones, which are enlarged)."
    )
