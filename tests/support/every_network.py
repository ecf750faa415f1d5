"""Every question there is, asked of one network with tiny budgets, and what its answer is worth."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from cnnviz import Model, choose_layer, compare, deconvnet, effective_field, predict, rank_layers, report
from cnnviz.catalogue import CATALOGUE
from cnnviz.drawing.pages.blocks import Words
from cnnviz.errors import CnnvizError
from cnnviz.reporting.page import Report
from cnnviz.results.attribution import Attributions
from cnnviz.results.heatmap import Heatmaps
from cnnviz.results.layers import EffectiveField, LayerRanking
from tests.support.asking import ask, method_of, state_of
from tests.support.torchvision_nets import noise, size_of

LITTLE = {
    "samples": 2, "masks": 8, "steps": 4, "most_steps": 8, "concepts": 3, "show": 2, "k": 3,
}  # fmt: skip
OWN: Mapping[str, Mapping[str, Any]] = {
    "maximize": {"steps": 2, "crops": 1, "size": 32},
    "feature_occlusion": {"window": 1, "stride": 1},
}
TARGET = None
FLAT = 1e-6
SILENT = ("nothing", "zero gradient", "no evidence", "no positive evidence")


class Case(NamedTuple):
    """A network with the pictures it is asked about, and its layers."""

    model: Model
    inputs: Tensor

    @property
    def one(self) -> Tensor:
        """A single picture."""
        return self.inputs[:1]

    @property
    def side(self) -> int:
        """A quarter of the picture's side."""
        return self.inputs.shape[-1] // 4


class Found(NamedTuple):
    """What a question gave: ``ok``, ``zero`` (and the result says so), ``refused`` or ``fault``; and a sentence."""

    kind: str
    sentence: str = ""


Question = Callable[[Case], Any]


def questions() -> dict[str, Question]:
    """Every method of the catalogue, and what else can be asked of a network, by column."""
    asked: dict[str, Question] = {name: _catalogued(name) for name in CATALOGUE}
    asked["occlusion"] = lambda case: ask("occlusion", case.model, case.one, TARGET, window=case.side, stride=case.side)
    asked["scorecam"] = lambda case: ask("scorecam", case.model, case.one, TARGET, layer=narrowest(case.model))
    return asked | {
        "captum:DeepLift": lambda case: ask("captum", case.model, case.one, TARGET, algorithm="DeepLift"),
        "unit's gradcam": lambda case: ask("gradcam", case.model, case.one, f"{choose_layer(case.model)}:1"),
        "unit's deconvnet": lambda case: deconvnet(case.model, case.inputs, layer="last-spatial", units="0-2"),
        "patches, deconvnet": lambda case: ask("patches", case.model, case.inputs, deconvnet=True, units="0-1", show=1),
        "fields": measured_fields,
        "rank_layers": lambda case: rank_layers(case.model, case.one, TARGET),
        "compare": lambda case: compare(case.model, case.inputs[:2], ["hirescam", "saliency"]),
        "report": lambda case: report(case.model, case.one, methods="gradcam", sections="maps,units,features", units=2),
        "predict": lambda case: predict(case.model, case.inputs, k=2),
    }


def _catalogued(name: str) -> Question:
    settings = _little(name)
    if name in ("dff", "features", "patches"):
        return lambda case: ask(name, case.model, case.inputs, TARGET, **settings)
    return lambda case: ask(name, case.model, case.one, TARGET, **settings)


def _little(name: str) -> dict[str, Any]:
    known = method_of(name).parameters
    return {key: value for key, value in (LITTLE | OWN.get(name, {})).items() if key in known}


def narrowest(model: Model) -> str:
    """The layer with places that has the fewest channels, of those the last: Score-CAM takes a forward for each."""
    layers = [layer for layer in model.layers.values() if layer.spatial and layer.arrangement and layer.calls == 1]
    return min(layers, key=lambda layer: (layer.arrangement.channels, -layer.order)).name


def measured_fields(case: Case) -> list[EffectiveField]:
    """Measured fields at the last layer of every grid, each within what arithmetic says the unit can see."""
    last = {}
    for layer in sorted(case.model.layers.values(), key=lambda layer: layer.order):
        if layer.spatial and layer.arrangement and layer.field:
            last[layer.arrangement.grid] = layer.name
    found = [effective_field(case.model, name, case.inputs[:2]) for name in last.values()]
    for each in found:
        assert each.field is not None
        top, left, bottom, right = each.field.box(*each.place, *each.values.shape)
        outside = each.values.copy()
        outside[top:bottom, left:right] = 0
        assert each.field.kind == "gated" or not outside.any(), f"{each.layer} sees beyond {each.field}"
    return found


