"""Maps of layers: which layers, how they are fused, mirrored pictures, and what is said about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TypeAlias

import torch
from torch import Tensor

from cnnviz.core.dimensions import SIGNAL, own_dims
from cnnviz.core.field import Field
from cnnviz.core.layer import AUTOMATIC, AutomaticLayer, split_call
from cnnviz.core.target import DetectionTarget, NoTarget, RegionTarget, Target, TargetLike, TopClass, Unit
from cnnviz.engine.capture import capture
from cnnviz.engine.scores.score import score, settle, watched_layers
from cnnviz.errors import UsageError
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.ask import Answer, ask, assemble
from cnnviz.methods.cams.grids import mirror_back, resample_to_finest
from cnnviz.methods.cams.kept import kept_activations
from cnnviz.methods.cams.poles import note_poles
from cnnviz.methods.cams.probe import Probe, automatic_layer, probe
from cnnviz.methods.prepare import InputBatch, prepare
from cnnviz.methods.settings import Fuse
from cnnviz.models.model import Model
from cnnviz.provenance import Caution
from cnnviz.results.heatmap import Heatmaps

__all__ = [
    "CamSettings",
    "layer_maps",
    "Bounded",
    "Combine",
    "gradient_maps",
    "Summarise",
    "activation_maps",
    "activations_of",
    "field_of",
    "note_call",
    "note_unplaced",
]

COMMON = 8


@dataclass(frozen=True)
class CamSettings:
    """The settings that all class activation maps share.

    Attributes:
        layer: One layer, several separated by commas, or None for the automatic one.
        fuse: How the maps of several layers become one.
        relu: Whether only positive values are shown.
        counterfactual: Whether evidence against the target is asked for.
        flip: Whether the mirrored picture's map is averaged in.
        batch_size: Most images at once.
    """

    layer: str | None
    fuse: Fuse = "mean"
    relu: bool = True
    counterfactual: bool = False
    flip: bool = False
    batch_size: int = 32

    @property
    def names(self) -> list[str]:
        """The layers that were asked for, or only ``"last-spatial"``."""
        names = [name.strip() for name in (self.layer or AUTOMATIC).split(",")]
        if len(names) > 1 and AUTOMATIC in names:
            raise UsageError(f"'{AUTOMATIC}' stands alone; name several layers, or leave the layer to be chosen.")
        return list(dict.fromkeys(names))

    @property
    def sign(self) -> int:
        """-1 for a counterfactual, otherwise 1."""
        return -1 if self.counterfactual else 1


CANCELLED = "the layer's activations or the score's gradients there are zero, or cancel"
SILENT = "the layer's activations are zero or spatially constant"

AnswerLayers: TypeAlias = Callable[[Tensor, Sequence[Target], Sequence[str]], Answer]
"""From inputs, targets and names of layers to an answer with the maps of each."""


def layer_maps(
    model: Model,
    images: ImagesLike,
    target: TargetLike,
    answer: AnswerLayers,
    settings: CamSettings,
    *,
    singly: bool = False,
) -> Heatmaps:
    """Ask for maps of layers chunk by chunk, fuse them, and average the mirrored picture's in.

    Args:
        model: The network.
        images: Any accepted form of images.
        target: Any accepted form of target.
        answer: From inputs, targets and names of layers to their maps.
        settings: The settings that all class activation maps share.
        singly: Ask about one image at a time; the batch size is then that of the changes made to each.

    Raises:
        UnknownNameError: If there is no such layer.
        UsageError: If a layer has no spatial extent.
    """
    if settings.flip and model.places == SIGNAL:
        raise UsageError("flip mirrors pictures, and a signal read backwards is another signal; leave it out.")
    batch = prepare(model, images, target)
    names = settings.names
    for name in names:
        if name != AUTOMATIC:
            model.check_layer(name)

    automatic = names == [AUTOMATIC]
    units = automatic and bool(watched_layers(batch.targets))
    several = automatic and _in_several_chunks(model, batch, 1 if singly else settings.batch_size)
    chosen: list[str] = []
    said: list[str] = []

    def answer_fused(inputs: Tensor, targets: Sequence[Target]) -> Answer:
        if (units or several) and not chosen:
            common = _common_layer(model, batch) if several else automatic_layer(model, inputs, batch.targets)
            chosen.append(common.name)
            said.extend(common.describe())
        found = answer(inputs, targets, chosen if said else names)
        if automatic and chosen and chosen != list(found.layers):
            found = answer(inputs, targets, chosen)
        chosen[:] = found.layers
        fields = [field_of_places(model, name, inputs.shape[2:]) for name in found.layers]
        values, field = _fuse(found.values, fields, settings)
        if settings.flip:
            mirrored = answer(
                inputs.flip(-1), [_mirror(target, inputs.shape[-1]) for target in found.targets], found.layers
            )
            values = _average(values, _fuse(mirrored.values, fields, settings)[0], field)
        spread = [check for name in found.layers for check in note_call(model, name, inputs.shape[2:])]
        spread += [check for name, one in zip(found.layers, fields, strict=True) for check in note_unplaced(name, one)]
        spread += [check for name in found.layers for check in note_inferred(model, name, inputs.shape[2:])]
        checks, one = (*said, *found.checks, *spread), len(found.layers) == 1
        roundings, flat = found.roundings if one else (), found.flat or CANCELLED
        return replace(found, values=(values,), checks=checks, field=field, roundings=roundings, flat=flat)

    chunks = ask(model, batch, answer_fused, batch_size=1 if singly else settings.batch_size)
    return assemble(model, batch, chunks, rectified=settings.relu)


def _in_several_chunks(model: Model, batch: InputBatch, size: int) -> bool:
    """Whether different targets are asked about at different times, which may each be reached from another layer."""
    different = len(set(batch.targets)) > 1 and not watched_layers(batch.targets)
    return different and not model.fixed_batch and len(batch.targets) > size


def _common_layer(model: Model, batch: InputBatch) -> AutomaticLayer:
    """The automatic layer of some of the images, each with another target."""
    rows = list({target: row for row, target in enumerate(batch.targets)}.values())[:COMMON]
    some = model.to_device(batch.inputs[rows])
    return automatic_layer(model, some, [batch.targets[row] for row in rows], every=True)


def field_of(model: Model, name: str, size: Sequence[int]) -> Field | None:
    """What a layer's units see of inputs of a size; None if its output is not made from them.

    Args:
        model: The network.
        name: The layer's name, or one call of it, such as ``"relu#2"``.
        size: Lengths of the input: of a picture height and width.
    """
    return model.layers_on(tuple(size))[split_call(name)[0]].field_of(name)


def note_call(model: Model, name: str, size: Sequence[int]) -> tuple[str, ...]:
    """A sentence on which call is shown of a layer that runs several times."""
    return model.layers_on(tuple(size))[split_call(name)[0]].describe_call(name)


def field_of_places(model: Model, name: str, size: Sequence[int]) -> Field | None:
    """The same of a layer that a map was made of.

    Raises:
        UsageError: If its output, though it looks like a map of one image, is made once for all of them.
    """
    found = field_of(model, name, size)
    layer = model.layers_on(tuple(size))[split_call(name)[0]]
    if found is None and (layer.arrangement is None or any(layer.fields)):
        raise UsageError(
            f"Layer '{name}' is not made from the picture: its output is the same for every one; choose another layer."
        )
    return found


def note_unplaced(name: str, field: Field | None) -> tuple[str, ...]:
    """A sentence on a layer whose units have no places on the input."""
    if field is None or field.placed:
        return ()
    sees = (
        "have a receptive field that covers the image" if field.kind == "whole" else "have an unknown receptive field"
    )
    return (f"the units of {name} {sees} ({field.because}): its map is spread evenly over the input",)


def note_inferred(model: Model, name: str, size: Sequence[int]) -> tuple[str, ...]:
    """A sentence on tokens whose grid is inferred from their number."""
    layer = model.layers_on(tuple(size)).get(split_call(name)[0])
    if layer is None or layer.arrangement is None or not layer.arrangement.inferred:
        return ()
    grid = layer.arrangement.grid
    count, rows = layer.arrangement.prefix + prod(grid), " rows of ".join(map(str, grid))
    return (
        f"the {count} tokens of {name} are read as {rows}, inferred from their number; Model(..., grid=(rows, "
        f"columns)) or --grid changes it",
    )


def _mirror(target: Target, width: int) -> Target:
    """The target on a mirrored picture, so wide: the columns of units are counted from the other side."""
    if isinstance(target, DetectionTarget):
        return target.mirrored(width)
    if isinstance(target, RegionTarget):
        return target.mirrored()
    return replace(target, mirrored=not target.mirrored) if isinstance(target, Unit) else target


def _average(values: Tensor, mirrored: Tensor, field: Field | None) -> Tensor:
    """The mean of a map and the mirrored picture's, mirrored back; columns that no unit of that sees are kept."""
    back, known = mirror_back(mirrored, field)
    return torch.where(known, (values + back) / 2, values)


