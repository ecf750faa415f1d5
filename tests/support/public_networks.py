"""Networks of public packages with random weights, small where the package allows, and what is right about them."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib import import_module
from io import StringIO
from typing import Any, NamedTuple

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from cnnviz import Model
from tests.support.torchvision_nets import noise

CLASSES = 5


class Public(NamedTuple):
    """A network of a package, and the layer whose map is right.

    Attributes:
        build: Makes it, with random weights.
        side: Height and width of its input.
        layers: The layers that may be taken where none is named (one tensor can have several names).
        grid: The shape of the map.
        prefix: Tokens before the first place.
        last: Whether channels are the last axis of maps.
        output: What reads the class scores from what the network returns; without it they are found.
        refused: Words of the sentence that a question gets without ``output``; empty where none is needed.
        dense: Whether without ``output`` it is asked about pixels.
        boxes: Whether without ``output`` it is asked about boxes.
        named: Whether the layer has to be named, as where a detector has one for each size of things.
        classes: How many classes it has.
    """

    build: Callable[[], nn.Module]
    side: int
    layers: tuple[str, ...]
    grid: tuple[int, int]
    prefix: int = 0
    last: bool = False
    output: Any = None
    refused: str = ""
    dense: bool = False
    boxes: bool = False
    named: bool = False
    classes: int = CLASSES


@contextmanager
def quiet() -> Iterator[None]:
    """Packages warn, print and write settings when they are imported or build a network; inside they do not."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in {"YOLO_CONFIG_DIR": folder, "YOLO_OFFLINE": "1", "HF_HUB_OFFLINE": "1"}.items():
            patch.setenv(name, value)
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            yield


def package(name: str) -> Any:
    """A package, or a skip that says which one is missing."""
    opens = Image.open
    with quiet():
        try:
            return import_module(name)
        except ImportError as error:
            pytest.skip(f"{name.partition('.')[0]} cannot be imported: {error}")
        finally:
            Image.open = opens  # ultralytics replaces it by one that installs packages over a damaged file


def alive(net: nn.Module) -> nn.Module:
    """The network in evaluation mode, with no weight that is the same everywhere (layer scales, zeroed residuals)."""
    with torch.no_grad():
        for weight in net.parameters():
            if weight.numel() > 1 and bool((weight == weight.flatten()[0]).all()):
                weight.add_(0.1 * torch.randn_like(weight))
    return net.eval()


def built(public: Public) -> nn.Module:
    """The network, the same every time."""
    torch.manual_seed(0)
    with quiet():
        return alive(public.build())


def model_of(net: nn.Module, public: Public, **settings: Any) -> Model:
    """A model for inputs of noise."""
    mean, std = (0.0,) * 3, (1.0,) * 3
    return Model(net, mean=mean, std=std, input_size=public.side, **({"logits": public.output} | settings))


def pictures(public: Public, count: int = 2) -> Tensor:
    """Inputs of noise; detectors expect values between 0 and 1, and take others."""
    return noise(count, public.side)


def logits_of(public: Public, returned: Any) -> Tensor:
    """The class scores in what the network returned."""
    if callable(public.output):
        return public.output(returned)
    if public.output is not None:
        return returned[public.output]
    return returned if isinstance(returned, Tensor) else returned.logits


def gradcam_by_autograd(net: nn.Module, public: Public, layer: str, inputs: Tensor, target: int) -> Tensor:
    """Grad-CAM at a layer's last call, with torch alone: the sum of the values, weighted by the mean gradients."""
    kept = {}

    def keep(_part: nn.Module, _given: Any, output: Any) -> Any:
        kept["values"] = output if isinstance(output, Tensor) else output[0]
        later = kept["values"].clone()  # a layer after this one may work in place
        return later if isinstance(output, Tensor) else type(output)((later, *output[1:]))

    handle = net.get_submodule(layer).register_forward_hook(keep)
    try:
        with torch.enable_grad():
            scores = logits_of(public, net(inputs.clone()))[:, target]
            (gradient,) = torch.autograd.grad(scores.sum(), kept["values"])
    finally:
        handle.remove()
    values, gradient = as_maps(kept["values"], public), as_maps(gradient, public)
    return (values * gradient.mean((2, 3), keepdim=True)).sum(1).detach()