def case_of(net: nn.Module, name: str) -> Case:
    """A network ready to be asked, held as in a training script: in training, partly frozen, with gradients."""
    size = size_of(name)
    net.train()
    parts = list(net.children())
    for part in parts[: len(parts) // 2]:
        part.eval()
    weights = sorted(net.parameters(), key=torch.numel)
    weights[0].requires_grad_(requires_grad=False)
    for weight in weights[1:3]:
        weight.grad = torch.full_like(weight, 7.0)
    return Case(Model(net, mean=(0.0,) * 3, std=(1.0,) * 3, input_size=size, name=name), noise(3, size))


def judged(question: Question, case: Case) -> Found:
    """Ask, and see whether the answer is sound: numbers all finite, nothing constant that is not said to be."""
    try:
        result = question(case)
    except CnnvizError as error:
        return Found("refused", generalised(str(error), case.model))
    except Exception as error:  # noqa: BLE001 - whatever a network makes a method raise is what is looked for
        return Found("fault", f"{type(error).__name__}: {error}")
    return _worth(result)


def _worth(result: Any) -> Found:
    worth = [_judge(each) for each in _parts(result)]
    return next((one for kind in ("fault", "zero") for one in worth if one.kind == kind), Found("ok"))


def _parts(result: Any) -> Iterable[Any]:
    """Single maps, or whatever else a result is a collection of."""
    if isinstance(result, LayerRanking):
        return [one.heatmap for one in result] + [np.array([one.evidence for one in result])]
    if isinstance(result, Attributions):
        return result.heatmaps()
    if isinstance(result, Heatmaps | list):
        return result
    return [part for maps in result.values() for part in maps] if isinstance(result, Mapping) else [result]


def _judge(part: Any) -> Found:
    if isinstance(part, Report):
        missing = [sentence for chapter in part.chapters for sentence in _missing(chapter)]
        return Found("refused", missing[0]) if missing else Found("ok")
    values = np.asarray(part, dtype=np.float64)
    if not values.size or not np.isfinite(values).all():
        return Found("fault", "not finite" if values.size else "empty")
    if getattr(part, "blank", False):
        return (
            Found("zero") if any(word in part.caption() for word in SILENT) else Found("fault", "blank, and not said")
        )
    constant = values.size > 1 and np.ptp(values) <= FLAT * np.abs(values).max()
    if constant and isinstance(part, np.ndarray):
        return Found("ok")
    silent = ("is constant", "zero everywhere", *SILENT)
    if constant and any(word in check for check in getattr(part, "checks", ()) for word in silent):
        return Found("zero")
    return Found("fault", f"constant, {values.flat[0]:.3g}") if constant else Found("ok")


def _missing(block: Any) -> list[str]:
    """Sentences of a page that stand in place of something."""
    if isinstance(block, Words):
        return [block.text] if block.tone == "missing" else []
    return [sentence for each in getattr(block, "blocks", ()) for sentence in _missing(each)]


def generalised(sentence: str, model: Model) -> str:
    """A sentence with its network and its layers called so, and numbers as N."""
    sentence = sentence.replace(f"'{model.name}'", "NETWORK")
    names = sorted(model.layer_names, key=len, reverse=True)
    for name in names:
        sentence = (
            re.sub(rf"(?<![\w.]){re.escape(name)}(?![\w.]\w)", "LAYER", sentence) if name in sentence else sentence
        )
    return re.sub(r"(?<![\w.])\d[\d.e+-]*\d|(?<![\w.])\d", "N", sentence)


class Held:
    """A network as it was: its state, and a copy of every number in it."""

    def __init__(self, net: nn.Module) -> None:
        self._net, self._state = net, state_of(net, contents=_nothing)
        self._copies = [value.detach().clone() for value in self._tensors()]

    def changed(self) -> list[str]:
        """What is no longer as it was."""
        now = state_of(self._net, contents=_nothing)
        found = [key for key in {*self._state, *now} if self._state.get(key) != now.get(key)]
        same = all(_bits(one).equal(_bits(other)) for one, other in zip(self._tensors(), self._copies, strict=True))
        return found if same else [*found, "the numbers"]

    def _tensors(self) -> list[Tensor]:
        held = [*self._net.parameters(), *self._net.buffers()]
        return held + [value.grad for value in held if value.grad is not None]


def _bits(value: Tensor) -> Tensor:
    return value.detach().contiguous().view(torch.uint8) if value.dim() else value.detach()


def _nothing(value: Tensor) -> None:
    return None