def _fuse(maps: Sequence[Tensor], fields: Sequence[Field | None], settings: CamSettings) -> tuple[Tensor, Field | None]:
    """One map as it is; several each divided by its largest value, on the finest grid among them, fused."""
    if len(maps) == 1:
        return maps[0], fields[0]
    shown = [each.clamp_min(0) if settings.relu else each for each in maps]
    fine, field = resample_to_finest(shown, fields)
    most = [each.abs().amax(dim=own_dims(each), keepdim=True) for each in fine]
    stack = torch.stack(
        [each / high.where(high > 0, torch.ones_like(high)) for each, high in zip(fine, most, strict=True)]
    )
    if settings.fuse == "mean":
        return stack.mean(dim=0), field
    if settings.fuse == "product":
        return stack.clamp_min(0).prod(dim=0), field
    return stack.gather(0, stack.abs().argmax(dim=0, keepdim=True))[0], field


Combine: TypeAlias = Callable[[Tensor, Tensor], Tensor]
Bounded: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From activations and gradients to the channels' weights, and to what these are at most without a pole."""

SAME = 0.999
EVEN = 1e-4


def gradient_maps(
    model: Model,
    images: ImagesLike,
    target: TargetLike,
    combine: Combine,
    settings: CamSettings,
    *,
    compare: bool = True,
    bounded: Bounded | None = None,
) -> Heatmaps:
    """Maps that ``combine`` makes of a layer's activations and the target's gradients there.

    At the automatic layer, where little lies above, the second class's map is compared on the way; where it is the
    same, the checks say that the map does not tell the classes apart.

    Args:
        model: The network.
        images: Any accepted form of images.
        target: Any accepted form of target.
        combine: From activations and gradients, both ``(n, C, h, w)``, to maps ``(n, h, w)``.
        settings: The settings that all class activation maps share.
        compare: Whether ``combine`` gives a map that a class can be told by.
        bounded: Of a formula that divides, what tells its poles.
    """

    def answer(inputs: Tensor, targets: Sequence[Target], names: Sequence[str]) -> Answer:
        found = probe(model, names, inputs, targets, rival=compare and settings.names == [AUTOMATIC])
        maps = [
            combine(activation, settings.sign * gradient)
            for activation, gradient in zip(found.activations, found.gradients, strict=True)
        ]
        checks = [*_note_zero_gradients(found), *_note_coincidence(found)]
        if found.rivals:
            rival = combine(found.activations[0], settings.sign * found.rival_gradients[0])
            checks += _note_same_maps(found, maps[0], rival)
        if bounded is not None:
            weights = bounded(found.activations[0], settings.sign * found.gradients[0])
            checks += note_poles(maps[0], found.activations[0], *weights)
        return found.answer.with_values(*maps, checks=checks)

    return layer_maps(model, images, target, answer, settings)


