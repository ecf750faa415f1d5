"""Networks whose weights are drawn anew from the top down, in a private copy: the user's network is left alone."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from cnnviz.core.capacity import ran_out_of_memory
from cnnviz.engine.batch_norms import running_norms
from cnnviz.engine.layers import run
from cnnviz.engine.state.modes import inference, seeded
from cnnviz.engine.undisturbed import hookable_parts
from cnnviz.errors import ExplanationError, ModelError, ParameterError
from cnnviz.models.inference_copy import around
from cnnviz.models.model import Model

__all__ = ["CALIBRATED", "Cascade"]

CALIBRATED = 16
"""Pictures that batch-norm statistics are estimated on, at most."""

NAMED = 4
"""Layers that a sentence names."""


class Cascade:
    """A private copy of a network whose layers get new weights from the last called to the first.

    Layers are taken in the order in which one forward first calls them, not in that of their registration. Each draws
    its weights by its own ``reset_parameters``, from random numbers of its own that only the seed and its place in the
    order decide: the same on every device, and the same however many layers are drawn. The statistics of batch norms
    that are drawn anew are those of the activations that then come to them, layer by layer, on some pictures: with mean
    0 and variance 1 the activations of a deep network would die out or grow without bound. Everything nearer to the
    picture stays as it was trained, its batch norms too.

    Attributes:
        layers: Names of the layers that get new weights, in the order of their first call.
        kept: Names of layers with weights that they do not draw, or not all of them.

    Args:
        model: The network; left alone.
        pictures: Inputs ``(N, C, ...)`` for the batch norms' statistics; the first 16 are used.
        seed: Of the weights.

    Raises:
        ModelError: If no copy can be made of the network.
        ExplanationError: If no layer draws its own weights.
    """

    def __init__(self, model: Model, pictures: Tensor, *, seed: int) -> None:
        some = pictures[:CALIBRATED]
        if model.fixed_batch is not None:
            some = pictures[:1].expand(model.fixed_batch, *pictures[0].shape)
        self._pictures = model.to_device(some)
        self._model = model.intact(lambda: around(model, _private_copy(model)))
        self._parts = dict(self._model.module.named_modules())
        self._norms = running_norms(self._model.module)
        self._seed, self._drawn = seed, 0
        held = [name for name in self._first_called() if self._has_weights(name)]
        self.layers = tuple(name for name in held if _reset_of(self._parts[name]) is not None)
        self.kept = tuple(name for name in held if name not in self.layers)
        if not self.layers:
            raise ExplanationError(
                f"No layer of '{model.name}' can draw new weights: none has 'reset_parameters', as torch.nn's have."
            )

    def draw(self, depth: float) -> Model:
        """The copy with a share of its layers drawn anew, the last called first.

        Args:
            depth: The share, in [0, 1]; at least one layer if it is not 0. It only grows.

        Raises:
            ParameterError: If it is no such share, or fewer layers than before.
        """
        count = math.ceil(round(depth * len(self.layers), 6)) if 0 <= depth <= 1 else -1
        if count < self._drawn:
            raise ParameterError(f"depth is {depth:g}; expected a share from 0 to 1, and no less than the one before.")
        first, end = len(self.layers) - count, len(self.layers) - self._drawn
        with inference(mode=False):
            for place in reversed(range(first, end)):
                self._draw_layer(self.layers[place], place)
            self._drawn = count
            self._estimate_statistics(self.layers[first:])
        return self._model

    def describe(self) -> tuple[str, ...]:
        """What the user should know: layers that keep weights."""
        if not self.kept:
            return ()
        more = f" and {len(self.kept) - NAMED} more" if len(self.kept) > NAMED else ""
        return (f"trained weights that no 'reset_parameters' draws were kept in {', '.join(self.kept[:NAMED])}{more}",)

    def _has_weights(self, name: str) -> bool:
        part = self._parts[name]
        inside = "parametrizations" in name.split(".")
        return not inside and (bool(_own_weights(part)) or any(part is norm for norm in self._norms))

    def _draw_layer(self, name: str, place: int) -> None:
        part = self._parts[name]
        before = [weight.detach().clone() for weight in _own_weights(part)]
        own_seed = np.random.SeedSequence([self._seed, place]).generate_state(1, np.uint64)[0] >> np.uint64(1)
        fresh = _redrawn(part, int(own_seed))
        if fresh is not None:
            _take_over(part, fresh)
        same = [torch.equal(old, new) and _varies(old) for old, new in zip(before, _own_weights(part), strict=True)]
        if any(same) and name not in self.kept:
            self.kept = (*self.kept, name)

    def _first_called(self) -> list[str]:
        """Names of all parts in the order of their first call.

        A part that is never called, because another computes with its weights, has that one's place.
        """
        module = self._model.module
        order: dict[str, int] = {}
        with torch.no_grad(), inference(mode=False), ExitStack() as hooks:
            for name, part in hookable_parts(module).items():
                hooks.callback(part.register_forward_pre_hook(_noting(name, order)).remove)
            run(module, self._pictures[: self._model.fixed_batch or 1])
        for name in self._parts:
            above = name.rpartition(".")[0]
            if name not in order and above in order and _own_weights(self._parts[above]):
                order[name] = order[above]
        return sorted(order, key=lambda name: order[name])

    def _estimate_statistics(self, drawn: Sequence[str]) -> None:
        """Give batch norms that were drawn anew the statistics of what comes to them, in one forward."""
        norms = [part for name in drawn if any((part := self._parts[name]) is norm for norm in self._norms)]
        with torch.no_grad(), ExitStack() as hooks:
            for norm in norms:
                hooks.callback(norm.register_forward_pre_hook(_Estimate()).remove)
            if norms:
                run(self._model.module, self._pictures)


class _Estimate:
    """Sets a batch norm's statistics from what it is given the first time."""

    def __init__(self) -> None:
        self._done = False

    def __call__(self, norm: nn.Module, inputs: tuple[Any, ...]) -> None:
        if self._done or not inputs or not isinstance(inputs[0], Tensor):
            return
        self._done = True
        flat = inputs[0].detach().transpose(0, 1).flatten(1).double()
        variance = flat.var(dim=1) if flat.shape[1] > 1 else torch.ones_like(flat[:, 0])
        for name, value in (("running_mean", flat.mean(dim=1)), ("running_var", variance)):
            getattr(norm, name).copy_(value)


