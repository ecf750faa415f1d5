"""Scores of many changed copies of a picture: a faster copy of the network where one can be made, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from cnnviz.core.target import ClassTarget, Difference, Target
from cnnviz.models.model import Model
from cnnviz.probing.capture import capture
from cnnviz.probing.chunks import in_slices, usual_size
from cnnviz.probing.targets import class_log_probabilities, class_probabilities, score, watched_layers

__all__ = ["Precision", "ScoreKind", "Scorer", "score_of"]

ScoreKind: TypeAlias = Literal["probability", "logit", "log-probability"]
Precision: TypeAlias = Literal["full", "tf32", "bfloat16"]

HALF = (torch.float16, torch.bfloat16)


class Scorer:
    """Asks for targets' scores of changed pictures, within ``undisturbed``.

    Unless a target is a unit or the network takes one batch size only, a private copy of it answers: batch norm folded,
    channels last, in inference mode.

    Args:
        model: The network.
        example: One input ``(1, C, H, W)`` on its device.
        targets: All targets that will be asked for.
        kind: What the score of a class, or of a difference of two, is.
        precision: What the copy computes in; the loss is stated in ``checks``.
        batch_size: Most pictures at once; None is as many as are usual on the device.

    Attributes:
        size: Most pictures at once, so far.
        checks: What was lost or decided on the way.
    """

    def __init__(
        self,
        model: Model,
        example: Tensor,
        targets: Sequence[Target],
        *,
        kind: ScoreKind,
        precision: Precision,
        batch_size: int | None,
    ) -> None:
        self.model, self.kind = model, kind
        self.tf32 = precision == "tf32" and model.device.type == "cuda"
        self.size = model.fixed_batch or batch_size or usual_size(model.device)
        self.checks: tuple[str, ...] = _spoken(targets, kind)
        self.quick = model
        if watched_layers(targets) or model.fixed_batch is not None:
            if precision != "full":
                self.checks += (f"{precision} was not used: units and networks of one batch size need the network itself",)
            self.tf32 = False
            return
        self.quick, said = model.faster(example, halved=precision == "bfloat16")
        self.checks += said
        if precision == "tf32":
            self.checks += self._tf32_loss(example)

    def scores(self, count: int, change: Callable[[slice], Tensor], targets: Sequence[Target]) -> Tensor:
        """Scores ``(count, T)`` float64 on the CPU.

        Args:
            count: How many changed pictures there are.
            change: From a slice of them to inputs ``(b, C, H, W)``.
            targets: Settled targets; all are scored on the same forwards.
        """
        asked = in_slices(count, lambda some: self._ask(change(some), targets), size=self.size)
        self.size = self.model.fixed_batch or min(self.size, max(asked.size, 1)) if asked.checks else self.size
        self.checks += asked.checks
        return torch.cat(asked.results)

    def _ask(self, inputs: Tensor, targets: Sequence[Target]) -> Tensor:
        count, fixed = len(inputs), self.model.fixed_batch
        if fixed and count < fixed:
            inputs = torch.cat([inputs, inputs[-1:].expand(fixed - count, -1, -1, -1)])
        private = self.quick is not self.model
        if private:
            inputs = inputs.to(memory_format=torch.channels_last)
        with (
            torch.inference_mode(mode=private),
            torch.no_grad(),
            _tf32(allowed=self.tf32),
            capture(self.quick.module, [], watched_layers(targets)) as caught,
        ):
            logits = self.quick.forward(self.quick.to_device(inputs))
            each = [
                score_of([target] * len(logits), logits, self.kind, caught)[:count].double().cpu() for target in targets
            ]
            return torch.stack(each, dim=1)

    def _tf32_loss(self, example: Tensor) -> tuple[str, ...]:
        if not self.tf32:
            return ("tf32 was not used: only CUDA devices have it",)
        with torch.no_grad(), _tf32(allowed=False):
            exact = self.quick.forward(example)
        with torch.no_grad(), _tf32(allowed=True):
            lost = (self.quick.forward(example) - exact).abs().max() / exact.abs().max().clamp_min(1e-30)
        return (f"tf32: logits differ by up to {float(lost):.1%} of the largest",)
