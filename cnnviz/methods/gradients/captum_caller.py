"""Algorithms of the captum library, called on a private copy of the network that suits them."""

from __future__ import annotations

import copy
import importlib
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from cnnviz.core.capacity import ran_out_of_memory
from cnnviz.core.dimensions import size_of
from cnnviz.core.target import Target
from cnnviz.engine.scores.score import score, watched_layers
from cnnviz.engine.state.modes import seeded
from cnnviz.errors import CnnvizError, ExplanationError, MissingExtraError
from cnnviz.lengths import Counts
from cnnviz.methods.occlusion.baselines import fill_with, parse_baselines
from cnnviz.methods.occlusion.sides import sides_of
from cnnviz.models.model import Model

__all__ = ["Caller", "private_copy", "untangle"]


def private_copy(model: Model) -> Model:
    """A copy in evaluation mode, of at least float32, whose weights need no gradients.

    Raises:
        ExplanationError: If the network cannot be copied.
    """
    try:
        module = copy.deepcopy(model.module)
    except (RuntimeError, TypeError, AttributeError, NotImplementedError, copy.Error) as error:
        if ran_out_of_memory(error):
            raise
        raise ExplanationError("captum needs a copy of the network, and this one cannot be copied.") from None
    clone = copy.copy(model)
    clone.module = module if model.dtype == torch.float64 else module.float()
    for part in module.modules():
        part.training = False
    module.requires_grad_(requires_grad=False)
    return clone


def untangle(model: Model, example: Tensor) -> Model:
    """The copy, changed so that each of its activation functions runs once and on what is made from the picture.

    captum's DeepLift keeps what it needs of an activation on its module, so that a module which a network calls several
    times (the ReLU of a residual block) needs one for every call. And it takes every activation to be of pictures and
    baselines, which a table of positions that goes through layers of its own is not. The answers stay the same.

    Args:
        model: A private copy; its module is changed.
        example: One input ``(1, C, H, W)``.
    """
    calls, constant = _observe_calls(model, example)
    wrappers: dict[nn.Module, nn.Module] = {}
    for part in constant:
        wrappers[part] = _HiddenPart(part)
    for part, count in calls.items():
        if count > 1 and part not in constant:
            wrappers[part] = _OnePartACall(part, count)
    for parent in list(model.module.modules()):
        for name, part in parent.named_children():
            if part in wrappers:
                parent._modules[name] = wrappers[part]
    model.module.eval()
    return model


class _OnePartACall(nn.Module):
    """A module that one forward calls so often, as one module for each call."""

    def __init__(self, part: nn.Module, count: int) -> None:
        super().__init__()
        self.turns = nn.ModuleList(copy.deepcopy(part) for _ in range(count))
        self._now = 0

    def forward(self, *given: Any) -> Any:
        part = self.turns[self._now]
        self._now = (self._now + 1) % len(self.turns)
        return part(*given)