def _note_zero_gradients(found: Probe) -> tuple[str, ...]:
    """A word about targets that no value of a layer moves, whose maps are blank."""
    return tuple(
        Caution(f"the gradient of '{target}' is zero at all of layer {name}, so its map is blank")
        for name, gradient in zip(found.answer.layers, found.gradients, strict=True)
        for target, moved in zip(found.answer.targets, gradient.flatten(1).any(dim=1).tolist(), strict=True)
        if not moved
    )


def _note_coincidence(found: Probe) -> tuple[str, ...]:
    """Where the gradient is the same at every place, several methods are one."""
    low, high = found.gradients[0].flatten(2).aminmax(dim=2)
    spread, most = (high - low).amax(), torch.maximum(high, -low).amax()
    if len(found.gradients) > 1 or not bool((most > 0) & (spread <= EVEN * most)):
        return ()
    return (
        Caution(
            "Grad-CAM, XGrad-CAM and HiResCAM are identical for this layer, and equal CAM if the head is linear: its "
            "gradient is spatially constant"
        ),
    )


def _note_same_maps(found: Probe, maps: Tensor, rival_maps: Tensor) -> tuple[str, ...]:
    """A word about the images whose best other class has the same map."""
    alike = (_correlate(maps, rival_maps) > SAME).tolist()
    return tuple(
        Caution(f"the maps of '{target}' and '{rival}' are identical: this map is not class-discriminative")
        for target, rival, same in zip(found.answer.targets, found.rivals, alike, strict=True)
        if same
    )


