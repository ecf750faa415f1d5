"""The architectures of the bundled networks, with a name for every layer."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm, added to their input.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        stride: 2 to halve height and width; the shortcut then is a 1x1 convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu2 = nn.ReLU(inplace=True)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(OrderedDict(conv=shortcut, bn=nn.BatchNorm2d(outputs)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(N, inputs, H, W)`` to ``(N, outputs, H / stride, W / stride)``."""
        inner: torch.Tensor = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        inner = inner + self.downsample(x)
        return torch.as_tensor(self.relu2(inner))


class ShapesEncoder(nn.Module):
    """What the shapes' networks have in common: 64 px in, a last map of 8x8.

    Its layers are made by :meth:`add_encoder`, so that a network can have others before them.
    """

    def add_encoder(self) -> None:
        """Make the layers."""
        self.conv1 = nn.Conv2d(3, 16, 5, 2, 2, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(ResidualBlock(16, 16))
        self.layer2 = nn.Sequential(ResidualBlock(16, 32, 2), ResidualBlock(32, 32))
        self.layer3 = nn.Sequential(ResidualBlock(32, 64, 2), ResidualBlock(64, 64))

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Map normalised RGB ``(N, 3, H, W)`` to maps of a half, a quarter and an eighth of its size."""
        first = self.layer1(self.relu(self.bn1(self.conv1(x))))
        second = self.layer2(first)
        return first, second, self.layer3(second)


class ShapesResNet(ShapesEncoder):
    """A small residual network: 64 px in, a last map of 8x8, global average pooling and one linear layer.

    Args:
        classes: Number of logits.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.add_encoder()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map normalised RGB ``(N, 3, H, W)`` to logits ``(N, classes)``."""
        return torch.as_tensor(self.fc(torch.flatten(self.avgpool(self.encode(x)[-1]), 1)))


class ShapesVGG(nn.Module):
    """Plain 3x3 convolutions, ReLU and max-pooling: 64 px in, a last map of 8x8, average pooling, one linear layer.

    Args:
        classes: Number of logits.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        plan = {"conv1_1": (3, 16), "conv2_1": (16, 32), "conv3_1": (32, 48), "conv3_2": (48, 48)}
        plan |= {"conv4_1": (48, 64), "conv4_2": (64, 64)}
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for name, (inputs, outputs) in plan.items():
            layers[name] = nn.Conv2d(inputs, outputs, 3, 1, 1)
            layers[name.replace("conv", "relu")] = nn.ReLU(inplace=True)
            if name in {"conv1_1", "conv2_1", "conv3_2"}:
                layers[f"pool{name[4]}"] = nn.MaxPool2d(2)
        self.features = nn.Sequential(layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(64, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map normalised RGB ``(N, 3, H, W)`` to logits ``(N, classes)``."""
        return torch.as_tensor(self.classifier(torch.flatten(self.avgpool(self.features(x)), 1)))


class UpBlock(nn.Module):
    """A map enlarged to a skip's size (nearest neighbour) and joined to it, then a 3x3 convolution with batch norm.

    Args:
        inputs: Channels of the map.
        skip: Channels of the skip.
        outputs: Channels that go out.
    """

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs + skip, outputs, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Map ``(N, inputs, h, w)`` and ``(N, skip, H, W)`` to ``(N, outputs, H, W)``."""
        joined = torch.cat([functional.interpolate(x, size=skip.shape[2:]), skip], 1)
        return torch.as_tensor(self.relu(self.bn(self.conv(joined))))


class ShapesUNet(ShapesEncoder):
    """A small U-Net: down as `ShapesResNet` goes, to a map of 8x8, and up again over three skips to a class a pixel.

    Args:
        classes: Number of logits of each pixel, the background's first.
    """

    def __init__(self, classes: int = 11) -> None:
        super().__init__()
        self.fine = nn.Sequential(
            OrderedDict(conv=nn.Conv2d(3, 8, 3, 1, 1, bias=False), bn=nn.BatchNorm2d(8), relu=nn.ReLU(inplace=True))
        )
        self.add_encoder()
        self.up2 = UpBlock(64, 32, 48)
        self.up1 = UpBlock(48, 16, 16)
        self.up0 = UpBlock(16, 8, 12)
        self.classifier = nn.Conv2d(12, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map normalised RGB ``(N, 3, H, W)`` to logits ``(N, classes, H, W)``."""
        fine = self.fine(x)
        first, second, third = self.encode(x)
        return torch.as_tensor(self.classifier(self.up0(self.up1(self.up2(third, second), first), fine)))


class ShapesDetector(nn.Module):
    """A small detector of one level: a map of 16x16 as `ShapesUNet` makes it, each of its places a candidate.

    Args:
        classes: Number of logits of each place.
    """

    stride = 4
    """Pixels of the input from one place to the next."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 5, 2, 2, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(ResidualBlock(16, 16))
        self.layer2 = nn.Sequential(ResidualBlock(16, 32, 2), ResidualBlock(32, 32))
        self.layer3 = nn.Sequential(ResidualBlock(32, 64, 2), ResidualBlock(64, 64))
        self.up2 = UpBlock(64, 32, 48)
        tower = OrderedDict(conv=nn.Conv2d(48, 48, 3, 1, 1, bias=False), bn=nn.BatchNorm2d(48), relu=nn.ReLU())
        self.tower = nn.Sequential(tower)
        self.classifier = nn.Conv2d(48, classes, 3, 1, 1)
        self.edges = nn.Conv2d(48, 4, 3, 1, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Map normalised RGB ``(N, 3, H, W)`` to candidates before suppression, one for each place.

        Returns:
            ``logits``: ``(N, A, classes)`` of independent classes. ``boxes``: ``(N, A, 4)``, left, top, right and
            bottom in pixels of the input.
        """
        second = self.layer2(self.layer1(self.relu(self.bn1(self.conv1(x)))))
        x = self.tower(self.up2(self.layer3(second), second))
        logits, edges = self.classifier(x), functional.softplus(self.edges(x))
        left, top, right, bottom = edges.unbind(1)
        across, down = torch.ones_like(left).cumsum(2) - 0.5, torch.ones_like(left).cumsum(1) - 0.5
        boxes = torch.stack([across - left, down - top, across + right, down + bottom], 1) * self.stride
        return {"logits": logits.flatten(2).transpose(1, 2), "boxes": boxes.flatten(2).transpose(1, 2)}


def read_candidates(output: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What `ShapesDetector` returns as boxes with scores of all classes, to be suppressed."""
    return {"boxes": output["boxes"], "scores": output["logits"].sigmoid()}


class LeNet5(nn.Module):
    """LeNet-5 with tanh and average pooling on one channel of 32x32 (LeCun et al., 1998), with a linear output layer.

    Args:
        classes: Number of logits.
    """

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 5)
        self.tanh1 = nn.Tanh()
        self.pool1 = nn.AvgPool2d(2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.tanh2 = nn.Tanh()
        self.pool2 = nn.AvgPool2d(2)
        self.conv3 = nn.Conv2d(16, 120, 5)
        self.tanh3 = nn.Tanh()
        self.fc1 = nn.Linear(120, 84)
        self.tanh4 = nn.Tanh()
        self.fc2 = nn.Linear(84, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map normalised grey ``(N, 1, 32, 32)`` to logits ``(N, classes)``."""
        x = self.pool1(self.tanh1(self.conv1(x)))
        x = self.pool2(self.tanh2(self.conv2(x)))
        x = torch.flatten(self.tanh3(self.conv3(x)), 1)
        return torch.as_tensor(self.fc2(self.tanh4(self.fc1(x))))


class PlacesCNN(nn.Module):
    """What `SignalsCNN` and `VolumesCNN` have in common: features, their mean over all places, a linear layer.

    The first convolution has an even kernel and, as the pooling, stride 2: so the places of a layer lie in the middle
    of equal parts of the input, which a mirrored input mirrors.

    Args:
        features: The layers before the pooling, by name.
        avgpool: The pooling.
        outputs: Channels of the last map.
        classes: Number of logits.
    """

    def __init__(self, features: OrderedDict[str, nn.Module], avgpool: nn.Module, outputs: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(features)
        self.avgpool = avgpool
        self.fc = nn.Linear(outputs, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map normalised values ``(N, C, ...)`` to logits ``(N, classes)``."""
        return torch.as_tensor(self.fc(torch.flatten(self.avgpool(self.features(x)), 1)))


class SignalsCNN(PlacesCNN):
    """A small network of signals of two channels: 512 samples in, a last map of 64 places.

    Args:
        classes: Number of logits.
    """

    def __init__(self, classes: int = 6) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        plan = ((2, 16, 8), (16, 24, 5), (24, 32, 5), (32, 48, 5), (48, 48, 3))
        for place, (inputs, outputs, kernel) in enumerate(plan, 1):
            stride = 2 if place == 1 else 1
            layers[f"conv{place}"] = nn.Conv1d(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=False)
            layers[f"bn{place}"] = nn.BatchNorm1d(outputs)
            layers[f"relu{place}"] = nn.ReLU(inplace=True)
            if place in {2, 3}:
                layers[f"pool{place}"] = nn.MaxPool1d(2)
        super().__init__(layers, nn.AdaptiveAvgPool1d(1), 48, classes)


class VolumesCNN(PlacesCNN):
    """A small network of volumes of one channel: 32x32x32 voxels in, a last map of 8x8x8.

    Args:
        classes: Number of logits.
    """

    def __init__(self, classes: int = 6) -> None:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        plan = ((1, 16, 4), (16, 16, 3), (16, 32, 3), (32, 48, 3), (48, 48, 3))
        for place, (inputs, outputs, kernel) in enumerate(plan, 1):
            stride = 2 if place == 1 else 1
            layers[f"conv{place}"] = nn.Conv3d(inputs, outputs, kernel, stride, 1, bias=False)
            layers[f"bn{place}"] = nn.BatchNorm3d(outputs)
            layers[f"relu{place}"] = nn.ReLU(inplace=True)
            if place == 2:
                layers[f"pool{place}"] = nn.MaxPool3d(2)
        super().__init__(layers, nn.AdaptiveAvgPool3d(1), 48, classes)