class _HiddenPart(nn.Module):
    """A module that a search through the network does not find."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self._part = [part]

    def forward(self, *given: Any) -> Any:
        return self._part[0](*given)


def _observe_calls(model: Model, example: Tensor) -> tuple[Counter[nn.Module], set[nn.Module]]:
    """How often each part without weights and parts of its own runs, and those that never get anything of the input."""
    calls: Counter[nn.Module] = Counter()
    related: set[nn.Module] = set()

    def observe(part: nn.Module, given: tuple[Any, ...]) -> None:
        calls[part] += 1
        if any(isinstance(each, Tensor) and each.requires_grad for each in given):
            related.add(part)

    with ExitStack() as hooks, torch.enable_grad():
        for part in model.module.modules():
            if not any(True for _ in part.children()) and not any(True for _ in part.parameters()):
                hooks.callback(part.register_forward_pre_hook(observe).remove)
        model.forward(example.detach().clone().requires_grad_())
    return calls, set(calls) - related


OWN_DEEPLIFT = "cnnviz's own deeplift adds up on any network, also where activation functions are reused"
BY_CELLS, LEARNING, COMPLETE = ("KernelShap", "Lime", "FeatureAblation"), ("KernelShap", "Lime"), 0.05
SHARE_BLURRED = 0.3


class Caller:
    """One algorithm of captum with its settings.

    Raises:
        MissingExtraError: If a library is not installed.
        ExplanationError: If the network takes one batch size only.
    """

    def __init__(
        self, model: Model, algorithm: str, baseline: str, *, samples: int, cells: Counts, seed: int, at_once: int
    ) -> None:
        self._library = _import_captum(algorithm)
        self._baselines = parse_baselines(baseline)
        if model.fixed_batch is not None:
            raise ExplanationError(f"captum needs other batch sizes than the {model.fixed_batch} this network takes.")
        self._model, self._algorithm, self._seed = model, algorithm, seed
        self._samples, self._cells, self._at_once = samples, cells, at_once
        self._private: Model | None = None

    def attribute(self, inputs: Tensor, targets: Sequence[Target]) -> tuple[Tensor, tuple[str, ...]]:
        """Attributions of inputs ``(N, C, H, W)`` one by one, and how complete they are."""
        if self._private is None:
            self._private = private_copy(self._model)
            if self._algorithm == "DeepLift":
                untangle(self._private, inputs[:1].to(self._private.dtype))
        images = inputs.to(self._private.dtype)
        found = [
            self._attribute_one(_ScoreOnly(self._private, target), image, target)
            for image, target in zip(images, targets, strict=True)
        ]
        checks = tuple(dict.fromkeys(check for _, checks in found for check in checks))
        return torch.stack([values for values, _ in found]), checks

    def _attribute_one(self, scored: _ScoreOnly, image: Tensor, target: Target) -> tuple[Tensor, tuple[str, ...]]:
        if watched_layers([target]):
            raise ExplanationError(
                "captum's algorithms explain classes and functions of the output, not units nor a layer's embedding."
            )
        total, errors = torch.zeros_like(image), []
        for name in self._baselines:
            side = round(SHARE_BLURRED * min(image.shape[1:]))
            everything = torch.ones(1, 1, *image.shape[1:], device=image.device)
            empty = fill_with(name, self._model, image, side=side, seed=self._seed)(everything)
            with seeded(self._seed):
                values = self._call(scored, image[None], empty)[0].detach()
            total += values / len(self._baselines)
            errors.append(_completeness_error(scored, image[None], empty, values))
        own = (OWN_DEEPLIFT,) if self._algorithm == "DeepLift" else ()
        return total, () if self._algorithm in BY_CELLS else (_state_completeness(max(errors)), *own)

    def _call(self, scored: _ScoreOnly, image: Tensor, empty: Tensor) -> Tensor:
        settings: dict[str, Any] = {"baselines": empty}
        if self._algorithm in BY_CELLS:
            settings |= {"feature_mask": _number_cells(image, self._cells), "perturbations_per_eval": self._at_once}
        if self._algorithm in LEARNING:
            settings["n_samples"] = self._samples
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                algorithm = getattr(self._library, self._algorithm)(scored)
                if self._algorithm == "GradientShap":
                    return self._attribute_in_groups(algorithm, image, settings)
                found: Tensor = algorithm.attribute(image, **settings)
                return found
        except CnnvizError:
            raise
        except (RuntimeError, ValueError, TypeError, AssertionError, AttributeError, IndexError) as error:
            if ran_out_of_memory(error):
                raise
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise ExplanationError(f"captum's {self._algorithm} fails on this network: {reason}") from error

    def _attribute_in_groups(self, algorithm: Any, image: Tensor, settings: dict[str, Any]) -> Tensor:
        """The mean over all samples, so many at a time; captum itself would make all of them at once."""
        total = torch.zeros_like(image)
        for start in range(0, self._samples, self._at_once):
            count = min(self._at_once, self._samples - start)
            total += algorithm.attribute(image, n_samples=count, **settings).detach() * (count / self._samples)
        return total


class _ScoreOnly(nn.Module):
    """The target's score ``(N,)`` as a network's only output."""

    def __init__(self, model: Model, target: Target) -> None:
        super().__init__()
        self.network = model.module
        self._ask, self._target = model.forward, target

    def forward(self, inputs: Tensor) -> Tensor:
        return score([self._target] * len(inputs), self._ask(inputs))


def _import_captum(algorithm: str) -> Any:
    try:
        if algorithm in LEARNING:
            importlib.import_module("sklearn.linear_model")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("captum.attr")
    except ImportError:
        raise MissingExtraError(f"captum:{algorithm}", "captum") from None


def _number_cells(image: Tensor, counts: Counts) -> Tensor:
    """Numbers of square cells ``(1, C, H, W)``, the same in every channel; of signals and volumes likewise."""
    cells = torch.zeros((), dtype=torch.int64, device=image.device)
    several = sides_of("cells", counts, size_of(image))
    for axis, length in enumerate(size_of(image)):
        across = min(several[axis] if isinstance(several, tuple) else several, length)
        cells = cells[..., None] * across + torch.arange(length, device=image.device) * across // length
    return cells.expand_as(image)


def _completeness_error(scored: _ScoreOnly, image: Tensor, empty: Tensor, values: Tensor) -> float:
    """By what share of the score's change from the baseline the attributions do not add up to it."""
    with torch.no_grad():
        change = float(scored(image).double() - scored(empty).double())
    lost = abs(float(values.double().sum()) - change)
    return lost / max(abs(change), torch.finfo(torch.float32).tiny) if lost else 0.0


def _state_completeness(error: float) -> str:
    said = f"completeness error {error:.2g} of the score's change"
    return said if error <= COMPLETE else f"{said}: more than rounding or sampling explains; interpret with care"
