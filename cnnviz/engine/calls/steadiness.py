"""Networks that are not functions of their picture: random ones, and those that look at the rest of the batch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from cnnviz.core.capacity import ran_out_of_memory
from cnnviz.engine.calls.descent import Descent
from cnnviz.engine.layers import blank_copy, run, touched
from cnnviz.engine.undisturbed import undisturbed

__all__ = ["Steadiness", "answers_again", "observe_steadiness"]

SELDOM_DRAWN = ("p", "dropout_p")
"""Arguments that say how often an operation draws; at 0 it does not."""

DECIDES = "_local_scalar_dense"
"""The operation by which a value becomes a number of Python's, and so decides what runs."""

ROUNDING = {torch.float64: 1e-6, torch.float32: 1e-2}
COARSE_ROUNDING = 0.1


@dataclass(frozen=True)
class Steadiness:
    """What a network's answer to a picture depends on besides the picture.

    Attributes:
        random: Where it draws random numbers, and by what operation; empty if nowhere.
        batch: Where it takes statistics of the whole batch; empty if nowhere.
        alone: Whether it can be asked about one picture alone.
        checks: What the user should know: a short sentence each.
    """

    random: str = ""
    batch: str = ""
    alone: bool = True
    checks: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        said = []
        if self.random:
            said.append(f"the network answers differently each time: {self.random}, like dropout that is always active")
        if self.batch and self.alone:
            said.append(f"answers depend on the batch ({self.batch}): every picture was asked alone")
        if self.batch and not self.alone:
            said.append(f"answers depend on the other pictures of the batch ({self.batch})")
        object.__setattr__(self, "checks", tuple(said))


def observe_steadiness(module: nn.Module, example: Tensor) -> Steadiness:
    """What a network draws or takes from the batch, from one forward of a copy without values, or else of itself.

    Args:
        module: The network; comes back as it was.
        example: Two inputs ``(2, C, H, W)`` on the network's device.
    """
    if not touched(module):
        try:
            with _disable_current_modes():
                blank, empty = blank_copy(module), example.to("meta")
                return _watch(blank, empty, lambda: _runs(blank, empty[:1]))
        except Exception:  # noqa: BLE001 - a network may do anything with values; then it runs on some
            pass
    for given in (example, example[:1]):
        try:
            return _watch(module, given, lambda: True)
        except Exception:  # noqa: BLE001 - whoever asks it something is told why it fails
            continue
    return Steadiness()


def answers_again(module: nn.Module, forward: Callable[[Tensor], Tensor], one: Tensor, logits: Tensor) -> bool:
    """Whether a picture has the same answer once more, with another picture beside it; but for rounding.

    Args:
        module: The network; comes back as it was.
        forward: From inputs ``(N, C, H, W)`` to logits ``(N, K)``, running the module.
        one: The picture ``(1, C, H, W)``.
        logits: What it was answered ``(1, K)``.
    """
    try:
        with undisturbed(module), torch.no_grad():
            again = forward(torch.cat([one, one.flip(-1) / 2]))[:1]
    except Exception as error:
        if not ran_out_of_memory(error):
            raise
        return True  # nothing is known of it
    rounding = ROUNDING.get(again.dtype, COARSE_ROUNDING) * logits.abs().max()
    return again.shape == logits.shape and bool((again - logits.to(again)).abs().max() <= rounding)


def _runs(module: nn.Module, inputs: Tensor) -> bool:
    try:
        with undisturbed(module), torch.no_grad():
            run(module, inputs)
    except Exception:  # noqa: BLE001 - it does not
        return False
    return True


def _watch(module: nn.Module, inputs: Tensor, alone: Callable[[], bool]) -> Steadiness:
    watch = _Watch(inputs)
    with undisturbed(module), torch.no_grad(), ExitStack() as hooks:
        for name, part in module.named_modules():
            hooks.callback(part.register_forward_pre_hook(watch.enter_hook(name)).remove)
            hooks.callback(part.register_forward_hook(watch.leave, always_call=True).remove)
        with watch:
            output = run(module, inputs)
    drawn, shared = (descent.made(output) for descent in (watch.drawn, watch.shared))
    drawn |= watch.decided
    return Steadiness(watch.random if drawn else "", watch.batch if shared else "", alone() if shared else True)


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the first operation that draws random numbers, the first that norms by the batch, and what they lead to."""

    def __init__(self, inputs: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.random = self.batch = ""
        self.drawn, self.shared = Descent(), Descent()
        self.decided = False
        self._together = len(inputs) > 1
        self._running: list[str] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Skipping would import torch's compiler, which takes seconds, at the first use."""
        return False

    def enter_hook(self, name: str) -> Callable[..., None]:
        """A hook that notes that a module runs."""
        return lambda *_: self._running.append(name)

    def leave(self, *_: object) -> None:
        """A hook that notes that it has run."""
        self._running.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        given = dict(zip((each.name for each in func._schema.arguments), args, strict=False)) | kwargs
        name = func._schema.name.partition("::")[2]
        draws, norms = _draws(func, given), self._norms_batch(name, given)
        if draws:
            self.random = self.random or f"{self._where} draws random numbers ({name.rstrip('_')})"
        if norms:
            self.batch = self.batch or f"{self._where} norms by the batch's own statistics"
        self.decided |= name == DECIDES and self.drawn.made(args)
        for descent, begins in ((self.drawn, draws), (self.shared, norms)):
            descent.follow(name, (args, kwargs), output, begins=begins)
        return output

    def _norms_batch(self, name: str, given: dict[str, Any]) -> bool:
        """Whether it norms by statistics of several pictures; instance norms come as a batch of one."""
        if "batch_norm" not in name or "backward" in name or not self._together:
            return False
        tensor = given.get("input")
        return bool(given.get("training", "with_update" in name)) and isinstance(tensor, Tensor) and len(tensor) > 1

    @property
    def _where(self) -> str:
        return f"layer '{self._running[-1]}'" if self._running and self._running[-1] else "its forward"


def _draws(func: Any, given: dict[str, Any]) -> bool:
    """Whether an operation draws random numbers; from a generator of the network's own they may be the same ones."""
    if torch.Tag.nondeterministic_seeded not in func.tags or given.get("generator") is not None:
        return False
    return all(given.get(name) != 0 for name in SELDOM_DRAWN)
