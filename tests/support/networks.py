"""Small networks, each with one property that a test is about."""

from __future__ import annotations

from collections import namedtuple
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional
from torchvision.models import SwinTransformer, VisionTransformer

from cnnviz import Model

LABELS = ("cat", "dog", "bird", "fish", "frog")
Outputs = namedtuple("Outputs", ["logits", "aux"])


def model_of(module: nn.Module, **given) -> Model:
    """A model whose input is 32 x 32 and whose five classes have labels."""
    settings = {"mean": (0.5,), "std": (0.25,), "input_size": 32, "labels": LABELS, "name": "small"}
    return Model(module, **(settings | given))


def settled_norm(channels: int) -> nn.BatchNorm2d:
    """A batch norm that has seen data."""
    norm = nn.BatchNorm2d(channels)
    with torch.no_grad():
        for values in (norm.running_var, norm.weight):
            values.uniform_(0.5, 1.5)
        for values in (norm.running_mean, norm.bias):
            values.normal_(0, 0.2)
    return norm


class Small(nn.Module):
    """Convolutions, an in-place ReLU after a batch norm, dropout, and a GAP + linear head."""

    def __init__(self, channels: int = 3, classes: int = 5) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 8, 3, padding=1)
        self.norm1 = settled_norm(8)
        self.relu1 = nn.ReLU(inplace=True)
        self.down = nn.MaxPool2d(4)
        self.middle = nn.Identity()
        self.conv2 = nn.Conv2d(8, 6, 3, padding=1)
        self.relu2 = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(6, classes)

    def forward(self, x):
        x = self.down(self.relu1(self.norm1(self.conv1(x))))
        x = self.relu2(self.conv2(self.middle(x)))
        return self.fc(self.dropout(self.pool(x).flatten(1)))


class OneConvolution(nn.Module):
    """In float64: one convolution, a mean over all places, a linear layer; everything has a closed form."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.fc = nn.Linear(4, 3)
        self.double()

    def forward(self, x):
        return self.fc(self.conv(x).mean(dim=(2, 3)))


class Twice(nn.Module):
    """One convolution and one ReLU that run twice in a forward."""

    def __init__(self, *, inplace: bool = False) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.shared = nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=inplace)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        x = functional.max_pool2d(self.stem(x), 4)
        for _ in range(2):
            x = self.relu(self.shared(x))
        return self.fc(x.mean(dim=(2, 3)))


class Tabled(nn.Module):
    """A table of positions goes through a part of its own, whose output looks like a map of one image."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.table = nn.Conv2d(2, 4, 1)
        self.conv2 = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.fc = nn.Linear(4, 5)
        self.register_buffer("positions", torch.rand(1, 2, 5, 5))

    def forward(self, x):
        x = functional.relu(self.conv1(x))
        bias = self.table(self.positions).mean(dim=(2, 3))[0]
        return self.fc(self.conv2(x * bias[:, None, None]).mean(dim=(2, 3)))


class Writing(Small):
    """Its forward writes to buffers in evaluation mode too: in place, past the version counter, and by replacing."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("runs", torch.zeros((), dtype=torch.long))
        self.register_buffer("last", torch.zeros(8))
        self.register_buffer("hidden", torch.zeros(8))
        self.register_buffer("empty", None)

    def forward(self, x):
        self.runs += 1
        self.last = x.detach().mean().expand(8).clone()
        self.hidden.data.add_(1)
        self.empty = torch.ones(1)
        return super().forward(x)


class Caching(Small):
    """Keeps what only ``train`` empties, notes the size it made a grid for, counts, and hooks a part of itself once."""

    def __init__(self) -> None:
        super().__init__()
        self.biases, self.grids, self.shape, self.calls, self.hooked = {}, [], None, 0, False
        self.shift, self.drift = nn.Parameter(torch.zeros(8)), torch.zeros(8)

    def train(self, mode=True):
        self.biases.clear()
        return super().train(mode)

    def forward(self, x):
        if self.training:
            self.biases.clear()
        elif "cpu" not in self.biases:
            self.biases["cpu"] = 1 * self.shift
        if self.shape != x.shape:
            self.shape, self.anchors = x.shape, torch.arange(8.0)
            self.grids.append(self.anchors)
        if not self.hooked:
            self.hooked = True
            self.relu1.register_forward_hook(lambda part, given, output: output + 1)
        self.calls += 1
        self.drift += 1
        x = self.relu1(self.conv1(x)) + self.biases.get("cpu", self.shift)[:, None, None]
        return self.fc(self.conv2(x * (1 + self.anchors[:, None, None])).mean(dim=(2, 3)))


class Failing(nn.Module):
    """Passes its input on, until it is told to fail in the forward or in the backward."""

    def __init__(self) -> None:
        super().__init__()
        self.when: str | None = None

    def forward(self, x):
        if self.when == "forward":
            raise RuntimeError("it broke on the way")
        if self.when == "interrupt":
            raise KeyboardInterrupt
        return _FailsBackwards.apply(x) if self.when == "backward" else x


class _FailsBackwards(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError("it broke on the way back")


def failing(when: str) -> Small:
    """A small network that fails in its middle (or, in the backward, right before its head)."""
    net = Small()
    if when == "backward":
        net.relu2 = nn.Sequential(nn.ReLU(), Failing(), nn.Identity(), nn.Conv2d(6, 6, 1), Failing())
        net.dropout = Failing()
    else:
        net.middle = Failing()
    for part in net.modules():
        if isinstance(part, Failing):
            part.when = when
    return net


class ByHooks(nn.Module):
    """Collects features by forward hooks of its own, and answers from what they kept."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, stride=2, padding=1), nn.ReLU()
        )
        self.fc = nn.Linear(12, 5)
        self.kept: dict[int, torch.Tensor] = {}
        for number in (1, 3):
            self.body[number].register_forward_hook(lambda _part, _inputs, output, at=number: self._keep(at, output))

    def _keep(self, number, output):
        self.kept[number] = output

    def forward(self, x):
        self.body(x)
        return self.fc(torch.cat([self.kept[number].mean(dim=(2, 3)) for number in (1, 3)], dim=1))


