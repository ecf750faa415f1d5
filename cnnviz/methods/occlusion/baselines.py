"""What a hidden part of a picture is filled with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.errors import ParameterError, UnknownNameError
from cnnviz.models.model import Model
from cnnviz.models.preprocess import Preprocess

__all__ = ["BASELINES", "Fill", "fill_with", "parse_baselines"]

Fill: TypeAlias = Callable[[Tensor], Tensor]
"""From masks ``(n, 1, H, W)`` to what is seen in their place: ``(n, C, H, W)``, or ``(1, C, H, W)`` for all."""

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


def fill_with(name: str, model: Model, image: Tensor, *, side: int, seed: int) -> Fill:
    """What hides parts of one image.

    Args:
        name: ``"mean"`` (0 in normalised space, the mean of the training pictures), ``"black"``, ``"blur"`` (Gaussian,
            its deviation a third of the window), ``"noise"`` (every value at random from black to white) or
            ``"inpaint"`` (continued from around the window, by Telea's method).
        model: The network, for what black and white are.
        image: ``(C, H, W)``.
        side: Side of the windows.
        seed: Of the noise.
    """
    return BASELINES[name](_Painter(model.preprocess, image, side, seed))


@dataclass(frozen=True)
class _Painter:
    preprocess: Preprocess
    image: Tensor
    side: int
    seed: int

    def mean(self) -> Fill:
        return self._fill_always(torch.zeros_like(self.image))

    def black(self) -> Fill:
        return self._fill_always(self._normalise(torch.zeros(self.image.shape)))

    def noise(self) -> Fill:
        drawn = np.random.default_rng(self.seed).random(self.image.shape, dtype=np.float32)
        return self._fill_always(self._normalise(torch.from_numpy(drawn)))

    def blur(self) -> Fill:
        blurred = [cv2.GaussianBlur(each, (0, 0), self.side / 3) for each in self.image.float().cpu().numpy()]
        return self._fill_always(torch.from_numpy(np.stack(blurred)))

    def inpaint(self) -> Fill:
        mean, std = self._statistics()
        pixels = ((self.image.float().cpu() * std + mean) * WHITE).numpy()

        def fill(masks: Tensor) -> Tensor:
            hidden = (masks[:, 0] > 0).to("cpu", torch.uint8).numpy()
            filled = torch.from_numpy(np.stack([_inpaint(pixels, each) for each in hidden]))
            return ((filled / WHITE - mean) / std).to(self.image)

        return fill

    def _statistics(self) -> tuple[Tensor, Tensor]:
        mean, std = (torch.tensor(each).view(-1, 1, 1) for each in (self.preprocess.mean, self.preprocess.std))
        return mean, std

    def _normalise(self, values: Tensor) -> Tensor:
        mean, std = self._statistics()
        return (values - mean) / std

    def _fill_always(self, values: Tensor) -> Fill:
        held = values.to(self.image)[None]
        return lambda _masks: held


BASELINES: Mapping[str, Callable[[_Painter], Fill]] = {
    "mean": _Painter.mean,
    "black": _Painter.black,
    "blur": _Painter.blur,
    "noise": _Painter.noise,
    "inpaint": _Painter.inpaint,
}


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
