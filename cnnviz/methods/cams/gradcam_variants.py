"""Grad-CAM with more than one gradient: over noisy copies, with curvature, or by principal components."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt

from cnnviz.core.dimensions import own_dims, place_dims
from cnnviz.method import Seed, method
from cnnviz.methods.settings import Fuse

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from cnnviz.core.head import Head
    from cnnviz.core.target import Target, TargetLike
    from cnnviz.images.reading import ImagesLike
    from cnnviz.methods.ask import Answer
    from cnnviz.models.model import Model
    from cnnviz.results.heatmap import Heatmaps

__all__ = ["smooth_gradcam_plusplus", "shapleycam", "eigengradcam"]

SMALLEST = 1e-6
"""A share's denominator is held above this share of its first term."""


@method
def smooth_gradcam_plusplus(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    fuse: Fuse = "mean",
    relu: bool = True,
    counterfactual: bool = False,
    flip: bool = False,
    samples: Annotated[int, Ge(1)] = 8,
    noise: Annotated[float, Gt(0)] = 0.1,
    seed: Seed = 0,
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Heatmaps:
    """Grad-CAM++ with gradients averaged over noisy copies of the picture (Smooth Grad-CAM++).

    With clean activations ``A`` of the layer, ``S_k`` the sum of ``A_k`` over all places, and ``D1, D2, D3`` the
    gradient, its square and its cube averaged over noisy copies of the input::

        alpha_kij = D2 / (2 D2 + S_k D3)        w_k = sum over i, j of alpha_kij * relu(D1_kij)
        map = relu(sum over k of w_k * A_k)

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        layer: The layer, or several separated by commas; default: the last convolutional (spatial) layer that the
            target depends on.
        fuse: How the maps of several layers are combined, each divided by its maximum first.
        relu: Show positive evidence only, as in the paper; otherwise the signed map.
        counterfactual: Show evidence against the target: the negated score.
        flip: Average with the map of the mirrored picture.
        samples: Number of noisy copies per image.
        noise: Standard deviation of the noise, as a share of the range of the image's values.
        seed: Seed for the noise; each image's noise depends on it alone, not on the rest of the batch.
        batch_size: Batch size (images); halved automatically if memory runs out.

    Returns:
        Maps ``(N, h, w)`` at the layer's resolution, in units of the score.

    Raises:
        UnknownNameError: If there is no such layer or label.
        UsageError: If the layer has no spatial extent.
        ExplanationError: If the target does not depend on the layer.

    Reference:
        Omeiza et al., Smooth Grad-CAM++: An Enhanced Inference Level Visualization Technique for Deep
        Convolutional Neural Network Models, arXiv 1908.01224, 2019.
    """
    import torch

    from cnnviz.methods.cams.layer_maps import CamSettings, layer_maps
    from cnnviz.methods.cams.poles import note_poles
    from cnnviz.methods.cams.probe import probe

    settings = CamSettings(layer, fuse, relu, counterfactual, flip, batch_size)

    def answer(inputs: Tensor, targets: Sequence[Target], names: Sequence[str]) -> Answer:
        clean = probe(model, names, inputs, targets)
        drawn = torch.Generator().manual_seed(seed)
        copies = (_add_noise(inputs, noise, drawn) for _ in range(samples))
        noisy = [probe(model, clean.answer.layers, copy, clean.answer.targets, keep=False).gradients for copy in copies]
        maps = _weigh_layers(clean.activations, noisy, settings.sign)
        bounded = bound_averaged_shares(clean.activations[0], [each[0] for each in noisy], settings.sign)
        checks = note_poles(maps[0].double(), clean.activations[0].double(), *bounded)
        return clean.answer.with_values(*maps, checks=checks)

    return layer_maps(model, images, target, answer, settings)


def _weigh_layers(activations: Sequence[Tensor], noisy: Sequence[Sequence[Tensor]], sign: int) -> list[Tensor]:
    """Each layer's map, from its clean activations and its gradients at every copy."""
    return [
        weigh_by_averaged_share(activation, _average_powers(gradients), sign)
        for activation, *gradients in zip(activations, *noisy, strict=True)
    ]


def weigh_by_averaged_share(activations: Tensor, powers: Sequence[Tensor], sign: int) -> Tensor:
    """Activations summed with the weights that averaged gradients, squares and cubes give, all ``(N, C, h, w)``."""
    weights = _averaged_weights(activations, powers, sign)
    return (weights * activations.double()).sum(dim=1).to(activations.dtype)


def bound_averaged_shares(activations: Tensor, noisy: Sequence[Tensor], sign: int) -> tuple[Tensor, Tensor]:
    """The weights ``(N, C)``, and what they are at most if no denominator is below the mean square."""
    powers = _average_powers(noisy)
    bounds = (sign * powers[0].double()).clamp_min(0).sum(dim=place_dims(activations))
    return _averaged_weights(activations, powers, sign).flatten(1), bounds


def _averaged_weights(activations: Tensor, powers: Sequence[Tensor], sign: int) -> Tensor:
    import torch

    first, second, third = (power.double() for power in powers)
    first, third = sign * first, sign * third
    places = place_dims(activations)
    shares = 2 * second + activations.double().sum(dim=places, keepdim=True) * third
    least = SMALLEST * second
    shares = torch.where(shares.abs() > least, shares, least)
    alphas = torch.where(second > 0, second / shares, torch.zeros_like(shares))
    return (alphas * first.clamp_min(0)).sum(dim=places, keepdim=True)


def _average_powers(gradients: Sequence[Tensor]) -> list[Tensor]:
    """Mean of the samples' gradients, of their squares and of their cubes."""
    import torch

    stacked = torch.stack(tuple(gradients))
    return [(stacked**power).mean(dim=0) for power in (1, 2, 3)]


def _add_noise(inputs: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    """Inputs ``(N, C, H, W)`` with Gaussian noise, the same for every input, scaled to each one's range."""
    import torch

    drawn = torch.randn(inputs.shape[1:], generator=generator).to(inputs)
    each = own_dims(inputs)
    ranges = inputs.amax(dim=each, keepdim=True) - inputs.amin(dim=each, keepdim=True)
    return inputs + noise * ranges * drawn


@method
def shapleycam(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    fuse: Fuse = "mean",
    relu: bool = True,
    counterfactual: bool = False,
    flip: bool = False,
    score: Literal["residual", "logit"] = "residual",
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Heatmaps:
    """Grad-CAM with second-order gradients, an approximation of Shapley values (Shapley-CAM).

    With activations ``A`` of the layer, the score ``y``, its gradient ``g`` and Hessian ``H`` there::

        w_k = mean over i, j of (g - H A / 2)_kij         map = relu(sum over k of w_k * A_k)

    the second-order estimate of each channel's Shapley value. A logit of a piecewise linear network has no curvature,
    so that this is Grad-CAM; the paper's score, the residual softmax target ``y_c + log p_c``, has some.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        layer: The layer, or several separated by commas; default: the last convolutional (spatial) layer that the
            target depends on.
        fuse: How the maps of several layers are combined, each divided by its maximum first.
        relu: Show positive evidence only, as in the paper; otherwise the signed map.
        counterfactual: Show evidence against the target: the negated score.
        flip: Average with the map of the mirrored picture.
        score: What is explained for a class: the residual softmax target of the paper, or the logit; other targets have
            their own score.
        batch_size: Batch size (images); halved automatically if memory runs out.

    Returns:
        Maps ``(N, h, w)`` at the layer's resolution, in units of the score.

    Raises:
        UnknownNameError: If there is no such layer or label.
        UsageError: If the layer has no spatial extent.
        ExplanationError: If the target does not depend on the layer.

    Reference:
        Cai, CAMs as Shapley Value-based Explainers, arXiv 2501.06261, 2025.
    """
    from cnnviz.methods.cams.layer_maps import CamSettings, layer_maps
    from cnnviz.methods.cams.probe import probe

    settings = CamSettings(layer, fuse, relu, counterfactual, flip, batch_size)

    def rescore(scores: Tensor, logits: Tensor, targets: Sequence[Target]) -> Tensor:
        return _score_residual(scores, logits, targets, model.head) if score == "residual" else scores

    def answer(inputs: Tensor, targets: Sequence[Target], names: Sequence[str]) -> Answer:
        found = probe(model, names, inputs, targets, rescore=rescore, curved=True)
        held = zip(found.activations, found.gradients, found.curvatures, strict=True)
        sign = settings.sign
        maps = [weigh_by_shapley_value(a, sign * g, sign * curvature) for a, g, curvature in held]
        return found.answer.with_values(*maps)

    return layer_maps(model, images, target, answer, settings)


def weigh_by_shapley_value(activations: Tensor, gradients: Tensor, curvatures: Tensor) -> Tensor:
    """Activations ``(N, C, h, w)`` summed with gradient less half the curvature as weights, ``(N, h, w)``."""
    weights = (gradients - curvatures / 2).mean(dim=place_dims(gradients), keepdim=True)
    return (weights * activations).sum(dim=1)


def _score_residual(scores: Tensor, logits: Tensor, targets: Sequence[Target], head: Head) -> Tensor:
    """A class's logit plus the logarithm of its probability, ``(n,)``; scores that are no logits stay."""
    import torch
    from torch.nn import functional

    from cnnviz.core.target import ClassTarget, RegionTarget
    from cnnviz.engine.scores.score import score as score_targets

    if head.kind in ("value", "probabilities"):
        return scores
    independent = head.kind != "softmax" or logits.shape[1] == 1
    shares = functional.logsigmoid(logits) if independent else logits.log_softmax(dim=1)
    rows = [
        score + shares[row, target.index] if isinstance(target, ClassTarget) else score
        for row, (score, target) in enumerate(zip(scores, targets, strict=True))
    ]
    regions = [row for row, target in enumerate(targets) if isinstance(target, RegionTarget)]
    for row in regions:
        rows[row] = rows[row] + score_targets([targets[row]], shares[row, None])[0]
    return torch.stack(rows)


@method
def eigengradcam(
    model: Model,
    images: ImagesLike,
    target: TargetLike = None,
    *,
    layer: str | None = None,
    fuse: Fuse = "mean",
    relu: bool = True,
    counterfactual: bool = False,
    flip: bool = False,
    batch_size: Annotated[int, Ge(1)] = 32,
) -> Heatmaps:
    """The first principal component of activation times gradient (EigenGrad-CAM).

    With activations ``A`` of the layer, the target's gradient ``g`` there, and ``M`` their product, a row a place and a
    column a channel::

        map = relu(M v),   v the first right singular vector of M, its sign such that M v agrees with the sum of M

    by the Gram matrix's largest eigenvector, hundreds of times cheaper than the whole decomposition.

    Args:
        model: The network.
        images: Paths, PIL images, arrays, pictures, a float tensor ``(N, C, H, W)``, or a list of these.
        target: What is explained; None is each image's top class.
        layer: The layer, or several separated by commas; default: the last convolutional (spatial) layer that the
            target depends on.
        fuse: How the maps of several layers are combined, each divided by its maximum first.
        relu: Show positive values only; otherwise the signed map.
        counterfactual: Show evidence against the target: the negated score.
        flip: Average with the map of the mirrored picture.
        batch_size: Batch size (images); halved automatically if memory runs out.

    Returns:
        Maps ``(N, h, w)`` at the layer's resolution, in units of the score.

    Raises:
        UnknownNameError: If there is no such layer or label.
        UsageError: If the layer has no spatial extent.
        ExplanationError: If the target does not depend on the layer.

    Reference:
        Muhammad and Yeasin, Eigen-CAM: Class Activation Map using Principal Components, IJCNN 2020; with
        gradients as in common practice.
    """
    from cnnviz.methods.cams.layer_maps import CamSettings, gradient_maps

    settings = CamSettings(layer, fuse, relu, counterfactual, flip, batch_size)
    return gradient_maps(model, images, target, principal_of_product, settings)


def principal_of_product(activations: Tensor, gradients: Tensor) -> Tensor:
    """First principal component of activations times gradients, with the sign of their sum, ``(N, h, w)``."""
    from cnnviz.methods.cams.principal import principal_map

    product = activations * gradients
    return principal_map(product, like=product.sum(dim=1))
