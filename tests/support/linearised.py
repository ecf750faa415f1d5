"""An independent oracle of receptive fields: the support of the gradient of a network in which nothing can cancel."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

ACTIVATIONS = {
    functional.relu, functional.relu6, functional.hardswish, functional.silu, functional.gelu, functional.leaky_relu,
    functional.dropout, functional.batch_norm, functional.layer_norm, functional.hardtanh, functional.elu,
    functional.local_response_norm, torch.relu, torch.tanh, torch.batch_norm, torch.relu_,
}  # fmt: skip
GATES = {functional.sigmoid, functional.hardsigmoid, torch.sigmoid, torch.Tensor.sigmoid, functional.softmax}


class Linearised(TorchFunctionMode):
    """Equal positive weights, no activation functions nor norms, mean for max, gates constant."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func in ACTIVATIONS:
            return args[0]
        if func in GATES:
            return torch.ones_like(args[0])
        if func in (torch.conv2d, functional.conv2d, torch.conv_transpose2d, functional.linear):
            weight = torch.full_like(args[1], 1 / args[1][0].numel(), dtype=args[0].dtype)
            return func(args[0], weight, None, *args[3:], **kwargs)
        if func in (functional.max_pool2d, torch.max_pool2d):
            return _mean_of_pool(args, kwargs)
        return func(*args, **kwargs) if func is not functional.adaptive_max_pool2d else _adaptive_mean(*args)


def _adaptive_mean(maps, size, _indices=False):
    return functional.adaptive_avg_pool2d(maps, size)


def _mean_of_pool(args, kwargs):
    """A dilated window has no average pool of its own: a convolution with ones, channel by channel."""
    names = ("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    given = dict(zip(names, args[1:], strict=False)) | kwargs
    kernel, channels = given["kernel_size"], args[0].shape[1]
    stride = given.get("stride") or kernel
    if given.get("ceil_mode"):
        return functional.avg_pool2d(args[0], kernel, stride, given.get("padding", 0), ceil_mode=True)
    sides = (kernel, kernel) if isinstance(kernel, int) else kernel
    ones = torch.ones(channels, 1, *sides, dtype=args[0].dtype)
    with torch._C.DisableTorchFunctionSubclass():
        return functional.conv2d(
            args[0], ones, None, stride, given.get("padding", 0), given.get("dilation", 1), groups=channels
        )


def support(net: nn.Module, layers, size, places, order="NCHW"):
    """What places of layers see: ``{layer: [(top, left, bottom, right), ...]}``, None for an empty support.

    Args:
        net: The network, in evaluation mode.
        layers: Names of layers.
        size: Height and width of the input.
        places: From a layer's grid (rows, columns) to the places asked for.
        order: Where the layers keep their channels.
    """
    leaf = torch.ones(1, 3, *size, dtype=torch.float64, requires_grad=True)
    caught = {}
    parts = dict(net.named_modules())
    handles = [
        parts[name].register_forward_hook(lambda _m, _i, out, name=name: caught.__setitem__(name, out * 1.0))
        for name in layers
    ]
    with Linearised():
        net(leaf)
    for handle in handles:
        handle.remove()
    found = {}
    for name, output in caught.items():
        maps = output if order == "NCHW" else output.permute(0, 3, 1, 2)
        found[name] = [_bounds(maps[0, :, y, x].sum(), leaf) for y, x in places(maps.shape[-2:])]
    return found


def _bounds(value, leaf):
    (gradient,) = torch.autograd.grad(value, leaf, retain_graph=True, allow_unused=True)
    if gradient is None or not gradient.any():
        return None
    seen = gradient[0].abs().sum(dim=0) > 0
    rows, columns = (torch.nonzero(seen.any(dim=dim)).flatten().tolist() for dim in (1, 0))
    return rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