def as_maps(held: Tensor, public: Public) -> Tensor:
    """Maps ``(N, C, h, w)`` from maps or tokens, by what is known of the network."""
    if held.dim() == 3:
        return held[:, public.prefix :].transpose(1, 2).unflatten(2, public.grid)
    return held.permute(0, 3, 1, 2) if public.last else held


def memory(net: nn.Module) -> dict[str, Any]:
    """Every plain value, tensor and container of tensors that any part of a network holds, caches included."""
    found: dict[str, Any] = {}
    for name, part in net.named_modules():
        for key, value in vars(part).items():
            if key != "_modules":
                found[f"{name}.{key}"] = _comparable(value)
    return found


def _comparable(value: Any) -> Any:
    if isinstance(value, Tensor):
        gradient = None if not value.is_leaf or value.grad is None else _comparable(value.grad)
        plain = value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""
        return tuple(value.shape), value.dtype, value.requires_grad, plain, gradient
    if isinstance(value, Mapping):
        return {key: _comparable(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_comparable(each) for each in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else id(value)


def trained_a_step(net: nn.Module, inputs: Tensor) -> list[Tensor]:
    """What a network answers, in evaluation, after one seeded training step."""
    net.train()
    torch.manual_seed(7)
    optimiser = torch.optim.SGD(net.parameters(), 0.05)
    loss = sum(each.float().square().mean() for each in tensors_in(_training_output(net, inputs)))
    assert isinstance(loss, Tensor)
    loss.backward()
    optimiser.step()
    optimiser.zero_grad()
    net.eval()
    with torch.no_grad():
        return [each.clone() for each in tensors_in(net(inputs.clone()))]


def _training_output(net: nn.Module, inputs: Tensor) -> Any:
    if not hasattr(net, "roi_heads") and not hasattr(net, "anchor_generator"):
        return net(inputs.clone())
    box, label = torch.tensor([[4.0, 4.0, 40.0, 40.0]]), torch.tensor([1])
    return net(list(inputs.clone()), [{"boxes": box, "labels": label} for _ in inputs])


def tensors_in(held: Any) -> list[Tensor]:
    """All floating tensors in whatever a network returns."""
    if isinstance(held, Tensor):
        return [held] if held.is_floating_point() else []
    if isinstance(held, Mapping):
        held = list(held.values())
    return [tensor for each in held for tensor in tensors_in(each)] if isinstance(held, Sequence) else []


def _transformers(kind: str, head: str = "ForImageClassification", **settings: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        known = package("transformers")
        config = getattr(known, f"{kind}Config")(num_labels=CLASSES, **settings)
        return getattr(known, f"{kind}{head}")(config)

    return build


def _timm(name: str, **settings: Any) -> Callable[[], nn.Module]:
    return lambda: package("timm").create_model(name, num_classes=CLASSES, **settings)


def _unet() -> nn.Module:
    known = package("segmentation_models_pytorch")
    return known.Unet("resnet18", encoder_weights=None, classes=2, aux_params={"classes": CLASSES})


def _yolo() -> nn.Module:
    return package("ultralytics.nn.tasks").DetectionModel("yolov8n.yaml", verbose=False)


def _torchvision(kind: str, name: str, **settings: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        known = package(f"torchvision.models.{kind}")
        return getattr(known, name)(weights=None, weights_backbone=None, num_classes=CLASSES, **settings)

    return build


def detected(found: list[dict[str, Tensor]]) -> Tensor:
    """Class scores of a detector of torchvision: for each class the sum of what its boxes score."""
    each = [torch.zeros(CLASSES).index_add(0, one["labels"], one["scores"]) for one in found]
    return torch.stack(each)


def boxed(returned: tuple[Tensor, Any]) -> Tensor:
    """Class scores of a YOLO: for each class the mean over all places, after the four numbers of the box."""
    return returned[0][:, 4:].mean(2)


def painted(returned: Any) -> Tensor:
    """Class scores of a segmentation: for each class the mean over all pixels."""
    return (returned.logits if hasattr(returned, "logits") else returned["out"]).mean((2, 3))


_SWIN = {"image_size": 64, "embed_dim": 12, "depths": [1, 1, 1], "num_heads": [1, 2, 2], "window_size": 4}
_HIERA = {
    "image_size": [64, 64], "embed_dim": 16, "depths": [1, 1, 2], "num_heads": [1, 2, 4], "num_query_pool": 2,
    "masked_unit_attention": [True, True, False],
}  # fmt: skip
_LEVIT = {
    "image_size": 128, "hidden_sizes": [16, 24, 32], "num_attention_heads": [2, 2, 2], "depths": [1, 1, 1],
    "key_dim": [8, 8, 8], "down_ops": [["Subsample", 8, 2, 4, 2, 2], ["Subsample", 8, 3, 4, 2, 2]],
}  # fmt: skip
_VIT = {
    "image_size": 32, "patch_size": 8, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 48,
}  # fmt: skip
_STAGES = {"hidden_sizes": [8, 12, 16, 24], "depths": [1, 1, 1, 1]}
_SEGFORMER = _STAGES | {"num_attention_heads": [1, 1, 2, 2], "sr_ratios": [4, 2, 1, 1], "decoder_hidden_size": 16}

NETWORKS = {
    "transformers Swin": Public(_transformers("Swin", **_SWIN), 64, ("swin.layernorm",), (4, 4)),
    "transformers Swinv2": Public(_transformers("Swinv2", **_SWIN), 64, ("swinv2.layernorm",), (4, 4)),
    "transformers Hiera": Public(_transformers("Hiera", **_HIERA), 64, ("hiera.encoder.stages.2",), (4, 4)),
    "transformers LeViT": Public(_transformers("Levit", **_LEVIT), 128, ("levit.encoder.stages.2",), (2, 2)),
    "transformers ViT": Public(_transformers("ViT", **_VIT), 32, ("vit.layers.1.layernorm_before",), (4, 4), 1),
    "transformers ConvNeXt": Public(_transformers("ConvNext", **_STAGES), 64, ("convnext.encoder.stages.3",), (2, 2)),
    "transformers SegFormer": Public(_transformers("Segformer", **_SEGFORMER), 64, ("segformer.stages.3",), (2, 2)),
    "transformers SegFormer, pixels": Public(
        _transformers("Segformer", "ForSemanticSegmentation", **_SEGFORMER), 64,
        ("decode_head", "decode_head.classifier"), (16, 16), output=painted, dense=True,
    ),
    "timm levit_128s": Public(_timm("levit_128s"), 224, ("stages",), (4, 4)),
    "timm tnt_s_patch16_224": Public(
        _timm("tnt_s_patch16_224", img_size=64), 64, ("blocks.11.norm_out",), (4, 4), 1
    ),
    "timm hiera_tiny_224": Public(_timm("hiera_tiny_224", img_size=128), 128, ("blocks.11",), (4, 4)),
    "timm tiny_vit_5m_224": Public(_timm("tiny_vit_5m_224"), 128, ("stages",), (4, 4)),
    "timm efficientformer_l1": Public(_timm("efficientformer_l1"), 224, ("norm",), (7, 7)),
    "segmentation-models-pytorch Unet": Public(
        _unet, 128, ("encoder.layer4", "encoder", "decoder.center"), (4, 4), output=1, refused="2",
    ),
    "ultralytics YOLOv8n": Public(
        _yolo, 128, ("model.22.cv3.2",), (4, 4), output=boxed, refused="(2, 84, 336)", classes=80,
    ),
    "torchvision fasterrcnn_mobilenet": Public(
        _torchvision("detection", "fasterrcnn_mobilenet_v3_large_320_fpn", min_size=64), 64,
        ("backbone.fpn.layer_blocks.0",), (2, 2), output=detected, boxes=True, named=True,
    ),
    "torchvision ssdlite320": Public(
        _torchvision("detection", "ssdlite320_mobilenet_v3_large"), 64, ("backbone.features.1.0",), (10, 10),
        output=detected, boxes=True, named=True,
    ),
    "torchvision retinanet_resnet50_fpn": Public(
        _torchvision("detection", "retinanet_resnet50_fpn", min_size=64), 64, ("backbone.body.layer4",), (2, 2),
        output=detected, boxes=True, named=True,
    ),
    "torchvision lraspp_mobilenet": Public(
        _torchvision("segmentation", "lraspp_mobilenet_v3_large"), 64, ("classifier",), (8, 8),
        output=painted, dense=True,
    ),
    "torchvision deeplabv3_mobilenet": Public(
        _torchvision("segmentation", "deeplabv3_mobilenet_v3_large"), 64, ("classifier",), (4, 4),
        output=painted, dense=True,
    ),
    "torchvision fcn_resnet50": Public(
        _torchvision("segmentation", "fcn_resnet50"), 64, ("classifier",), (8, 8), output=painted, dense=True,
    ),
}  # fmt: skip
