"""How a picture becomes a network's input, and how an input becomes a picture again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from cnnviz.core.dimensions import KINDS, PICTURE, VOLUME, Size, spell_size
from cnnviz.core.picture import LUMA, Geometry, Picture, check_range
from cnnviz.core.sample import Entrance, Sample
from cnnviz.errors import ModelError, ParameterError, PictureError
from cnnviz.models.resampling import check_range_word, fit_geometry, fit_sample

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "WHOLE", "Preprocess"]

WHOLE: Final = "whole"
"""A resize by which all of a picture fits into the input, its shape kept."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MAX_RESIZED = 1 << 28
"""Most pixels a picture may be resized to: a strip of 1 x 100 000 pixels would not fit into memory."""

_TIMM_CROP_PCT = 0.875
_COLOUR_DIMS = 3
MARGIN, MOST = 0.05, 0.5
"""An input is no picture if more than this share of it is farther outside [0, 1]."""
_COLOURS = {1: "L", 3: "RGB"}
_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes the network's input: resized, cropped at its centre, scaled to [0, 1] and normalised.

    On the same pixels the result equals torchvision's ``weights.transforms()`` and timm's evaluation transform bit for
    bit. Where the resized picture is smaller than the input, black is added around it before the normalisation.

    Attributes:
        input_size: Height and width of the network's input, in pixels; length of a signal; depth, height and width of a
            volume.
        resize: The shorter side after the resize (the longer follows), an exact height and width, ``"whole"``: as large
            as fits into the input, so that all of it is seen and keeps its shape; or None: no resize.
        mean: Mean of each channel, subtracted from values in [0, 1]; one value stands for all channels.
        std: Standard deviation of each channel, by which they are then divided; one value stands for all channels.
        interpolation: ``"nearest"``, ``"bilinear"``, ``"bicubic"`` or ``"lanczos"``, all as Pillow does them.
        channels: 3 for colour, 1 for grey (ITU-R 601 luma); pictures cannot feed any other number.
        value_range: The values that stand for 0 and 1; None for those that pictures were read with. Of signals and
            volumes also ``"window"``, that of a DICOM file, or ``"percentiles"``, its own 0.5 and 99.5.
        keeps_size: Whether inputs are as long as what they are made of; ``input_size`` is then only what layers are
            listed for.
        rate: Samples a second of signals, or frames a second of clips, that the network was trained with; others are
            brought to it. None for any.
        spacing: Millimetres between a volume's slices, rows and columns, likewise.
        standardise: Whether each channel of a signal or volume gets mean 0 and deviation 1 before ``mean`` and ``std``.

    Raises:
        ParameterError: A size is not positive, a length does not fit the channels, or a value is out of bounds.
    """

    input_size: Size
    resize: int | Size | Literal["whole"] | None = None
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bilinear"
    channels: int = 3
    value_range: tuple[float, float] | str | None = None
    keeps_size: bool = False
    rate: float | None = None
    spacing: tuple[float, float, float] | None = None
    standardise: bool = False

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise ParameterError(f"channels is {self.channels}; expected 1 or more.")
        object.__setattr__(self, "input_size", _check_size("input_size", self.input_size))
        if isinstance(self.resize, int):
            _check_size("resize", (self.resize,) * self.places)
        elif isinstance(self.resize, str):
            if self.resize != WHOLE:
                raise ParameterError(f"resize is '{self.resize}'; expected pixels, or '{WHOLE}' for all of a picture.")
        elif self.resize is not None:
            object.__setattr__(self, "resize", _check_size("resize", self.resize))
        for name in ("mean", "std"):
            object.__setattr__(self, name, _check_channels(name, getattr(self, name), self.channels))
        if min(self.std) <= 0:
            raise ParameterError(f"std is {list(self.std)}; expected values above 0.")
        check_range_word(self.value_range, self.places)
        check_range(self.plain_range)
        for name, numbers in (("rate", (self.rate,)), ("spacing", self.spacing or ())):
            if any(each is not None and not (math.isfinite(each) and each > 0) for each in numbers):
                raise ParameterError(f"{name} is {getattr(self, name)}; expected more than 0.")
        if self.interpolation not in _FILTERS:
            raise ParameterError(f"interpolation is '{self.interpolation}'; expected one of {', '.join(_FILTERS)}.")

    @property
    def places(self) -> int:
        """How many axes of places the input has: 1 of signals, 2 of pictures, 3 of volumes."""
        return len(self.input_size)

    def refined(
        self,
        value_range: tuple[float, float] | str | None,
        rate: float | None,
        spacing: float | Sequence[float] | None,
        standardise: bool | None,
        *,
        resized: bool,
    ) -> Preprocess:
        """The same with what is not None instead.

        Args:
            value_range: As this class takes it.
            rate: Likewise.
            spacing: Likewise, or one number for every axis.
            standardise: Likewise.
            resized: Whether the user gave a resize; without one, volumes at a spacing are not resized besides.

        Raises:
            ParameterError: If one of them has no meaning for what the network takes, or is out of bounds.
        """
        known = self if value_range is None else replace(self, value_range=value_range)
        if self.places == PICTURE and (rate is not None or standardise):
            name = "standardise" if rate is None else "rate"
            raise ParameterError(f"{name} applies to signals and volumes; the network takes pictures.")
        known = known if rate is None else replace(known, rate=float(rate))
        known = known if standardise is None else replace(known, standardise=standardise)
        if spacing is None:
            return known
        lengths = tuple(map(float, spacing)) if isinstance(spacing, Sequence) else (float(spacing),) * VOLUME
        if len(lengths) != VOLUME or self.places != VOLUME:
            kind = KINDS[self.places]
            raise ParameterError(
                f"spacing is {spacing}; expected 1 or 3 lengths in mm, of a volume: this takes {kind}s."
            )
        depth, height, width = lengths
        resize = known.resize if resized else None
        return replace(known, spacing=(depth, height, width), resize=resize)

    @property
    def entrance(self) -> Entrance:
        """What reading has to know of the network."""
        clips = self.rate is not None and self.places == VOLUME
        frames = None if self.keeps_size or not clips else self.input_size[0]
        rate = self.rate if clips else None
        return Entrance(self.places, self.channels, self.plain_range, rate, frames)

    def _described_range(self) -> dict[str, Any]:
        told = self.plain_range
        return {} if self.value_range is None else {"value_range": self.value_range if told is None else list(told)}

    @property
    def plain_range(self) -> tuple[float, float] | None:
        """The range, where it is one of numbers."""
        return None if isinstance(self.value_range, str) else self.value_range

    def __call__(self, picture: Sample) -> tuple[Tensor, Sample]:
        """Make the network's input of one picture, signal, volume or clip.

        Args:
            picture: Upright sRGB pixels; or the values of a signal or a volume.

        Returns:
            The input, ``(C, h, w)`` float32 on the CPU, and the same picture with the geometry of that input.

        Raises:
            PictureError: The network takes neither 1 nor 3 channels, or the resized picture would be too large; or it
                takes no such sample.
        """
        if not isinstance(picture, Picture):
            return fit_sample(picture, self)
        geometry = self.geometry(picture)
        if self.channels not in _COLOURS:
            raise PictureError(
                f"The network takes {self.channels} channels, so a picture such as '{picture.name}' cannot feed it; "
                f"expected a float tensor (N, {', '.join(map(str, (self.channels, *self.input_size)))})."
            )
        picture = replace(picture.in_range(self.plain_range), geometry=geometry)
        values = self._cut_levels(picture) if picture.exact is None else self._cut_exact(picture.exact, picture)
        mean, std = self.columns(values.dtype)
        return values.sub_(mean).div_(std), picture

    def _cut_levels(self, picture: Picture) -> Tensor:
        """The input ``(C, h, w)`` in [0, 1] from 8-bit pixels."""
        image = Image.fromarray(picture.pixels).convert(_COLOURS[self.channels])
        pixels = torch.from_numpy(np.array(self._cut(image, picture)))
        return pixels.reshape(*self.input_size, self.channels).permute(2, 0, 1).contiguous().to(torch.float32).div(255)

    def _cut_exact(self, exact: NDArray[np.float32], picture: Picture) -> Tensor:
        """The input ``(C, h, w)`` in [0, 1] from values of more than 8 bits."""
        planes = exact[:, :, None] if exact.ndim < _COLOUR_DIMS else exact
        if self.channels == 1 and planes.shape[2] > 1:
            planes = (planes @ np.array(LUMA, np.float32))[:, :, None]
        cut = [np.asarray(self._cut(Image.fromarray(plane), picture)) for plane in np.moveaxis(planes, 2, 0).copy()]
        return torch.from_numpy(np.stack(cut)).clamp(0, 1).repeat(self.channels // len(cut), 1, 1)

    def _cut(self, image: Image.Image, picture: Picture) -> Image.Image:
        geometry = picture.geometry or self.geometry(picture)
        top, left, height, width = geometry.crop
        resized = image.resize((geometry.resized[1], geometry.resized[0]), _FILTERS[self.interpolation])
        return resized.crop((left, top, left + width, top + height))

    def to_values(self, inputs: Tensor) -> NDArray[np.float32]:
        """Inputs ``(N, C, ...)`` of signals or volumes as what was normalised, float32."""
        values = inputs.detach().to("cpu", torch.float32)
        mean, std = self.columns(values.dtype)
        return np.ascontiguousarray((values * std + mean).numpy())

    def to_pixels(self, inputs: Tensor) -> NDArray[np.uint8]:
        """Turn inputs back into pictures for display.

        Args:
            inputs: ``(N, C, h, w)``, normalised, on any device and of any floating type.

        Returns:
            ``(N, h, w, 3)`` uint8. Where ``C`` is this preprocessing's 1 or 3 channels, the normalisation is undone and
            what lies outside [0, 1] is clipped. Any other input has no colours, and neither has a sample most of which
            lies outside [0, 1] (a spectrogram in decibels, say): the mean over its channels is shown as grey,
            stretched from each sample's minimum (black) to its maximum (white); a constant one is black.
        """
        values = inputs.detach().to("cpu", torch.float32).nan_to_num()
        if values.shape[1] == self.channels and self.channels in _COLOURS:
            mean, std = self.columns(values.dtype)
            grey = _stretch(values.double().mean(dim=1, keepdim=True)).to(values.dtype)
            values = values.mul_(std).add_(mean)
            outside = ((values < -MARGIN) | (values > 1 + MARGIN)).float().mean(dim=(1, 2, 3), keepdim=True)
            values = torch.where(outside > MOST, grey, values)
        else:
            values = _stretch(values.double().mean(dim=1, keepdim=True))
        levels = values.clamp_(0, 1).mul_(255).round_().to(torch.uint8)
        return levels.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous().numpy()

    def describe(self) -> dict[str, Any]:
        """The settings as plain JSON values, for provenance."""
        return {
            "input_size": list(self.input_size),
            "resize": list(self.resize) if isinstance(self.resize, tuple) else self.resize,
            "mean": list(self.mean),
            "std": list(self.std),
            "interpolation": self.interpolation,
            "channels": self.channels,
            **self._described_range(),
            **({"keeps_size": True} if self.keeps_size else {}),
            **({} if self.rate is None else {"rate": self.rate}),
            **({} if self.spacing is None else {"spacing": list(self.spacing)}),
            **({"standardise": True} if self.standardise else {}),
        }

    @classmethod
    def from_torchvision(cls, transform: Any) -> Preprocess:
        """Take over the preprocessing of a torchvision classifier, or of a network with a class for every pixel.

        The latter crops nothing: its pictures fit whole into a square with the side that the preset gives their shorter
        side, so that pictures of several shapes can be asked about together.

        Args:
            transform: What ``weights.transforms()`` returns: an ``ImageClassification`` or ``SemanticSegmentation``
                preset.

        Raises:
            ModelError: It is the preset of another task, or not a preset.
        """
        whole = type(transform).__name__ == "SemanticSegmentation" and bool(transform.resize_size)
        try:
            crop = transform.resize_size if whole else transform.crop_size
            resize = transform.resize_size
            mean, std, interpolation = transform.mean, transform.std, transform.interpolation.value
        except AttributeError as error:
            raise ModelError(
                f"The transform is {type(transform).__name__}; expected torchvision's ImageClassification or "
                "SemanticSegmentation preset."
            ) from error
        return cls(
            input_size=(crop[0], crop[-1]),
            resize=WHOLE if whole else resize[0] if len(resize) == 1 else tuple(resize),
            mean=tuple(mean),
            std=tuple(std),
            interpolation=interpolation.removesuffix("-exact"),
        )

    @classmethod
    def from_clips(cls, transform: Any, *, frames: int, rate: float) -> Preprocess:
        """Take over the preprocessing of one of torchvision's networks for clips.

        Args:
            transform: What ``weights.transforms()`` returns: a ``VideoClassification`` preset.
            frames: How many frames the network was trained with.
            rate: How many of them a second.
        """
        resize = transform.resize_size
        return cls(
            input_size=(frames, *transform.crop_size),
            resize=resize[0] if len(resize) == 1 else tuple(resize),
            mean=tuple(transform.mean),
            std=tuple(transform.std),
            interpolation=transform.interpolation.value,
            rate=rate,
        )

    @classmethod
    def from_timm(cls, data_config: Mapping[str, Any]) -> Preprocess:
        """Take over the evaluation preprocessing of a timm network.

        Args:
            data_config: What ``timm.data.resolve_data_config`` or ``resolve_model_data_config`` returns.

        Raises:
            ModelError: Its crop mode is neither "squash" nor "center", or "center" with an input that is not square.
            ParameterError: Its interpolation is not one that this class knows.
        """
        channels, height, width = data_config["input_size"]
        share = data_config.get("crop_pct") or _TIMM_CROP_PCT
        mode = data_config.get("crop_mode") or "center"
        if mode not in ("center", "squash") or (mode == "center" and height != width):
            raise ModelError(
                f"timm's crop mode '{mode}' for a {height} x {width} input is not supported; expected 'squash', or "
                "'center' for a square input (or pass resize, mean and std yourself)."
            )
        scaled = math.floor(height / share), math.floor(width / share)
        return cls(
            input_size=(height, width),
            resize=scaled if mode == "squash" else scaled[0],
            mean=tuple(data_config["mean"]),
            std=tuple(data_config["std"]),
            interpolation=data_config["interpolation"],
            channels=channels,
        )

    def geometry(self, picture: Sample) -> Geometry:
        """How the network's input is cut from a picture, a signal or a volume.

        Raises:
            PictureError: The resized picture would be too large, or the network takes none of its kind.
        """
        if not isinstance(picture, Picture) or self.places != PICTURE:
            return fit_geometry(picture, self)
        height, width = self.resized_size(picture.size, self.input_size)
        if height * width > MAX_RESIZED:
            raise PictureError(
                f"The picture '{picture.name}' of {picture.size[0]} x {picture.size[1]} pixels would be resized to "
                f"{height} x {width}; expected a less elongated picture."
            )
        return Geometry.centred(picture.size, (height, width), self.input_size)

    def resized_size(self, size: Size, wanted: Size) -> Size:
        """The size after the resize; torchvision cuts the longer side's fraction off.

        Args:
            size: The size before.
            wanted: That of the network's input.
        """
        if self.resize is None:
            return size
        if isinstance(self.resize, tuple):
            return self.resize
        if isinstance(self.resize, str):
            share = min(own / side for own, side in zip(wanted, size, strict=True))
            return tuple(max(1, min(own, round(side * share))) for own, side in zip(wanted, size, strict=True))
        return tuple(int(self.resize * side / min(size)) for side in size)

    def columns(self, dtype: torch.dtype | None = None, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, each ``(C, 1, ...)`` with as many axes of places as the input."""
        shape = -1, *(1 for _ in self.input_size)
        mean, std = (torch.tensor(each, dtype=dtype, device=device).view(shape) for each in (self.mean, self.std))
        return mean, std


def _stretch(values: Tensor) -> Tensor:
    """Each sample from its own minimum (0) to its own maximum (1); a constant one is 0."""
    low, high = values.amin(dim=(1, 2, 3), keepdim=True), values.amax(dim=(1, 2, 3), keepdim=True)
    return (values - low) / (high - low).clamp_min(torch.finfo(values.dtype).tiny)


def _check_size(name: str, size: Size) -> Size:
    sides = tuple(int(side) for side in size)
    if not sides or len(sides) > VOLUME or min(sides) < 1:
        raise ParameterError(f"{name} is {spell_size(sides)}; expected 1 to 3 lengths of at least 1 pixel.")
    return sides


def _check_channels(name: str, values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in values)
    if len(numbers) not in (1, channels) or not all(map(math.isfinite, numbers)):
        raise ParameterError(
            f"{name} is {list(numbers)}; expected one finite number, or one for each channel ({channels})."
        )
    return numbers
