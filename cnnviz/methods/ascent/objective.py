"""The objective of an ascent: scores of targets by a private copy of the network, run as far as the target's layer."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from cnnviz.core.aim import Direction, WholeLayer
from cnnviz.core.change import contextmanager
from cnnviz.core.dimensions import is_dense
from cnnviz.core.layer import Arrangement, Layer
from cnnviz.core.similar import Similar
from cnnviz.core.target import Target, Unit
from cnnviz.engine.activations import Activation, activation_of, plain_name
from cnnviz.engine.arrangement import to_maps
from cnnviz.engine.batch_norms import channels_last, in_memory_format
from cnnviz.engine.capture import Capture, widen_half
from cnnviz.engine.partial import run_to
from cnnviz.engine.scores.dense import everywhere
from cnnviz.engine.scores.score import score, settle
from cnnviz.engine.undisturbed import undisturbed
from cnnviz.errors import ExplanationError, TargetError
from cnnviz.methods.ascent.recipes import AscentPrecision
from cnnviz.models.inference_copy import inference_copy
from cnnviz.models.model import Model

__all__ = ["Objective", "layer_of", "waking_rectifiers"]


@contextmanager
def waking_rectifiers() -> Iterator[None]:
    """Within it, a sample whose whole gradient a rectifier would stop gets one that wakes units up.

    Where all of a sample's gradient at a ReLU or ReLU6 would be zero, what would raise a value from below zero (or
    lower one from above the ceiling) passes. The gradients are those of a score that is to grow. Other samples, and
    the forward, are as without it.
    """
    with _WakingMode():
        yield


class _WakingMode(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        activation = activation_of(plain_name(func), func, args, kwargs) if torch.is_grad_enabled() else None
        if activation is None or not activation.rectifier or not activation.subject.requires_grad:
            return func(*args, **kwargs)
        subject = activation.subject.clone() if activation.inplace else activation.subject
        output: Tensor = _WakingRectifier.apply(subject, activation)
        return activation.subject.copy_(output) if activation.inplace else output


class _WakingRectifier(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, subject: Tensor, activation: Activation) -> Tensor:
        output = activation.function(subject)
        below = subject <= 0
        ctx.save_for_backward(below, (output == subject) & ~below)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        below, open_ = ctx.saved_tensors
        passed = gradient * open_
        dead = ~passed.flatten(1).any(dim=1)
        if not dead.any():
            return passed, None
        waking = torch.where(below, gradient.clamp_min(0), torch.where(open_, gradient, gradient.clamp_max(0)))
        return torch.where(dead.view(-1, *[1] * (gradient.dim() - 1)), waking, passed), None


SAME = 1e-3
TINY = 1e-30


def layer_of(target: Target) -> str | None:
    """The layer that a target looks at; None for the logits."""
    return target.layer if isinstance(target, (Unit, WholeLayer, Direction, Similar)) else None


class Objective:
    """The scores of targets, differentiable with respect to the inputs.

    A private copy answers where it can be made and answers alike: batch norm folded, channels last. No weight is
    changed, and none has its gradient computed.

    Args:
        model: The network.
        example: One input ``(1, C, ...)`` in its type and on its device.
        targets: All that will be asked for.
        precision: What the network computes in.
        compiled: Whether the copy is compiled; only where the logits are asked for.

    Attributes:
        checks: What was decided on the way.
    """

    def __init__(
        self, model: Model, example: Tensor, targets: Sequence[Target], *, precision: AscentPrecision, compiled: bool
    ) -> None:
        self.model, self.precision = model, precision
        self.layers: dict[str, Layer] = {
            name: model.layers.resolve(name) for name in map(layer_of, targets) if name is not None
        }
        self.quick, self.checks = self._make_fast_copy(example, targets)
        self.copies = self._copies_by_layer(example)
        self.compiled: Model | None = None
        if compiled:
            self._compile(example)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Inside, the network may be asked."""
        with ExitStack() as stack:
            models = (self.model, self.quick, *self.copies.values())
            for module in {id(each.module): each.module for each in models}.values():
                stack.enter_context(undisturbed(module))
            yield

    def scores(self, inputs: Tensor, targets: Sequence[Target], *, waking: bool = False) -> Tensor:
        """Scores ``(N,)`` float32 or wider, connected to the inputs.

        Args:
            inputs: ``(N, C, ...)``, normalised; as many of each target, next to each other.
            targets: All of one layer, or of none.
            waking: Whether gradients go on through rectifiers that are dead.

        Raises:
            TargetError: If the layer has no such unit, or a vector does not fit.
        """
        samples = len(inputs) // len(targets)
        fixed = self.model.fixed_batch or len(inputs)
        wanted = [target for target in targets for _ in range(samples)]
        pieces = []
        with waking_rectifiers() if waking else nullcontext():
            for start in range(0, len(inputs), fixed):
                piece = inputs[start : start + fixed]
                if len(piece) < fixed:
                    piece = _pad_batch(piece, fixed)
                pieces.append(self._score_piece(piece, wanted[start : start + fixed], waking=waking))
        return torch.cat(pieces)

    def clean_scores(self, inputs: Tensor, target: Target) -> Tensor:
        """The network itself asked, in its own precision: scores ``(n,)`` of inputs ``(n, C, ...)``."""
        fixed, layer = self.model.fixed_batch or len(inputs), layer_of(target)
        with torch.no_grad():
            found = []
            for piece in torch.split(inputs, fixed):
                padded = _pad_batch(piece, fixed)
                found.append(
                    _score_output(self._run_to_layer(self.model, padded, layer), [target] * len(piece), self.layers)
                )
        return torch.cat(found)

    def settle_targets(self, example: Tensor, targets: Sequence[Target]) -> list[Target]:
        """The targets, checked against what the network returns; the top class is that of the example.

        Args:
            example: One input ``(1, C, ...)``.
            targets: In any order, of several layers.

        Raises:
            TargetError: If the network has no such class, unit or direction.
        """
        padded = example.expand(self.model.fixed_batch or 1, *example.shape[1:])
        with torch.no_grad():
            outputs = {
                layer: self._run_to_layer(self.model, padded, layer)[:1] for layer in set(map(layer_of, targets))
            }
            logits = outputs.get(None)
            found = []
            for target in targets:
                layer = layer_of(target)
                known = [target]
                if layer is None and logits is not None:
                    meant = everywhere(target, logits) if is_dense(logits) else target
                    known = settle([meant], logits, self.model.labels, self.model.head)
                _score_output(outputs[layer], known, self.layers)
                found += known
        return found

    def _score_piece(self, inputs: Tensor, targets: Sequence[Target], *, waking: bool) -> Tensor:
        layer = layer_of(targets[0])
        quick = self.quick if layer is None else self.copies[layer]
        if self.compiled is not None and layer is None and not waking:
            quick = self.compiled
        if quick is not self.model:
            inputs = inputs.contiguous(memory_format=quick.memory_format)
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            output = self._run_to_layer(quick, inputs, layer)
        return _score_output(output, targets, self.layers)

    def _run_to_layer(self, model: Model, inputs: Tensor, layer: str | None) -> Tensor:
        if layer is None:
            return model.forward(inputs)
        return run_to(model.module, model.forward, inputs, layer, self.layers[layer].call)

    def _make_fast_copy(self, example: Tensor, targets: Sequence[Target]) -> tuple[Model, tuple[str, ...]]:
        if self.model.fixed_batch is not None:
            return self.model, ()
        found = inference_copy(self.model, example, targets)
        return found.model, found.checks

    def _copies_by_layer(self, example: Tensor) -> dict[str, Model]:
        """For each layer the copy whose layer is still what it was; so no other target decides over it."""
        if self.quick is self.model:
            return dict.fromkeys(self.layers, self.model)
        unfolded = self._make_plain_copy()
        with undisturbed(self.model.module), undisturbed(self.quick.module), torch.no_grad():
            return {name: self.quick if self._answers_alike(example, name) else unfolded for name in self.layers}

    def _answers_alike(self, example: Tensor, layer: str) -> bool:
        one, other = (self._run_to_layer(each, example, layer).float() for each in (self.model, self.quick))
        return one.shape == other.shape and float((one - other).abs().max()) <= SAME * float(one.abs().max() + TINY)

    def _make_plain_copy(self) -> Model:
        """A copy whose layers are all what they were, for units of a convolution that a batch norm follows."""
        clone = copy.copy(self.model)
        clone.module = copy.deepcopy(self.model.module).requires_grad_(requires_grad=False)
        usual = channels_last(self.model.places)
        clone.memory_format = self.quick.memory_format if self.quick is not self.model else usual
        in_memory_format(clone.module, clone.memory_format)
        return clone

    def _compile(self, example: Tensor) -> None:
        if self.model.fixed_batch is not None or self.layers:
            self.checks += ("torch.compile was not used: it needs the whole network, and any batch size",)
            return
        clone = copy.copy(self.quick)
        clone.module = torch.compile(self.quick.module)  # type: ignore[assignment]
        leaf = example.clone().requires_grad_()
        try:
            with torch.enable_grad(), undisturbed(self.quick.module):
                torch.autograd.grad(clone.forward(leaf).sum(), leaf)
        except Exception as error:  # noqa: BLE001 - a compiler fails in ways of its own
            self.checks += (f"torch.compile was not used: it failed with {type(error).__name__}",)
            return
        self.compiled = clone


