"""What becomes of footprints in each operation: the operations by name, room by room."""

from __future__ import annotations

from typing import Any

import torch

from cnnviz.probing.field_calls import Call, Found, Rule, grouped
from cnnviz.probing.field_places import PLACES
from cnnviz.probing.field_products import PRODUCTS
from cnnviz.probing.field_views import VIEWS
from cnnviz.probing.field_windows import WINDOWS
from cnnviz.probing.footprint import Footprint
from cnnviz.probing.joining import joined

__all__ = ["UNRELATED", "rule_of"]


def rule_of(func: Any, name: str) -> Rule | None:
    """What an operation does to footprints; None if that is not known."""
    if name in RULES:
        return RULES[name]
    return _elementwise if torch.Tag.pointwise in func.tags else None


def _elementwise(call: Call) -> Footprint:
    return joined(call.tracked, call.shape, call.name)


def _copied(call: Call) -> Footprint:
    source = call.of("src")
    return joined([(tuple(call.given["src"].shape), source)], call.shape, call.name) if source else call.source


def _same(call: Call) -> Footprint:
    return call.source


def _nothing(call: Call) -> Found:
    return [None for _ in call.outputs]


_ALIKE, _NEW = ("zeros", "ones", "empty", "full", "rand", "randn"), ("zeros", "ones", "empty", "full", "empty_strided")
UNRELATED = frozenset([*(f"{values}_like" for values in _ALIKE), *(f"new_{values}" for values in _NEW)])
"""Operations whose outputs have a tensor's shape, not its values."""

POINTWISE: dict[str, Rule] = {
    **dict.fromkeys(UNRELATED, _nothing),
    **grouped(
        [
            (_copied, "copy"),
            (_same, "channel_shuffle native_channel_shuffle lift_fresh alias detach contiguous native_dropout fill"),
            (_same, "dropout feature_dropout alpha_dropout _to_copy bernoulli masked_fill detach_copy zero"),
            (_same, "log_sigmoid_forward"),
            (_elementwise, "relu hardswish hardtanh hardsigmoid relu6 _prelu_kernel prelu rrelu threshold where clone"),
            (_elementwise, "batch_norm_elemt dequantize fake_quantize_per_tensor_affine"),
        ]
    ),
}
"""What leaves every place where it is, besides the operations that torch itself calls pointwise."""

RULES: dict[str, Rule] = {**WINDOWS, **POINTWISE, **VIEWS, **PLACES, **PRODUCTS}
"""Every operation that is known; one that torch calls pointwise is, too."""
