"""replay: run only what comes after a layer, with another activation there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from cnnviz.core.capacity import ran_out_of_memory
from cnnviz.core.change import contextmanager
from cnnviz.core.layer import Arrangement, split_call
from cnnviz.engine.arrangement import ArrangementMemory, first_tensor, replaced_tensor
from cnnviz.engine.calls.descent import Descent
from cnnviz.engine.capture import Capture, Replayed, capture
from cnnviz.engine.functions import follow_functions
from cnnviz.engine.heads import NOT_FINITE
from cnnviz.engine.state.modes import inference
from cnnviz.engine.undisturbed import hookable_parts
from cnnviz.errors import CnnvizError, ExplanationError

__all__ = ["Replay", "is_close", "replay"]

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
COARSE = 0.05

CallPath: TypeAlias = tuple[tuple[str, int], ...]

_COUNT = count(1)


@contextmanager
def replay(
    module: nn.Module, forward: Callable[[Tensor], Tensor], inputs: Tensor, layer: str, *, fixed: bool = False
) -> Iterator[Replay]:
    """Record one forward, then answer from the recording whatever finished before the layer did.

    Every call that ended before the layer's own and whose caller is still running then is answered from the recording,
    expanded to the new batch; the layer's call is answered with the activation that is put in its place; all else
    runs. Calls are known by their place among their caller's, so that a module may run any number of times, inside
    others that do. Side paths (residual, dense, inception branches) stay right because their outputs are recorded too,
    and operations between modules simply run again. Recorded outputs are copied once; views of them are handed out,
    copied again only where the network writes into them.

    The unchanged activation must come to the layer's place and give the recorded logits; if it does not, every answer
    comes from the whole network with the activation put in by a hook, and ``checks`` says so.

    Args:
        module: The network, within ``undisturbed``; its modules' ``forward`` is replaced inside and put back.
        forward: From inputs ``(N, C, H, W)`` to logits ``(N, K)``, running the module.
        inputs: One input ``(1, C, H, W)``; or, for a network that takes one batch size only, that many copies of it.
        layer: The layer's name; of several calls the last that is made from the input is meant, or the k-th of
            ``"name#k"``.
        fixed: Whether the network takes batches of this size only, be it 1.

    Raises:
        ExplanationError: If the layer is not run or gives no tensor, the logits are not finite, or the whole network
            does not give the recorded ones either; from an answer, if it never comes to the layer's call.
    """
    with follow_functions(module, [layer]) as functions, ExitStack() as patches:
        recorder, logits, written = _record_forward(module, forward, inputs, layer, functions)
        if not bool(logits.isfinite().all()):
            raise ExplanationError(NOT_FINITE)
        found = Replay(forward, recorder, inputs, logits.detach(), written=written)
        found.fixed = len(inputs) if fixed or len(inputs) > 1 else None
        found.install(patches)
        if not found.faithful():
            patches.close()
            found.fall_back(patches)
            if not found.faithful():
                raise ExplanationError(
                    f"The network answers otherwise when layer '{layer}' gives again what it gave, so nothing can be "
                    "put in its place (its answers are random, or pictures are treated one by one); use a gradient "
                    "method such as gradcam."
                )
        yield found


def _record_forward(
    module: nn.Module,
    forward: Callable[[Tensor], Tensor],
    inputs: Tensor,
    layer: str,
    functions: Mapping[str, nn.Module],
) -> tuple[_CallRecorder, Tensor, bool]:
    """One forward recorded, its logits, and whether it wrote into its inputs."""
    while True:
        recorder, start = _CallRecorder(module, layer, inputs, functions), inputs._version
        with torch.no_grad(), recorder.recording():
            logits = forward(inputs)
        written = inputs._version != start
        if written or recorder.learned(logits):
            return recorder, logits, written


@dataclass
class _RecordedCall:
    """A running or finished call of a module.

    Attributes:
        path: The place of the call and of each of its callers, from the network inwards: a module's name and which
            call of it inside its caller's.
        number: Which call of the module in the whole forward.
        own: How many calls of each module it has made itself.
        inside: How many calls of each module have been made inside it.
    """

    path: CallPath
    number: int
    children: list[_RecordedCall] = field(default_factory=list)
    own: Counter[str] = field(default_factory=Counter)
    inside: Counter[str] = field(default_factory=Counter)
    output: Any = None
    original: Tensor | None = None
    version: int = 0

    @property
    def name(self) -> str:
        """The module's."""
        return self.path[-1][0] if self.path else ""

    @property
    def written(self) -> bool:
        """Whether the network wrote into the output after the call, as far as anyone can know."""
        return self.original is not None and _version_of(self.original) != self.version


