"""Which layer to look at: candidates with the evidence for each."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cnnviz.catalogue import load
from cnnviz.core.dimensions import Size
from cnnviz.core.layer import Layer
from cnnviz.core.target import ClassTarget, RegionTarget, Target, TargetLike, TopClass
from cnnviz.engine.capture import capture
from cnnviz.engine.layers import observe_layers
from cnnviz.engine.scores.score import class_probabilities, score, settle, watched_layers
from cnnviz.engine.undisturbed import undisturbed
from cnnviz.errors import ExplanationError, UsageError
from cnnviz.images.inputs import gather
from cnnviz.images.reading import ImageLike
from cnnviz.method import check_network, interruptible
from cnnviz.methods.cams.probe import automatic_layer
from cnnviz.methods.prepare import prepare, provenance_of
from cnnviz.models.model import Model
from cnnviz.provenance import plain
from cnnviz.results.heatmap import Heatmap, Heatmaps
from cnnviz.results.layers import LayerRanking, RankedLayer

__all__ = ["choose_layer", "rank_layers"]

TINY = 1e-12


@interruptible
def choose_layer(model: Model) -> str:
    """The layer that class activation maps take if none is named: the last whose places reach the top class.

    Raises:
        ExplanationError: If there is none.
    """
    check_network(model)
    shape = model.fixed_batch or 1, model.preprocess.channels, *model.preprocess.input_size
    noise = torch.randn(shape, generator=_seed_noise())
    with undisturbed(model.module):
        return automatic_layer(model, model.to_device(noise), [TopClass()] * len(noise)).name


@interruptible
def rank_layers(
    model: Model, image: ImageLike, target: TargetLike = None, *, method: str = "gradcam", share: float = 0.2
) -> LayerRanking:
    """Candidate layers for a class activation map, the one with the most evidence first.

    A candidate is the last layer of each grid size that reaches the target. Its map's evidence is found by showing
    only the highest places, and by hiding them: what is left of the target's probability, and what is lost.

    Args:
        model: The network.
        image: One image.
        target: What is explained; None is the top class.
        method: The class activation map that is drawn.
        share: Share of the picture that is shown or hidden, between 0 and 1.

    Raises:
        UsageError: If several images were given, the share is out of bounds or the method looks at no layer.
        ExplanationError: If no layer reaches the target.
    """
    check_network(model)
    chosen = load(method)
    if not 0 < share < 1 or "layer" not in chosen.parameters:
        raise UsageError("Layers are ranked by a method with a layer, such as gradcam, and a share between 0 and 1.")
    given = gather(image, model.preprocess.entrance._replace(value_range=None))
    batch = prepare(model, given, target)
    if len(batch.pictures) != 1:
        raise UsageError(f"Layers are ranked on one image; got {len(batch.pictures)}.")
    inputs = model.to_device(batch.inputs)
    with undisturbed(model.module), torch.no_grad():
        logits = model.answer(_fill_batch(model, inputs), batch.targets)[:1]
        settled = settle(batch.targets, logits, model.labels, model.head)
        names = _find_candidates(model, inputs, settled)
    goal = {"target": settled[0]} if "target" in chosen.needs else {}
    ranked = []
    for name in names:
        try:
            found = chosen(model, given, **goal, layer=name)
        except ExplanationError:
            continue
        assert isinstance(found, Heatmaps)
        ranked.append(_rank_layer(model, inputs, found[0], settled, share=share))
    if not ranked:
        raise ExplanationError("The target depends on no spatial layer.")
    asked = {"method": method, "share": share, **({} if target is None else {"target": plain(target)})}
    provenance = provenance_of(model, batch, method="rank_layers", asked=asked, targets=(str(settled[0]),))
    return LayerRanking(tuple(sorted(ranked, key=lambda one: -one.evidence)), share, provenance)


def _find_candidates(model: Model, inputs: Tensor, targets: Sequence[Target]) -> list[str]:
    """The last layer of each grid size, up to the last whose places reach the targets; in the order of the network."""
    layers = observe_layers(model.module, _fill_batch(model, inputs))
    try:
        last_order = layers[automatic_layer(model, _fill_batch(model, inputs), targets).name].order
    except ExplanationError:  # a map without gradients may still be drawn anywhere
        last_order = max(layer.order for layer in layers.values())
    last: dict[Size, Layer] = {}
    for layer in sorted((layer for layer in layers.values() if layer.spatial), key=lambda layer: layer.order):
        if layer.arrangement is not None and layer.order <= last_order:
            last[layer.arrangement.grid] = layer
    return [layer.name for layer in sorted(last.values(), key=lambda layer: layer.order)]


def _rank_layer(
    model: Model, inputs: Tensor, heatmap: Heatmap, targets: Sequence[Target], *, share: float
) -> RankedLayer:
    shown = torch.from_numpy(heatmap.upsampled()).to(inputs.device)
    highest = shown >= shown.flatten().nanquantile(1 - share)
    mask = highest.to(inputs.dtype)[None, None]
    clean, kept, hidden = (_score_image(model, each, targets) for each in (inputs, inputs * mask, inputs * (1 - mask)))
    size = max(abs(clean), TINY)
    return RankedLayer(heatmap.layer or "", heatmap, kept / size, (clean - hidden) / size)


def _score_image(model: Model, inputs: Tensor, targets: Sequence[Target]) -> float:
    """The target's probability, or the score of a target that is no class."""
    with undisturbed(model.module), capture(model.module, [], watched_layers(targets)) as caught:
        logits = model.answer(_fill_batch(model, inputs), targets)[:1].float()
        of_classes = isinstance(targets[0], (ClassTarget, RegionTarget))
        shares = class_probabilities(logits, model.head) if of_classes else logits
        return float(score(targets, shares, caught)[0])


def _fill_batch(model: Model, inputs: Tensor) -> Tensor:
    return inputs.expand(model.fixed_batch or 1, *inputs.shape[1:])


def _seed_noise() -> torch.Generator:
    return torch.Generator().manual_seed(0)