class Answering(nn.Module):
    """Small's logits in another container or shape."""

    def __init__(self, how, classes: int = 5) -> None:
        super().__init__()
        self.net = Small(classes=classes)
        self.how = how

    def forward(self, x):
        return self.how(self.net(x))


CONTAINERS = {
    "dict": lambda logits: {"features": logits[:, :2].sum(), "logits": logits},
    "dict with another name": lambda logits: {"scores": logits},
    "tuple of one": lambda logits: (logits,),
    "list": lambda logits: [logits],
    "named tuple": lambda logits: Outputs(logits, logits[:, :2]),
    "object": lambda logits: SimpleNamespace(logits=logits, aux=None),
    "maps of one place": lambda logits: logits[:, :, None, None],
}


class Encoded(nn.Module):
    """Patches, a class token and torch's own transformer encoder, whose fast path skips the layers inside it."""

    def __init__(self, *, class_token: bool = True) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, stride=8)
        self.token = nn.Parameter(torch.randn(1, 1, 16)) if class_token else None
        layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.fc = nn.Linear(16, 5)

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        if self.token is None:
            return self.fc(self.encoder(tokens).mean(dim=1))
        tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], dim=1)
        return self.fc(self.encoder(tokens)[:, 0])


class Headed(nn.Module):
    """A transformer written out as timm writes them: heads are an axis of their own, and normed and mixed by layers."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, stride=8)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.qkv = nn.Linear(16, 48)
        self.k_norm, self.mix, self.proj, self.fc = nn.Identity(), nn.Linear(2, 2), nn.Linear(16, 16), nn.Linear(16, 5)

    def forward(self, x):
        tokens = torch.cat([self.token.expand(len(x), -1, -1), self.patches(x).flatten(2).transpose(1, 2)], dim=1)
        q, k, v = self.qkv(tokens).reshape(len(x), -1, 3, 2, 8).permute(2, 0, 3, 1, 4)
        shares = q @ self.k_norm(k).transpose(2, 3)
        shares = self.mix(shares.permute(0, 2, 3, 1)).permute(0, 3, 1, 2).softmax(dim=-1)
        tokens = tokens + self.proj((shares @ v).transpose(1, 2).flatten(2))
        return self.fc(tokens[:, 0])


def vit() -> VisionTransformer:
    """A small vision transformer of torchvision; 4 x 4 patches and a class token."""
    net = VisionTransformer(32, 8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5)
    nn.init.normal_(net.heads.head.weight)
    return net


def swin() -> SwinTransformer:
    """A small Swin transformer of torchvision: channels last, 16 x 16 and then 8 x 8 places."""
    return SwinTransformer([2, 2], 8, [1, 1], [2, 2], [4, 4], num_classes=5)


TRANSFORMERS = {"encoder": Encoded, "encoder without class token": lambda: Encoded(class_token=False), "vit": vit}
TRANSFORMERS["swin"] = swin


class ImageAndAge(nn.Module):
    """A picture and an age, whose layers come before those of the picture; the age is written into."""

    def __init__(self, channels: int = 3, classes: int = 5) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.randn(4))
        self.age_fc = nn.Linear(1, 4)
        self.act = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(channels, 8, 3, padding=1)
        self.norm1 = settled_norm(8)
        self.relu1 = nn.ReLU(inplace=True)
        self.down = nn.MaxPool2d(4)
        self.conv2 = nn.Conv2d(8, 6, 3, padding=1)
        self.relu2 = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(10, classes)
        self.register_buffer("oldest", torch.tensor([100.0]))

    def forward(self, image, age):
        age /= self.oldest.to(age)
        known = self.act(self.age_fc(age[:, None])) + self.offset
        x = self.down(self.relu1(self.norm1(self.conv1(image))))
        x = self.relu2(self.conv2(x)) * (1 + age[:, None, None, None])
        return self.fc(torch.cat([self.pool(x).flatten(1), known], dim=1))


class ByHand(nn.Module):
    """A network with several inputs, and the others written down by hand."""

    def __init__(self, net: nn.Module, age: float) -> None:
        super().__init__()
        self.net, self.age = net, age

    def forward(self, x):
        return self.net(x, torch.full((len(x),), self.age, dtype=x.dtype, device=x.device))
