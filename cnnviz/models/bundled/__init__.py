"""The bundled networks: small trained ones that come with the package, so that nothing must be downloaded.

Importing this module imports no torch; `build` does.

- ``networks``: their architectures.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn


@dataclass(frozen=True)
class Bundled:
    """What a bundled network is.

    Attributes:
        name: What users call it.
        network: Its class in `cnnviz.models.bundled.networks`.
        weights: Its file of weights, beside this module.
        labels: The classes, in the order of the logits (where there are some for each pixel, of a pixel's).
        mean: Per channel, subtracted from pixels between 0 and 1, or from a signal's or a volume's values as they are.
        std: Per channel, what the difference is divided by.
        input_size: What it was trained at: height and width in pixels, a signal's samples, or a volume's slices, rows
            and columns.
        summary: One sentence.
        task: What it answers: a class of the whole picture (``"classification"``), of each pixel (``"segmentation"``)
            or of boxes (``"detection"``).
        rate: Samples a second of its signals; None for what has no signals.
        spacing: Millimetres from one slice, row and column to the next in its volumes; None for what has none.
    """

    name: str
    network: str
    weights: str
    labels: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_size: tuple[int, ...]
    summary: str
    task: str = "classification"
    rate: float | None = None
    spacing: tuple[float, float, float] | None = None


_SHAPES: Final = ("circle", "triangle", "square", "star", "cross", "ring", "heart", "crescent", "arrow", "bolt")

BUNDLED: Final[dict[str, Bundled]] = {
    entry.name: entry
    for entry in (
        Bundled(
            name="shapes-resnet",
            network="ShapesResNet",
            weights="shapes-resnet.safetensors",
            labels=_SHAPES,
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
            input_size=(64, 64),
            summary="A residual network with batch norm that names the shape in a drawn scene.",
        ),
        Bundled(
            name="shapes-vgg",
            network="ShapesVGG",
            weights="shapes-vgg.safetensors",
            labels=_SHAPES,
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
            input_size=(64, 64),
            summary="Plain convolutions, ReLU and max-pooling that name the shape in a drawn scene.",
        ),
        Bundled(
            name="shapes-unet",
            network="ShapesUNet",
            weights="shapes-unet.safetensors",
            labels=("background", *_SHAPES),
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
            input_size=(64, 64),
            summary="A small U-Net that names the shape at every pixel of a drawn scene, or its background.",
            task="segmentation",
        ),
        Bundled(
            name="shapes-detector",
            network="ShapesDetector",
            weights="shapes-detector.safetensors",
            labels=_SHAPES,
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
            input_size=(64, 64),
            summary="A small detector that draws a box about each shape of a drawn scene and names it.",
            task="detection",
        ),
        Bundled(
            name="digits-lenet5",
            network="LeNet5",
            weights="digits-lenet5.safetensors",
            labels=tuple("0123456789"),
            mean=(0.13,),
            std=(0.25,),
            input_size=(32, 32),
            summary="LeNet-5, with tanh and average pooling, that reads a drawn digit in one channel.",
        ),
        Bundled(
            name="signals-cnn",
            network="SignalsCNN",
            weights="signals-cnn.safetensors",
            labels=("bump", "plateau", "decay", "burst", "chirp", "sawtooth"),
            mean=(0.0, 0.0),
            std=(0.45, 0.45),
            input_size=(512,),
            summary="One-dimensional convolutions that name the event in a drawn signal of two channels.",
            rate=250.0,
        ),
        Bundled(
            name="volumes-cnn",
            network="VolumesCNN",
            weights="volumes-cnn.safetensors",
            labels=("ball", "cube", "torus", "rod", "cone", "jack"),
            mean=(0.5,),
            std=(0.2,),
            input_size=(32, 32, 32),
            summary="Three-dimensional convolutions that name the solid in a drawn volume.",
            spacing=(2.0, 1.0, 1.0),
        ),
    )
}
"""The bundled networks by name."""


def build(name: str) -> nn.Module:
    """Build a bundled network's architecture, untrained and in eval mode.

    Args:
        name: A key of `BUNDLED`.

    Raises:
        KeyError: If no bundled network has that name.
    """
    from cnnviz.models.bundled import networks

    entry = BUNDLED[name]
    module: nn.Module = getattr(networks, entry.network)(classes=len(entry.labels))
    return module.eval()


def detection_reader(name: str) -> Callable[[Any], Any] | None:
    """The function that reads a bundled detector's output; None for what is no detector.

    Args:
        name: A key of `BUNDLED`.

    Raises:
        KeyError: If no bundled network has that name.
    """
    from cnnviz.models.bundled import networks

    return networks.read_candidates if BUNDLED[name].task == "detection" else None


def weights_path(name: str) -> Path:
    """The safetensors file that holds a bundled network's weights.

    Args:
        name: A key of `BUNDLED`.

    Raises:
        KeyError: If no bundled network has that name.
    """
    return Path(__file__).parent / BUNDLED[name].weights