def _correlate(one: Tensor, other: Tensor) -> Tensor:
    """Pearson correlation of each pair of maps ``(n, h, w)``; 0 where one is constant."""
    a, b = (maps.flatten(1).double() for maps in (one, other))
    a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
    norm = a.norm(dim=1) * b.norm(dim=1)
    return torch.where(norm > 0, (a * b).sum(dim=1) / norm.clamp_min(torch.finfo(a.dtype).tiny), torch.zeros_like(norm))


Summarise: TypeAlias = Callable[[Tensor], Tensor]


def activation_maps(model: Model, images: ImagesLike, summarise: Summarise, settings: CamSettings) -> Heatmaps:
    """Maps that ``summarise`` makes of a layer's activations.

    Args:
        model: The network.
        images: Any accepted form of images.
        summarise: From activations ``(n, C, h, w)`` to maps ``(n, h, w)``.
        settings: The settings that all class activation maps share.
    """

    def answer(inputs: Tensor, targets: Sequence[Target], names: Sequence[str]) -> Answer:
        nothing = (NoTarget(),) * len(targets)
        automatic = list(names) == [AUTOMATIC]
        chosen = automatic_layer(model, inputs, (TopClass(),) * len(targets)) if automatic else None
        found = _seen_activations(model, [chosen.name] if chosen else names, inputs, nothing)
        checks = (*(chosen.describe() if chosen else ()), *found.checks)
        return replace(found.with_values(*(summarise(each) for each in found.values)), flat=SILENT, checks=checks)

    return layer_maps(model, images, None, answer, settings)


def _seen_activations(model: Model, names: Sequence[str], inputs: Tensor, targets: Sequence[NoTarget]) -> Answer:
    """The activations, of a forward that was made for another method where one is kept."""
    kept = kept_activations(model, inputs, tuple(names))
    if kept is None:
        return activations_of(model, names, inputs, targets)
    found, logits = kept[0], kept[0].answer.logits
    return Answer(tuple(names), found.activations, logits, score(targets, logits).detach(), tuple(targets), ())


def activations_of(model: Model, names: Sequence[str], inputs: Tensor, targets: Sequence[Target]) -> Answer:
    """Activations ``(n, C, h, w)`` of layers in the place of maps, from one forward without gradients.

    Args:
        model: The network, undisturbed.
        names: Layers, or only ``"last-spatial"``.
        inputs: ``(N, C, H, W)``; only the first ``len(targets)`` of them count.
        targets: Targets, settled or not.
    """
    count = len(targets)
    chosen = automatic_layer(model, inputs, targets) if list(names) == [AUTOMATIC] else None
    known = [chosen.name] if chosen else list(names)
    with capture(model.module, known, watched_layers(targets)) as caught:
        logits = model.answer(inputs, targets)[:count].detach()
        settled = tuple(settle(targets, logits, model.labels, model.head))
        scores = score(settled, logits, caught).detach()
    maps = tuple(caught.maps(name, caught.activations[name])[:count] for name in known)
    return Answer(tuple(known), maps, logits, scores, settled, chosen.describe() if chosen else ())