def _pad_batch(inputs: Tensor, count: int) -> Tensor:
    """As many inputs as the network wants, the last one repeated."""
    return torch.cat([inputs, inputs[-1:].expand(count - len(inputs), *inputs.shape[1:])])


def _score_output(output: Tensor, targets: Sequence[Target], layers: dict[str, Layer]) -> Tensor:
    """Scores ``(n,)`` of the first of a batch, in at least float32."""
    if not isinstance(output, Tensor) or not output.is_floating_point():
        raise ExplanationError("The target's layer returns no floating numbers, so it has no gradient.")
    wide = widen_half(output)
    wide = wide[: len(targets)]
    layer = layer_of(targets[0])
    if layer is None:
        return score(targets, wide)
    arrangement = layers[layer].arrangement
    kinds: dict[Target, Tensor] = {}
    for target in dict.fromkeys(targets):
        rows = [row for row, each in enumerate(targets) if each == target]
        kinds[target] = _score_layer(target, wide[rows], layer, arrangement)
    found = {target: iter(values) for target, values in kinds.items()}
    return torch.stack([next(found[target]) for target in targets])


def _score_layer(target: Target, output: Tensor, layer: str, arrangement: Arrangement | None) -> Tensor:
    if isinstance(target, WholeLayer):
        return output.square().flatten(1).mean(dim=1)
    if isinstance(target, Direction):
        return _score_direction(target, output, arrangement)
    caught = Capture(watched={layer: output}, watched_arrangements={layer: arrangement})
    return score([target] * len(output), output, caught)


def _score_direction(target: Direction, output: Tensor, arrangement: Arrangement | None) -> Tensor:
    if arrangement is None and output.dim() != 2:
        raise ExplanationError(f"Layer '{target.layer}' has no channels: its output is {tuple(output.shape[1:])}.")
    maps = to_maps(output, arrangement) if arrangement else output[:, :, None]
    vector = output.new_tensor(target.vector)
    if len(vector) != maps.shape[1]:
        raise TargetError(f"'{target}' has {len(vector)} numbers, but layer '{target.layer}' {maps.shape[1]} channels.")
    return torch.einsum("nc...,c->n...", maps, vector / vector.norm()).flatten(1).mean(dim=1)
