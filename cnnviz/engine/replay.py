"""replay: run only what comes after a layer, with another activation there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from cnnviz.core.layer import Arrangement, split_call
from cnnviz.engine.arrangement import Arranger, first_tensor, replaced_tensor
from cnnviz.engine.functions import follow_functions
from cnnviz.engine.heads import NOT_FINITE
from cnnviz.engine.undisturbed import hookable_parts
from cnnviz.errors import CnnvizError, ExplanationError

__all__ = ["Replay", "is_close", "replay"]

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
COARSE = 0.05


@contextmanager
def replay(
    module: nn.Module, forward: Callable[[Tensor], Tensor], inputs: Tensor, layer: str, *, fixed: bool = False
) -> Iterator[Replay]:
    """Record one forward, then answer from the recording whatever finished before the layer did.

    Every call that ended before the layer's own and whose caller is still running then is answered from the recording,
    expanded to the new batch; the layer's call is answered with the activation that is put in its place; all else
    runs. Side paths (residual, dense, inception branches) stay right because their outputs are recorded too, and
    operations between modules simply run again. Recorded outputs are copied once; views of them are handed out,
    copied again only where the network writes into them.

    The unchanged activation must give the recorded logits; if it does not, every answer comes from the whole network
    with the activation put in by a hook, and ``checks`` says so.

    Args:
        module: The network, within ``undisturbed``; its modules' ``forward`` is replaced inside and put back.
        forward: From inputs ``(N, C, H, W)`` to logits ``(N, K)``, running the module.
        inputs: One input ``(1, C, H, W)``; or, for a network that takes one batch size only, that many copies of it.
        layer: The layer's name; of several calls the last is meant, or the k-th of ``"name#k"``.
        fixed: Whether the network takes batches of this size only, be it 1.

    Raises:
        ExplanationError: If the layer is not run or gives no tensor, the logits are not finite, or the whole network
            does not give the recorded ones either.
    """
    with follow_functions(module, [layer]) as functions:
        yield from _replay(_CallRecorder(module, layer, inputs.shape, functions), forward, inputs, fixed=fixed)


def _replay(
    recorder: _CallRecorder, forward: Callable[[Tensor], Tensor], inputs: Tensor, *, fixed: bool
) -> Iterator[Replay]:
    with torch.no_grad(), recorder.recording():
        start = inputs._version
        logits = forward(inputs)
    if not bool(logits.isfinite().all()):
        raise ExplanationError(NOT_FINITE)
    found = Replay(forward, recorder, inputs, logits.detach(), written=inputs._version != start)
    found.fixed = len(inputs) if fixed or len(inputs) > 1 else None
    with ExitStack() as patches:
        found.install(patches)
        if not found.faithful():
            patches.close()
            found.fall_back(patches)
            if not found.faithful():
                raise ExplanationError(
                    f"The network answers otherwise when layer '{recorder.layer}' gives again what it gave, so nothing "
                    "can be put in its place (its answers are random, or pictures are treated one by one); use a "
                    "gradient method such as gradcam."
                )
        yield found


@dataclass
class _RecordedCall:
    """A running or finished call of a module."""

    name: str
    number: int
    children: list[_RecordedCall] = field(default_factory=list)
    output: Any = None
    original: Tensor | None = None
    version: int = 0

    @property
    def written(self) -> bool:
        """Whether the network wrote into the output after the call."""
        return self.original is not None and self.original._version != self.version


class _CallRecorder:
    """Hooks that keep the outputs of finished calls whose callers are still running when the layer ends."""

    def __init__(self, module: nn.Module, layer: str, shape: Sequence[int], functions: Mapping[str, nn.Module]) -> None:
        self.module = module
        self.layer, self.batch = layer, shape[0]
        self.plain, self.number = split_call(layer)
        self.parts = {**hookable_parts(module), **functions}
        inside = self.parts.get(self.plain)
        anywhere = self.plain in functions  # whichever module calls it
        self.callers = {name for name, part in self.parts.items() if anywhere or inside in set(part.modules())}
        self.stack: list[_RecordedCall] = []
        self.counts: dict[str, int] = {}
        self.arranger = Arranger(module, shape[2:])
        self.arrangement: Arrangement | None = None
        self.target: _RecordedCall | None = None
        self.before: list[_RecordedCall] = []
        self.ended: dict[str, int] = {}

    @contextmanager
    def recording(self) -> Iterator[None]:
        with ExitStack() as hooks:
            for name, part in self.parts.items():
                hooks.callback(part.register_forward_pre_hook(self._enter_hook(name)).remove)
                hooks.callback(part.register_forward_hook(self._record_call).remove)
            yield
        if self.target is None:
            raise ExplanationError(
                f"Layer '{self.layer}' gave no tensor in this forward; 'cnnviz layers' shows which do."
            )

    def _enter_hook(self, name: str) -> Callable[..., None]:
        def enter(_part: nn.Module, _inputs: Any) -> None:
            self.counts[name] = number = self.counts.get(name, 0) + 1
            self.stack.append(_RecordedCall(name, number))

        return enter

    def _record_call(self, part: nn.Module, _inputs: Any, output: Any) -> None:
        call = self.stack.pop()
        call.children = []
        tensor = first_tensor(output)
        arrangement = self.arranger.observe(part, output, self.batch)
        is_target = call.name == self.plain and self.number in (None, call.number) and tensor is not None
        if not self.stack or not (is_target or self.stack[-1].name in self.callers):
            return
        call.output = tree_map(_copy_tensor, output)
        if tensor is not None:
            call.original, call.version = tensor, tensor._version
        if is_target:
            self.target, self.arrangement = call, arrangement
            self.before = [child for caller in self.stack for child in caller.children]
            self.ended = self.counts | {caller.name: caller.number - 1 for caller in self.stack}
        self.stack[-1].children.append(call)


class Replay:
    """A recorded forward; call it with activations to put in the layer's place.

    Attributes:
        logits: ``(1, K)``, of the unchanged network.
        activation: The layer's recorded output ``(1, ...)``.
        fixed: The only number of activations it takes at once, or None for any.
        arrangement: Where it keeps channels and places, or None.
        checks: What had to be decided: empty, or that the whole network runs each time.
    """

    def __init__(
        self,
        forward: Callable[[Tensor], Tensor],
        recorder: _CallRecorder,
        inputs: Tensor,
        logits: Tensor,
        *,
        written: bool,
    ) -> None:
        assert recorder.target is not None
        self._forward = forward
        self._recorder = recorder
        self._target = recorder.target
        self._inputs = inputs
        self._written = written
        self._seen: dict[str, int] = {}
        self._substitute: Tensor | None = None
        self.fixed: int | None = None
        self.logits = logits[:1]
        self.activation: Tensor = _require_tensor(recorder.target.output)[:1]
        self.arrangement = recorder.arrangement
        self.checks: tuple[str, ...] = ()

    def __call__(self, activations: Tensor) -> Tensor:
        """Logits ``(B, K)`` with each of ``(B, ...)`` activations in the layer's place."""
        self._seen.clear()
        self._substitute = activations
        try:
            return self._forward(self._expand_batch(self._inputs, copy=self._written))
        finally:
            self._substitute = None

    def decides(self, name: str) -> bool:
        """Whether a layer (``"relu#2"`` a call of it) is the replayed one or ends after it; nothing else changes."""
        plain, number = split_call(name)
        call = number or self._recorder.counts.get(plain, 0)
        return call >= self._target.number if plain == self._target.name else call > self._recorder.ended.get(plain, 0)

    def faithful(self) -> bool:
        """Whether the unchanged activation, twice, gives the recorded logits."""
        try:
            with torch.no_grad():
                again = self(self.activation.expand(self.fixed or 2, *self.activation.shape[1:]).clone())
        except (CnnvizError, RuntimeError):
            return False
        return again.shape[1:] == self.logits.shape[1:] and is_close(again, self.logits)

    def install(self, patches: ExitStack) -> None:
        """Answer recorded calls from the recording until the patches are closed."""
        recorded: dict[str, dict[int, _RecordedCall]] = {}
        for call in [*self._recorder.before, self._target]:
            recorded.setdefault(call.name, {})[call.number] = call
        for name, calls in recorded.items():
            part = self._recorder.parts[name]
            patches.callback(_restore_forward, part, part.__dict__.get("forward"))
            part.__dict__["forward"] = self._answer_calls(name, calls, part.forward)

    def fall_back(self, patches: ExitStack) -> None:
        """Run the whole network each time, the activation put in by a hook."""
        self.checks = (f"replay after {self._recorder.layer} was not exact here: the whole network runs each time",)

        def count(name: str) -> int:
            self._seen[name] = self._seen.get(name, 0) + 1
            return self._seen[name]

        def put_in(_part: nn.Module, _inputs: Any, output: Any) -> Any:
            if count(self._target.name) != self._target.number or self._substitute is None:
                return None
            return replaced_tensor(output, self._substitute.clone())

        patches.callback(self._recorder.parts[self._target.name].register_forward_hook(put_in).remove)

    def _answer_calls(
        self, name: str, calls: dict[int, _RecordedCall], original: Callable[..., Any]
    ) -> Callable[..., Any]:
        def answer(*args: Any, **kwargs: Any) -> Any:
            self._seen[name] = number = self._seen.get(name, 0) + 1
            call = calls.get(number)
            if call is None or self._substitute is None:
                return original(*args, **kwargs)
            answered = tree_map(lambda held: self._expand_batch(held, copy=call.written), call.output)
            if call is not self._target:
                return answered
            return replaced_tensor(answered, self._substitute.clone() if call.written else self._substitute)

        return answer

    def _expand_batch(self, held: Any, *, copy: bool) -> Any:
        """A recorded tensor for the batch of the activations that are put in."""
        if not isinstance(held, Tensor) or held.dim() == 0 or self._substitute is None:
            return held
        size = len(self._substitute)
        if held.shape[0] == 1 or self.fixed:
            view = held if self.fixed else held.expand(size, *held.shape[1:])
            return view.clone() if copy else view
        return held.repeat(size, *(1 for _ in held.shape[1:]))


def _restore_forward(part: nn.Module, forward: Any) -> None:
    if forward is None:
        part.__dict__.pop("forward", None)
    else:
        part.__dict__["forward"] = forward


def _copy_tensor(held: Any) -> Any:
    return held.detach().clone() if isinstance(held, Tensor) else held


def _require_tensor(output: Any) -> Tensor:
    tensor = first_tensor(output)
    assert tensor is not None
    return tensor


def is_close(again: Tensor, logits: Tensor) -> bool:
    """Whether logits are those that were expected, but for rounding."""
    tolerance = TOLERANCE.get(logits.dtype, COARSE) * float(logits.abs().max())
    return bool((again - logits).abs().max() <= tolerance)