def _private_copy(model: Model) -> nn.Module:
    """A copy in evaluation mode."""
    try:
        with inference(mode=False):
            module = copy.deepcopy(model.module, _computed(model.module))
    except Exception as error:
        if ran_out_of_memory(error):
            raise
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"'{model.name}' cannot be copied, which drawing new weights needs: {reason}") from error
    for part in module.modules():
        part.training = False
    return module


def _computed(module: nn.Module) -> dict[int, Any]:
    """Copies of tensors that parts hold and that were computed from others, such as by a weight norm's hook."""
    held = (value for part in module.modules() for value in vars(part).values() if isinstance(value, Tensor))
    return {id(each): each.detach().clone() for each in held if not each.is_leaf}


def _noting(name: str, order: dict[str, int]) -> Any:
    def note(_part: nn.Module, _inputs: Any) -> None:
        order.setdefault(name, len(order))

    return note


def _made_from(part: nn.Module) -> Mapping[str, nn.Module]:
    """What a part's parametrised weights are made from, such as direction and length, by the weights' names."""
    made: Any = part.parametrizations if parametrize.is_parametrized(part) else {}
    return dict(made.items())


def _own_weights(part: nn.Module) -> list[Tensor]:
    """A part's own weights, and not those of parts inside it; of parametrised ones what they are made from."""
    plain: list[Tensor] = [weight for weight in part._parameters.values() if weight is not None]
    return plain + [weight for each in _made_from(part).values() for weight in each.parameters()]


def _reset_of(part: nn.Module) -> Callable[[], object] | None:
    """What draws a layer's weights; None where nothing does."""
    found = getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)
    return found if callable(found) else None


def _plain_copy(part: nn.Module) -> nn.Module:
    """A copy of a layer in which parametrised weights are plain ones.

    Torch's own function for that would take them from the class too, which the layer itself shares.
    """
    fresh, made = copy.deepcopy(part), _made_from(part)
    if made:
        fresh.__class__ = type(part).__mro__[1]
        del fresh._modules["parametrizations"]
        for name in made:
            fresh.register_parameter(name, nn.Parameter(getattr(part, name).detach().clone()))
    return fresh


def _redrawn(part: nn.Module, seed: int) -> nn.Module | None:
    """A copy of a layer with new weights, drawn on the CPU in single precision; None if it cannot be done."""
    try:
        fresh = _plain_copy(part).cpu().float()
        reset = _reset_of(fresh)
        assert reset is not None
        with seeded(seed):
            reset()
    except Exception as error:
        if ran_out_of_memory(error):
            raise
        return None
    return fresh


@torch.no_grad()
def _take_over(part: nn.Module, fresh: nn.Module) -> None:
    """Write another layer's own weights and buffers into a layer, of whatever type and on whatever device this is."""
    made = _made_from(part)
    for name, value in (*fresh._parameters.items(), *fresh._buffers.items()):
        if value is not None and name in made:
            like = getattr(part, name)
            setattr(part, name, value.detach().to(like.device, like.dtype))
        elif value is not None:
            held = part._parameters.get(name, part._buffers.get(name))
            if held is not None:
                held.copy_(value)


def _varies(weight: Tensor) -> bool:
    """Whether a tensor's values differ, so that drawing them anew would change them."""
    return bool((weight != weight.flatten()[0]).any()) if weight.numel() else False
