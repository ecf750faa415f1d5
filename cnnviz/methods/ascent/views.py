"""Views of the pictures, signals and volumes that are made: moved, scaled and turned samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from cnnviz.core.dimensions import INTERPOLATION, PICTURE, SIGNAL, Size
from cnnviz.methods.ascent.recipes import ViewTransform

__all__ = ["affine_maps", "draw_views", "resample", "sample_views"]

MINIFIED = 1.5
"""A view that shows more than this many canvas pixels at one of its own is sampled finer and averaged."""

AVERAGES: Final = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)
"""Averages of neighbours along one, two and three axes."""


def draw_views(
    pictures: Tensor,
    transform: ViewTransform,
    generators: Sequence[torch.Generator],
    *,
    count: int,
    size: Size,
    progress: float,
) -> Tensor:
    """Samples of pictures, each seen its own way; what lies beyond the canvas is its reflection.

    Volumes are turned about their first axis; signals are moved and scaled.

    Args:
        pictures: ``(G, C, H, W)``; or ``(G, C, T)``, ``(G, C, D, H, W)``.
        transform: How they may differ.
        generators: One a picture, on the pictures' device; each picture uses only its own.
        count: Samples of each picture.
        size: Height and width of a sample; its length along each axis.
        progress: How much of the ascent is over, 0 to 1.

    Returns:
        ``(G * count, C, height, width)``, a picture's samples next to each other.
    """
    canvas = pictures.shape[2:]
    drawn = [_draw_maps(transform, generator, count, canvas, size) for generator in generators]
    most = max(long / side for long, side in zip(canvas, size, strict=True))
    finer = max(1, math.ceil(most * transform.far / MINIFIED))
    maps = torch.cat(drawn).to(pictures.dtype)
    samples = sample_views(pictures.repeat_interleave(count, dim=0), maps, tuple(side * finer for side in size))
    if finer > 1:
        samples = AVERAGES[len(size) - 1](samples, finer)
    strength = transform.noise + (transform.noise_last - transform.noise) * progress
    if strength:
        shape = [count, *samples.shape[1:]]
        noise = [torch.randn(shape, generator=each, device=each.device) for each in generators]
        samples = samples + torch.cat(noise).to(samples.dtype) * strength
    return samples


def _draw_maps(
    transform: ViewTransform, generator: torch.Generator, count: int, canvas: Sequence[int], size: Size
) -> Tensor:
    """Affine maps ``(count, axes, axes + 1)`` from a sample's coordinates to the canvas's, both from -1 to 1."""
    even = torch.rand(count, 4, generator=generator, device=generator.device)
    centre = 2 * transform.spread * torch.randn(count, len(size), generator=generator, device=generator.device)
    fitting = min(long / side for long, side in zip(canvas, size, strict=True))
    side = (transform.near + (transform.far - transform.near) * even[:, 0]) * fitting
    longer = torch.exp(transform.stretch * (even[:, 1] - 0.5))
    angle = math.radians(transform.turn) * (2 * even[:, 2] - 1)
    mirror = torch.where(even[:, 3] < 0.5, -1.0, 1.0) if transform.mirror else torch.ones_like(angle)
    lengths = [side * each for each in reversed(size)]  # across, down and inwards, in canvas pixels
    lengths[0] = lengths[0] * (longer if len(size) > 1 else 1) * mirror
    lengths[1:2] = [each / longer for each in lengths[1:2]]
    whole = list(reversed(canvas))
    return affine_maps(lengths, angle, [middle * long for middle, long in zip(centre.T, whole, strict=True)], whole)


def affine_maps(lengths: Sequence[Tensor], angle: Tensor, centre: Sequence[Tensor], whole: Sequence[float]) -> Tensor:
    """Affine maps of views ``(count, axes, axes + 1)``, as ``affine_grid`` takes them; the last axis comes first.

    Args:
        lengths: How long the views are along each axis, ``(count,)``: across, down, inwards; below zero mirrored.
        angle: ``(count,)``: how far each is turned, in radians, in the plane of the first two.
        centre: Where each one's centre lies along each axis, ``(count,)``; 0 is the canvas's own.
        whole: How long the canvas is, in the unit of the others.
    """
    cosine, sine = angle.cos(), angle.sin()
    rows = []
    for axis, (middle, long) in enumerate(zip(centre, whole, strict=True)):
        row = [torch.zeros_like(angle)] * len(lengths)
        row[axis] = lengths[axis]
        if axis < PICTURE <= len(lengths):
            across, down = lengths[:2]
            row[:2] = [across * sine, down * cosine] if axis else [across * cosine, -down * sine]
        rows.append(torch.stack([*row, middle], dim=1) / long)
    return torch.stack(rows, dim=1)


def sample_views(pictures: Tensor, maps: Tensor, size: Size) -> Tensor:
    """Pictures ``(B, C, ...)`` sampled by affine maps ``(B, axes, axes + 1)``; beyond them lies their reflection."""
    shape = [*pictures.shape[:2], *size]
    if len(size) == SIGNAL:  # a picture one pixel high
        still = maps.new_tensor([[0.0, 1.0, 0.0]]).expand(len(maps), 1, 3)
        flat = torch.cat([torch.stack([maps[..., 0], torch.zeros_like(maps[..., 0]), maps[..., 1]], dim=2), still], 1)
        return sample_views(pictures[:, :, None], flat, (1, *size))[:, :, 0]
    grid = functional.affine_grid(maps, shape, align_corners=False)
    return functional.grid_sample(pictures, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def resample(pictures: Tensor, size: Size) -> Tensor:
    """Pictures ``(N, C, ...)`` in another size, averaged where it is smaller."""
    if tuple(pictures.shape[2:]) == tuple(size):
        return pictures
    if len(size) == PICTURE:
        return functional.interpolate(pictures, size=size, mode="bilinear", antialias=True, align_corners=False)
    finer = [-(-long // side) for long, side in zip(pictures.shape[2:], size, strict=True)]
    wide = tuple(side * times for side, times in zip(size, finer, strict=True))
    sized = functional.interpolate(pictures, size=wide, mode=INTERPOLATION[len(size)], align_corners=False)
    return AVERAGES[len(size) - 1](sized, finer)