class _CallRecorder:
    """Hooks that keep the outputs of finished calls whose callers are still running when the layer ends."""

    def __init__(self, module: nn.Module, layer: str, inputs: Tensor, functions: Mapping[str, nn.Module]) -> None:
        self.module, self.layer, self.inputs = module, layer, inputs
        self.plain, self.number = split_call(layer)
        self.parts = {**hookable_parts(module), **functions}
        inside = self.parts.get(self.plain)
        anywhere = self.plain in functions  # whichever module calls it
        self.callers = {name for name, part in self.parts.items() if anywhere or inside in set(part.modules())}
        self.stack: list[_RecordedCall] = []
        self.counts: Counter[str] = Counter()
        self.memory = ArrangementMemory(module, self.parts, tuple(inputs.shape))
        self.arrangement: Arrangement | None = None
        self.target: _RecordedCall | None = None
        self.running: list[CallPath] = []
        self.before: list[_RecordedCall] = []
        self.ended: dict[str, int] = {}

    @contextmanager
    def recording(self) -> Iterator[None]:
        with ExitStack() as hooks:
            for name, part in self.parts.items():
                hooks.callback(part.register_forward_pre_hook(self._enter_hook(name)).remove)
                hooks.callback(part.register_forward_hook(self._record_call).remove)
            if self.memory.learning and not self.memory.seen.untraced:
                self.memory.descent = hooks.enter_context(Descent(self.inputs))
            yield
        if self.target is None:
            raise ExplanationError(
                f"Layer '{self.layer}' gave no tensor in this forward; 'cnnviz layers' shows which do."
            )

    def learned(self, logits: Tensor) -> bool:
        """Whether what the forward has shown holds; if not, it has to be recorded anew."""
        descent, self.memory.descent = self.memory.descent, None
        if self.memory.stale:
            self.memory.forget()
            return False
        if descent is not None:
            self.memory.seen.detached = descent.detached
            self.memory.seen.untraced = not descent.made(logits)
        lost = descent is not None and self.memory.seen.untraced
        if lost:
            self.memory.seen.outputs.clear()
        self.memory.learning = False
        self.memory.keep()
        return not lost

    def _enter_hook(self, name: str) -> Callable[..., None]:
        def enter(_part: nn.Module, _inputs: Any) -> None:
            self.counts[name] += 1
            path: CallPath = ()
            if self.stack:
                self.stack[-1].own[name] += 1
                path = (*self.stack[-1].path, (name, self.stack[-1].own[name]))
            for caller in self.stack:
                caller.inside[name] += 1
            self.stack.append(_RecordedCall(path, self.counts[name]))

        return enter

    def _record_call(self, part: nn.Module, _inputs: Any, output: Any) -> None:
        call = self.stack.pop()
        call.children = []
        tensor = first_tensor(output)
        inside = self.stack and tensor is not None
        arrangement = self.memory.of(call.name, call.number, part, output) if inside else None
        number = self.number or self.memory.meant(self.plain)
        is_target = call.name == self.plain and call.number == number and tensor is not None
        if not self.stack or not (is_target or self.stack[-1].name in self.callers):
            return
        call.output = tree_map(_copy_tensor, output)
        if tensor is not None:
            call.original, call.version = tensor, _version_of(tensor)
        if is_target:
            self.target, self.arrangement = call, arrangement
            self.running = [caller.path for caller in self.stack]
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
        self._skipped: Counter[str] = Counter()
        self._frames: list[tuple[CallPath | None, Counter[str]]] = []
        self._calls, self._reached = 0, False
        self._substitute: Tensor | None = None
        self.fixed: int | None = None
        self.logits = logits[:1]
        self.activation: Tensor = _require_tensor(recorder.target.output)[:1]
        self.arrangement = recorder.arrangement
        self.checks: tuple[str, ...] = ()

    def __call__(self, activations: Tensor) -> Tensor:
        """Logits ``(B, K)`` with each of ``(B, ...)`` activations in the layer's place.

        Raises:
            ExplanationError: If the network does not come to the layer's call this time.
        """
        self._frames.clear()
        self._calls, self._reached = 0, False
        self._substitute = activations
        try:
            logits = self._forward(self._expand_batch(self._inputs, copy=self._written))
        finally:
            self._substitute = None
        if not self._reached:
            raise ExplanationError(
                f"The network did not run layer '{self._recorder.layer}' again as it had before, so nothing could be "
                "put in its place; use a gradient method such as gradcam."
            )
        return logits

    def watching(self, layers: Sequence[str]) -> AbstractContextManager[Capture]:
        """Catch the outputs of layers that come after the layer, in the one answer that is asked for inside."""
        recorder = self._recorder
        return capture(recorder.module, [], layers, replayed=Replayed(recorder.memory, self._skipped))

    def decides(self, name: str) -> bool:
        """Whether a layer (``"relu#2"`` a call of it) is the replayed one or ends after it; nothing else changes."""
        plain, number = split_call(name)
        call = number or self._recorder.memory.meant(plain)
        return call >= self._target.number if plain == self._target.name else call > self._recorder.ended.get(plain, 0)

    def faithful(self) -> bool:
        """Whether the unchanged activation, twice, gives the recorded logits."""
        try:
            with torch.no_grad():
                again = self(self.activation.expand(self.fixed or 2, *self.activation.shape[1:]).clone())
        except (CnnvizError, RuntimeError) as error:
            if ran_out_of_memory(error):
                raise
            return False
        return again.shape[1:] == self.logits.shape[1:] and is_close(again, self.logits)

    def install(self, patches: ExitStack) -> None:
        """Answer recorded calls from the recording until the patches are closed."""
        answers = {call.path: call for call in [*self._recorder.before, self._target]}
        names = {path[-1][0] if path else "" for path in [*answers, *self._recorder.running]}
        for name in names:
            part = self._recorder.parts[name]
            patches.callback(_restore_forward, part, part.__dict__.get("forward"))
            part.__dict__["forward"] = self._answer_calls(name, answers, part.forward)
        self._skipped = sum((call.inside for call in answers.values()), Counter[str]())

    def fall_back(self, patches: ExitStack) -> None:
        """Run the whole network each time, the activation put in by a hook."""
        self.checks = (f"replay after {self._recorder.layer} was not exact here: the whole network runs each time",)
        self._skipped = Counter()

        def put_in(_part: nn.Module, _inputs: Any, output: Any) -> Any:
            self._calls += 1
            if self._calls != self._target.number or self._substitute is None:
                return None
            self._reached = True
            return replaced_tensor(output, self._substitute.clone())

        patches.callback(self._recorder.parts[self._target.name].register_forward_hook(put_in).remove)

    def _answer_calls(
        self, name: str, answers: Mapping[CallPath, _RecordedCall], original: Callable[..., Any]
    ) -> Callable[..., Any]:
        running = set(self._recorder.running)

        def answer(*args: Any, **kwargs: Any) -> Any:
            if self._substitute is None or self._reached:
                return original(*args, **kwargs)
            path = self._enter_call(name)
            call = answers.get(path) if path is not None else None
            if call is not None:
                return self._answer_call(call)
            self._frames.append((path if path in running else None, Counter()))
            try:
                return original(*args, **kwargs)
            finally:
                self._frames.pop()

        return answer

    def _enter_call(self, name: str) -> CallPath | None:
        """The place of a call that begins; None inside calls that were not running when the layer ended."""
        if not self._frames:
            return () if name == "" else None
        caller, own = self._frames[-1]
        own[name] += 1
        return None if caller is None else (*caller, (name, own[name]))

    def _answer_call(self, call: _RecordedCall) -> Any:
        answered = tree_map(lambda held: self._expand_batch(held, copy=call.written), call.output)
        if call is not self._target or self._substitute is None:
            return answered
        self._reached = True
        return replaced_tensor(answered, self._substitute.clone() if call.written else self._substitute)

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
    with inference(mode=False):
        return held.detach().clone() if isinstance(held, Tensor) else held


def _version_of(tensor: Tensor) -> int:
    """How often a tensor has been written to; of one made in inference mode, a number that it never has again."""
    return next(_COUNT) if tensor.is_inference() else tensor._version


def _require_tensor(output: Any) -> Tensor:
    tensor = first_tensor(output)
    assert tensor is not None
    return tensor


def is_close(again: Tensor, logits: Tensor) -> bool:
    """Whether logits are those that were expected, but for rounding."""
    tolerance = TOLERANCE.get(logits.dtype, COARSE) * float(logits.abs().max())
    return bool((again - logits).abs().max() <= tolerance)
