"""What a hidden part of a picture is filled with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.core.dimensions import KINDS, PICTURE, Size, own_dims
from cnnviz.errors import ParameterError, UnknownNameError
from cnnviz.models.model import Model
from cnnviz.models.preprocess import Preprocess

__all__ = ["BASELINES", "Fill", "fill_with", "parse_baselines"]

Fill: TypeAlias = Callable[[Tensor], Tensor]
"""From masks ``(n, 1, H, W)`` to what is seen in their place: ``(n, C, H, W)``, or ``(1, C, H, W)`` for all; of signals
and volumes likewise."""

ANYWHERE = ("mean", "noise", "blur")
"""Baselines that any input has."""

RADIUS, MARGIN = 3, 8
WHITE = 255


def parse_baselines(text: str) -> tuple[str, ...]:
    """``"mean,blur"`` as names, each once.

    Raises:
        UnknownNameError: If there is no such baseline; the message offers the nearest ones.
        ParameterError: If there is none at all.
    """
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise ParameterError(f"baseline must be one or several of {', '.join(BASELINES)}; got {text!r}.")
    for name in names:
        if name not in BASELINES:
            raise UnknownNameError("baseline", name, BASELINES, f"They are {', '.join(BASELINES)}.")
    return names


def fill_with(name: str, model: Model, image: Tensor, *, side: int | Size, seed: int) -> Fill:
    """What hides parts of one image.

    Args:
        name: ``"mean"`` (0 in normalised space, the mean of the training pictures), ``"black"``, ``"white"``,
            ``"blur"`` (Gaussian, its deviation a third of the window along each axis), ``"noise"`` (every value at
            random from black to white; of signals and volumes without these from the channel's lowest to its highest)
            or ``"inpaint"`` (continued from around the window, by Telea's method; of pictures alone).
        model: The network, for what black and white are.
        image: ``(C, H, W)``, or a signal or a volume.
        side: Length of the windows along each axis, or along all.
        seed: Seed for the noise.

    Raises:
        ParameterError: If it has no meaning for signals or volumes.
    """
    sides = side if isinstance(side, tuple) else (side,) * model.places
    return BASELINES[name](_Filler(model.preprocess, image, sides, seed))


@dataclass(frozen=True)
class _Filler:
    preprocess: Preprocess
    image: Tensor
    sides: Size
    seed: int

    def mean(self) -> Fill:
        return self._fill_always(torch.zeros_like(self.image))

    def black(self) -> Fill:
        if not self._has_colours:
            raise ParameterError(
                f"baseline black needs to know which values are black and white, and a {self._kind} has none unless "
                f"the network's value_range says so; expected {', '.join(ANYWHERE)}."
            )
        return self._fill_always(self._normalise(torch.zeros(self.image.shape)))

    def white(self) -> Fill:
        if not self._has_colours:
            raise ParameterError(
                f"baseline white needs to know which values are black and white, and a {self._kind} has none unless "
                f"the network's value_range says so; expected {', '.join(ANYWHERE)}."
            )
        return self._fill_always(self._normalise(torch.ones(self.image.shape)))

    def noise(self) -> Fill:
        drawn = torch.from_numpy(np.random.default_rng(self.seed).random(self.image.shape, dtype=np.float32))
        if self._has_colours:
            return self._fill_always(self._normalise(drawn))
        places = own_dims(self.image)
        values = self.image.detach().cpu()
        low, high = values.amin(dim=places, keepdim=True), values.amax(dim=places, keepdim=True)
        return self._fill_always(low + drawn * (high - low))

    def blur(self) -> Fill:
        blurred = [_blur(each, [side / 3 for side in self.sides]) for each in self.image.float().cpu().numpy()]
        return self._fill_always(torch.from_numpy(np.stack(blurred)))

    def inpaint(self) -> Fill:
        if self.preprocess.places != PICTURE:
            raise ParameterError(
                f"baseline inpaint continues a picture, not a {self._kind}; expected {', '.join(ANYWHERE)}."
            )
        mean, std = self.preprocess.columns()
        pixels = ((self.image.float().cpu() * std + mean) * WHITE).numpy()

        def fill(masks: Tensor) -> Tensor:
            hidden = (masks[:, 0] > 0).to("cpu", torch.uint8).numpy()
            filled = torch.from_numpy(np.stack([_inpaint(pixels, each) for each in hidden]))
            return ((filled / WHITE - mean) / std).to(self.image)

        return fill

    @property
    def _kind(self) -> str:
        return KINDS[self.preprocess.places]

    @property
    def _has_colours(self) -> bool:
        """Whether 0 and 1 before the normalisation are black and white."""
        return self.preprocess.places == PICTURE or self.preprocess.value_range is not None

    def _normalise(self, values: Tensor) -> Tensor:
        mean, std = self.preprocess.columns()
        return (values - mean) / std

    def _fill_always(self, values: Tensor) -> Fill:
        held = values.to(self.image)[None]
        return lambda _masks: held


BASELINES: Mapping[str, Callable[[_Filler], Fill]] = {
    "mean": _Filler.mean,
    "black": _Filler.black,
    "white": _Filler.white,
    "blur": _Filler.blur,
    "noise": _Filler.noise,
    "inpaint": _Filler.inpaint,
}


def _blur(values: NDArray[np.float32], deviations: Sequence[float]) -> NDArray[np.float32]:
    """One channel after a Gaussian with a deviation along each axis; mirrored beyond its ends."""
    if values.ndim == PICTURE:
        down, across = deviations
        return np.asarray(cv2.GaussianBlur(values, (0, 0), across, sigmaY=down))
    for axis, deviation in enumerate(deviations):
        length = values.shape[axis]
        lines = np.ascontiguousarray(np.moveaxis(values, axis, 0)).reshape(length, -1)
        width = round(deviation * 8) + 1 | 1  # as OpenCV itself chooses it for float32
        done = cv2.GaussianBlur(lines, (1, width), deviation) if length > 1 else lines
        values = np.moveaxis(np.asarray(done, np.float32).reshape(np.moveaxis(values, axis, 0).shape), 0, axis)
    return values


def _inpaint(pixels: NDArray[np.float32], hidden: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Planes ``(C, H, W)`` with what is hidden continued from around it; only its surroundings are looked at.

    Values are those of pixels, 0 to 255, because Telea's method depends on their scale.
    """
    filled = pixels.copy()
    if hidden.all():
        return np.broadcast_to(pixels.mean(axis=(1, 2), keepdims=True), pixels.shape)
    if not hidden.any():
        return filled
    rows, columns = (np.flatnonzero(hidden.any(axis=axis)) for axis in (1, 0))
    near = tuple(slice(max(line[0] - MARGIN, 0), line[-1] + 1 + MARGIN) for line in (rows, columns))
    mask = np.ascontiguousarray(hidden[near])
    for plane in filled:
        painted = cv2.inpaint(np.ascontiguousarray(plane[near]), mask, RADIUS, cv2.INPAINT_TELEA)
        plane[near] = painted.clip(plane.min(), plane.max())
    return filled
