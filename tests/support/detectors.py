"""Detectors with random weights that are alive: several boxes of several classes and scores on noise."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models import get_model
from torchvision.models.detection import RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator

from .torchvision_nets import noise

LABELS = ("background", "cat", "dog", "bird", "hat")
ENDS = ("cls_logits", "bbox_reg", "cls_score", "bbox_pred", "bbox_ctrness")


class Pyramid(nn.Module):
    """A backbone of two levels, of 8 channels each."""

    out_channels = 8

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.fine = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())
        self.coarse = nn.Sequential(nn.Conv2d(8, 8, 3, 2, 1), nn.ReLU())

    def forward(self, x):
        fine = self.fine(self.stem(x))
        return {"0": fine, "1": self.coarse(fine)}


def tiny_retinanet(size: int = 64, *, kept: int = 12, dtype: torch.dtype = torch.float32) -> nn.Module:
    """torchvision's RetinaNet on a backbone of three convolutions, for inputs of ``size``."""
    torch.manual_seed(0)
    anchors = AnchorGenerator(((12.0, 18.0), (24.0, 36.0)), ((0.7, 1.4),) * 2)
    net = RetinaNet(
        Pyramid(), len(LABELS), min_size=size, max_size=size, anchor_generator=anchors, score_thresh=0.0,
        detections_per_img=kept,
    )  # fmt: skip
    return spread_scores(net.to(dtype).eval(), size)


def torchvision_detector(name: str, size: int) -> nn.Module:
    """One of torchvision's detectors for inputs of ``size``, with at most a dozen boxes above no threshold."""
    torch.manual_seed(0)
    sizes = {} if name.startswith("ssd") else {"min_size": size, "max_size": size}
    net = get_model(name, weights=None, weights_backbone=None, num_classes=len(LABELS), **sizes).eval()
    held = net.roi_heads if hasattr(net, "roi_heads") else net
    held.score_thresh, held.detections_per_img = 0.0, 12
    if hasattr(net, "rpn"):
        net.rpn._pre_nms_top_n = net.rpn._post_nms_top_n = {"training": 60, "testing": 60}
    return spread_scores(net, size)


def spread_scores(net: nn.Module, size: int) -> nn.Module:
    """The last layers of the heads scaled so that scores of classes differ and boxes stay near their anchors."""
    ends = [
        (name, part)
        for name, part in net.named_modules()
        if isinstance(part, (nn.Conv2d, nn.Linear))
        and (name.endswith(ENDS) or (".module_list." in name and name.endswith(".1")))
    ]
    seen: dict[str, list[torch.Tensor]] = {name: [] for name, _ in ends}

    def note(name):
        return lambda _part, _given, output: seen[name].append(output.detach().transpose(1, -1).flatten(0, -2))

    hooks = [part.register_forward_hook(note(name)) for name, part in ends]
    last = {part for _, part in ends}
    with torch.no_grad():
        for name, part in net.named_modules():
            if isinstance(part, nn.Conv2d) and "head" in name and part not in last:
                nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
        for _, part in ends:
            part.bias.zero_()
        net(scenes(1, size, next(net.parameters()).dtype))
        for hook in hooks:
            hook.remove()
        for name, part in ends:
            wanted, middle = (1.5, -1.0) if "cls" in name or "class" in name else (0.5, 0.0)
            outputs = torch.cat(seen[name])
            means = outputs.mean(dim=0)
            spread = float(outputs.std(dim=0, correction=0).mean())
            scale = wanted / spread if spread > 0 else 1.0
            part.weight.mul_(scale)
            part.bias = nn.Parameter(middle - means * scale)
    return net


def scenes(count: int, size: int, dtype: torch.dtype = torch.float32, seed: int = 1) -> torch.Tensor:
    """Blotchy inputs ``(count, 3, size, size)`` in [0, 1]."""
    found = noise(count, size, torch.float64, seed)
    return ((found - found.min()) / (found.max() - found.min())).to(dtype)
