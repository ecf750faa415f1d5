"""Smooth Grad-CAM++."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from cnnviz.core.target import Target, TargetLike
from cnnviz.images.reading import ImagesLike
from cnnviz.methods.gradient_maps import answered
from cnnviz.methods.layer_maps import Fuse, LayerAnswer, Shared, layer_maps
from cnnviz.methods.probe import probe
from cnnviz.models.model import Model
from cnnviz.registry import method
from cnnviz.results.heatmaps import Heatmaps

__all__ = ["smooth_gradcam_plusplus"]

SMALLEST = 1e-6


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
    seed: Annotated[int, Ge(0)] = 0,
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
        layer: The layer to look at, or several with commas between; left out, the last whose places reach the target.
        fuse: How the maps of several layers become one, each divided by its largest value first.
        relu: Show positive evidence only, as the paper does; otherwise the signed map.
        counterfactual: Show evidence against the target: the score with its sign turned.
        flip: Average with the map of the mirrored picture.
        samples: Noisy copies of each image.
        noise: Standard deviation of the noise, as a share of the range of the image's values.
        seed: Of the noise; each image's noise depends on it alone, not on what else is in the batch.
        batch_size: Most images at once; halved when memory runs out.

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
    shared = Shared(layer, fuse, relu, counterfactual, flip, batch_size)

    def ask(inputs: Tensor, targets: Sequence[Target], names: Sequence[str]) -> LayerAnswer:
        clean = probe(model, names, inputs, targets)
        drawn = torch.Generator().manual_seed(seed)
        copies = (_noisy(inputs, noise, drawn) for _ in range(samples))
        noisy = [probe(model, clean.names, copy, clean.targets).gradients for copy in copies]
        return answered(clean, _weighed(clean.activations, noisy, shared.sign))

    return layer_maps(model, images, target, ask, shared)


def _weighed(activations: Sequence[Tensor], noisy: Sequence[Sequence[Tensor]], sign: int) -> list[Tensor]:
    """Each layer's map, from its clean activations and its gradients at every copy."""
    return [
        weigh_by_averaged_share(activation, _powers(gradients), sign)
        for activation, *gradients in zip(activations, *noisy, strict=True)
    ]


def weigh_by_averaged_share(activations: Tensor, powers: Sequence[Tensor], sign: int) -> Tensor:
    """Activations summed with the weights that averaged gradients, squares and cubes give, all ``(N, C, h, w)``."""
    first, second, third = (power.double() for power in powers)
    first, third = sign * first, sign * third
    shares = 2 * second + activations.double().sum(dim=(2, 3), keepdim=True) * third
    least = SMALLEST * second
    shares = torch.where(shares.abs() > least, shares, least)
    alphas = torch.where(second > 0, second / shares, torch.zeros_like(shares))
    weights = (alphas * first.clamp_min(0)).sum(dim=(2, 3), keepdim=True)
    return (weights * activations.double()).sum(dim=1).to(activations.dtype)


def _powers(gradients: Sequence[Tensor]) -> list[Tensor]:
    """Mean of the samples' gradients, of their squares and of their cubes."""
    stacked = torch.stack(tuple(gradients))
    return [(stacked**power).mean(dim=0) for power in (1, 2, 3)]


def _noisy(inputs: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    """Inputs ``(N, C, H, W)`` with Gaussian noise, the same for every input, scaled to each one's range."""
    drawn = torch.randn(inputs.shape[1:], generator=generator).to(inputs)
    ranges = inputs.amax(dim=(1, 2, 3), keepdim=True) - inputs.amin(dim=(1, 2, 3), keepdim=True)
    return inputs + noise * ranges * drawn
