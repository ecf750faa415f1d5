"""capture: activations and gradients of chosen layers, with no graph below them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import TensorWeakRef

from cnnviz.core.capacity import ran_out_of_memory
from cnnviz.core.change import contextmanager
from cnnviz.core.layer import AUTOMATIC, FUNCTION, Arrangement, split_call
from cnnviz.engine.arrangement import ArrangementMemory, first_tensor, replaced_tensor, tensors_of, to_maps, with_places
from cnnviz.engine.calls.cuts import CUT_AWAY, CutsPassed
from cnnviz.engine.calls.descent import Descent
from cnnviz.engine.functions import follow_functions
from cnnviz.engine.undisturbed import hookable_parts, inference
from cnnviz.errors import ExplanationError

__all__ = ["Capture", "capture", "CHECKPOINTED", "differentiate", "widen_half"]

CHECKPOINTED = (
    "This network saves memory by torch.utils.checkpoint, which runs parts of it anew in the backward, in a way that "
    "this question cannot follow; turn checkpointing off to ask it."
)


def widen_half(tensor: Tensor) -> Tensor:
    """A tensor of half precision (float16 or bfloat16) as float32, any other as it is."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def differentiate(
    value: Tensor,
    leaves: Sequence[Tensor],
    weights: Tensor | None = None,
    *,
    connected: bool = False,
    again: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of a value with respect to leaves; None for those it does not depend on. No ``.grad`` is touched.

    Args:
        value: What is differentiated.
        leaves: With respect to what.
        weights: What each element of the value counts, in its shape; None for a single element.
        connected: Keep the gradients' own graph.
        again: Keep the forward's graph.

    Raises:
        ExplanationError: If the network's backward fails.
    """
    try:
        return torch.autograd.grad(
            value, leaves, weights, allow_unused=True, create_graph=connected, retain_graph=connected or again
        )
    except RuntimeError as error:
        if ran_out_of_memory(error):
            raise
        if "torch.utils.checkpoint" in str(error):
            raise ExplanationError(CHECKPOINTED) from error
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ExplanationError(f"The network fails on the way back to its gradients: {reason}") from error


@dataclass
class Capture:
    """What one forward left behind, by the names that were asked for.

    Attributes:
        activations: The layers' outputs as they were before anything after the layer could change them in place.
        arrangements: Where each activation keeps its channels and places; None where it has neither.
        watched: Outputs of the watched layers, connected to the activations.
        watched_arrangements: The same of the watched layers.
        calls: How often each captured layer was called.
        automatic: The layer that ``"last-spatial"`` came to, if it was asked for.
        checks: What had to be decided.
        passed: The leaves that it moved on from, as long as something made from them past the next one is alive.
    """

    activations: dict[str, Tensor] = field(default_factory=dict)
    arrangements: dict[str, Arrangement | None] = field(default_factory=dict)
    watched: dict[str, Tensor] = field(default_factory=dict)
    watched_arrangements: dict[str, Arrangement | None] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=dict)
    automatic: str | None = None
    checks: tuple[str, ...] = ()
    passed: dict[str, TensorWeakRef] = field(default_factory=dict)

    def forget(self) -> None:
        """Drop what was caught, before another forward."""
        for held in (self.activations, self.arrangements, self.watched, self.watched_arrangements, self.calls):
            held.clear()
        self.passed.clear()

    def gradients(
        self, scores: Tensor, *, unused: bool = False, connected: bool = False, again: bool = False
    ) -> dict[str, Tensor]:
        """Gradients of the summed scores ``(N,)`` with respect to every activation, in the activation's shape.

        Args:
            scores: The targets' scores.
            unused: Leave out layers that the scores do not depend on, instead of raising.
            connected: Keep the gradients' own graph, for ``curvatures``.
            again: Keep the forward's graph, for another question to the same forward.

        Raises:
            ExplanationError: If the scores do not depend on a layer, or the network's backward fails.
        """
        names = list(self.activations)
        if not scores.requires_grad and unused:
            return {}
        if not scores.requires_grad:
            raise ExplanationError(
                f"The target does not depend on layer {', '.join(map(repr, names))}: it is computed before that layer, "
                "or the network runs what comes after it without gradients; choose another layer."
            )
        leaves = [self.activations[name] for name in names]
        ones = torch.ones_like(scores)
        found = differentiate(scores, leaves, ones, connected=connected, again=again)
        gradients = {name: gradient for name, gradient in zip(names, found, strict=True) if gradient is not None}
        if missing := [name for name in names if name not in gradients and not unused]:
            raise ExplanationError(f"The target does not depend on layer '{missing[0]}'; choose another layer.")
        return gradients

    def beside(self, scores: Tensor) -> tuple[str, ...]:
        """Layers before the automatic one that the scores depend on past it, the last first; the graph is kept."""
        leaves = {name: leaf for name, held in reversed(self.passed.items()) if (leaf := held()) is not None}
        if not leaves or not scores.requires_grad:
            return ()
        found = differentiate(scores, list(leaves.values()), torch.ones_like(scores), again=True)
        return tuple(name for name, one in zip(leaves, found, strict=True) if one is not None and bool(one.any()))

    def curvatures(self, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The scores' Hessian at each activation times that activation, from connected gradients."""
        found = {}
        for name, gradient in gradients.items():
            activation = self.activations[name]
            curvature = None
            if gradient.requires_grad:
                with torch.enable_grad():
                    along = (gradient * activation.detach()).sum()
                (curvature,) = differentiate(along, [activation], again=True)
            found[name] = torch.zeros_like(activation) if curvature is None else curvature
        return found

    def maps(self, name: str, tensor: Tensor) -> Tensor:
        """An activation or gradient of a layer as maps ``(N, C, h, w)``, at least float32.

        Raises:
            UsageError: If the layer has no spatial extent.
        """
        arrangement = with_places(name, self.arrangements[name], tensor)
        return widen_half(to_maps(tensor.detach(), arrangement))


@contextmanager
def capture(
    module: nn.Module,
    layers: Sequence[str],
    watch: Sequence[str] = (),
    until: Sequence[str] | None = None,
    *,
    replayed: Replayed | None = None,
) -> Iterator[Capture]:
    """Catch layers' activations during the one forward that is run inside, ready for ``gradients``.

    The network runs without a graph up to the first of the layers; its hook turns gradients on and hands a copy of a
    detached leaf onwards, so that the backward costs only what lies above, frozen weights do not matter and in-place
    operations after the layer change the copy, not what was caught. What hooks of others keep of an output, and the
    network uses later, is part of the graph too. Of several calls of one layer the last that is made from the input is
    caught, or the k-th of ``"name#k"``.

    Where a network cuts gradients inside its forward, so that a layer reaches nothing that it should, the forward runs
    once more with the cuts passed over, and ``checks`` says where that changes what is explained; later forwards on
    inputs of that shape pass them over at once.

    Args:
        module: The network, within ``undisturbed``.
        layers: Names of layers; or only ``"last-spatial"``: the leaf then moves on from each spatial output to the
            next one that is made from the input, as long as none of ``until`` begins, and the last is what remains.
        watch: Layers whose outputs a target needs.
        until: Layers at whose beginning the leaf comes to rest; those of ``watch`` if left out.
        replayed: What a replayed forward does not run; no layers are caught there, only watched.

    Raises:
        ExplanationError: From the forward, if one of the layers was not run or has no tensor output.
    """
    catcher = _Catcher(module, layers, watch, watch if until is None else until)
    catcher.replayed = replayed
    with torch.no_grad(), catcher as caught:
        yield caught


@dataclass(frozen=True)
class Replayed:
    """What a replayed forward does not run, and what is known of it from the forward that was recorded.

    Attributes:
        memory: The arrangements and calls of the recorded forward.
        skipped: How many calls of each layer are not made, all before those that are.
    """

    memory: ArrangementMemory
    skipped: Mapping[str, int]


class _Catcher:
    replayed: Replayed | None = None

    def __init__(self, module: nn.Module, layers: Sequence[str], watch: Sequence[str], until: Sequence[str]) -> None:
        self.caught = Capture()
        self.root, self.parts = module, hookable_parts(module)
        self.automatic = self.sliding = list(layers) == [AUTOMATIC]
        self.wanted = {} if self.automatic else {name: split_call(name) for name in layers}
        self.watch = {name: split_call(name) for name in watch}
        self.until = {split_call(name)[0] for name in until}
        self.named = {plain for plain, _ in [*self.wanted.values(), *self.watch.values()]}
        self.outer, self.inner = ExitStack(), ExitStack()
        self.passed: CutsPassed | None = None
        self.first: Tensor | None = None
        self.trying = False
        self.turned_on = 0

    def __enter__(self) -> Capture:
        self.hooked = {name for name, part in self.parts.items() if name and part._forward_hooks}
        named = [*self.wanted, *self.watch, *self.until]
        hook = self._hook_function if self.automatic else None
        if hook or any(FUNCTION in name for name in named):
            self.parts |= self.outer.enter_context(follow_functions(self.root, named, hook))
        self.known = dict(self.parts)
        self.outer.enter_context(self.inner)
        self.outer.callback(self.root.register_forward_pre_hook(self._start_forward).remove)
        self.outer.callback(self.root.register_forward_hook(self._finish_forward).remove)
        for name in self.until:
            self.outer.callback(self.parts[name].register_forward_pre_hook(self._stop_sliding).remove)
        return self.caught

    def __exit__(self, *_: object) -> None:
        self.outer.close()

    def _start_forward(self, _part: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.version = inputs[0]._version
        self.inner.close()
        self.sliding, self.passed, self.turned_on = self.automatic, None, 0
        self._remember(inputs[0])
        self.first = inputs[0].detach().clone() if self.places.learning else None
        everywhere = self.automatic or (self.named and self.places.learning)
        for name in self.hooked if self.automatic else self.hooked & self.named:
            self.inner.callback(self.parts[name].register_forward_hook(self._graph_hook(name), prepend=True).remove)
        for name in self.parts.keys() - {""} if everywhere else self.named:
            self.inner.callback(self.parts[name].register_forward_hook(self._catching_hook(name)).remove)
        cuts = self.places.seen.cuts.get(self.asked, "kept")
        if cuts != "kept":
            torch.set_grad_enabled(True)
            self.passed = self.inner.enter_context(CutsPassed(detached=cuts == "all"))
            self.caught.checks = (CUT_AWAY,) if cuts == "all" else ()
        if everywhere and self.places.learning and not self.places.seen.untraced:
            self.places.descent = self.inner.enter_context(Descent(inputs[0]))

    def _remember(self, inputs: Tensor) -> None:
        if self.replayed is not None:
            self.places = self.replayed.memory
            self.caught.calls.update(self.replayed.skipped)
            return
        self.places = ArrangementMemory(self.root, self.known, tuple(inputs.shape), anew=self.automatic)

    @property
    def asked(self) -> frozenset[str]:
        """The layers that are caught; the automatic one by its own name."""
        return frozenset([AUTOMATIC] if self.automatic else self.wanted)

    def _hook_function(self, name: str, layer: nn.Module) -> None:
        self.parts[name] = layer
        self.inner.callback(layer.register_forward_hook(self._catching_hook(name)).remove)

    def _stop_sliding(self, _part: nn.Module, _inputs: Any) -> None:
        self.sliding = False

    def _finish_forward(self, part: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
        left_off = not torch.is_grad_enabled()
        if self.places.stale and self.replayed is None:
            self.places.forget()
            return self._run_again(part, inputs)
        if self._lost_trace(output) or self._lost_gradients(output, left_off=left_off):
            self.places.keep()
            return self._run_again(part, inputs)
        if self.replayed is None:
            self.places.keep()
        self._refuse_missing()
        if self.caught.activations:
            torch.set_grad_enabled(True)  # again, where the network's forward as a whole turns gradients off
        return None

    def _lost_trace(self, output: Any) -> bool:
        """Whether nothing that the network returns seems to be made from its input, so that nobody knows what is."""
        descent, self.places.descent = self.places.descent, None
        if descent is None:
            return False
        self.places.seen.detached = descent.detached
        self.places.seen.untraced = bool(tensors_of(output)) and not descent.made(output)
        if self.places.seen.untraced:
            self.places.seen.outputs.clear()
        return self.places.seen.untraced

    def _lost_gradients(self, output: Any, *, left_off: bool) -> bool:
        """Whether the network cuts off what was caught, and going on after the layers despite that may help.

        Blocks without gradients that a layer lies in leave gradients off at the end. Both are found out once; for the
        automatic layer under its own name too, unless other layers than it had turned gradients on before a block.
        """
        seen, cuts = self.places.seen, self.places.seen.cuts
        if not self.caught.activations or (self.asked in cuts and not self.trying):
            return False
        found = [*tensors_of(output), *self.caught.watched.values()]
        leaves = list(self.caught.activations.values())
        before = cuts.setdefault(self.asked, "kept")
        if before == "kept" and left_off and not all(any(_reached_from([each], leaves)) for each in found):
            cuts[self.asked] = "blocks"
        elif before != "all" and seen.detached and not any(_reached_from(found, leaves)):
            cuts[self.asked] = "all"
        if self.caught.automatic is not None and (cuts[self.asked] != "kept" or self.turned_on < 2):
            cuts[frozenset([self.caught.automatic])] = cuts[self.asked]
        self.trying = cuts[self.asked] != before
        return self.trying

    def _run_again(self, part: nn.Module, inputs: tuple[Any, ...]) -> Any:
        """Run a network anew, as what this forward has shown asks for."""
        again, first = inputs[0], self.first
        if again._version != self.version:
            if first is None:
                raise ExplanationError(
                    "The network changes its input in place, and its layers have other shapes than in an earlier "
                    "forward of this size; ask again."
                )
            again = first
        self.caught.forget()
        torch.set_grad_enabled(False)
        return part(again, *inputs[1:])

    def _refuse_missing(self) -> None:
        for name in [*self.wanted, *self.watch]:
            if name not in self.caught.activations and name not in self.caught.watched:
                raise ExplanationError(
                    f"Layer '{name}' gave no tensor in this forward: it was not run, or returns something else; "
                    "'cnnviz layers' shows which layers do."
                )
        if self.automatic and not self.caught.activations:
            raise ExplanationError(
                "No layer with places ends before the target's own layer begins, which may hold them all; name a layer."
                if self.watch
                else "No layer of this network has a spatial output; gradients of the input, as saliency, need none."
            )

    def _graph_hook(self, name: str) -> Callable[..., Any]:
        """A hook before those of others: what they keep of a layer's output, for later use, takes part in gradients."""
        calls = {call for plain, call in self.wanted.values() if plain == name}

        def open_graph(part: nn.Module, _inputs: Any, output: Any) -> Any:
            tensor, now = first_tensor(output), self.caught.calls.get(name, 0) + 1
            if tensor is None or not tensor.is_floating_point():
                return None
            arrangement = self.places.of(name, now, part, output) if self.sliding else None
            slides = arrangement is not None and arrangement.spatial and self.places.made(name, now)
            if not slides and not calls & {None, now}:
                return None
            return replaced_tensor(output, self._begin_graph(tensor, anew=slides)[1])

        return open_graph

    def _catching_hook(self, name: str) -> Callable[..., Any]:
        caught_as = {key: call for key, (plain, call) in self.wanted.items() if plain == name}
        watched_as = {key: call for key, (plain, call) in self.watch.items() if plain == name}

        def catch(part: nn.Module, _inputs: Any, output: Any) -> Any:
            self.caught.calls[name] = now = self.caught.calls.get(name, 0) + 1
            tensor = first_tensor(output)
            if tensor is None:
                return None
            arrangement = self.places.of(name, now, part, output)
            current, calls = tensor, {now, None} if self.places.meant(name) in (0, now) else {now}
            if self._slides_to(name, now, tensor, arrangement):
                self.caught.passed |= {each: TensorWeakRef(leaf) for each, leaf in self.caught.activations.items()}
                self.caught.activations.clear()
                self.caught.arrangements.clear()
                self.caught.automatic = name
                current = self._cut_graph(name, current, arrangement, anew=name not in self.hooked)
            for key in (key for key, call in caught_as.items() if call in calls):
                current = self._cut_graph(key, current, arrangement)
            for key in (key for key, call in watched_as.items() if call in calls):
                self.caught.watched[key] = current
                self.caught.watched_arrangements[key] = arrangement
                current = current.clone()
            return None if current is tensor else replaced_tensor(output, current)

        return catch

    def _slides_to(self, name: str, call: int, tensor: Tensor, arrangement: Arrangement | None) -> bool:
        """Whether the automatic layer moves on to this output."""
        if not self.sliding or arrangement is None or not arrangement.spatial:
            return False
        return tensor.is_floating_point() and self.places.made(name, call)

    def _cut_graph(self, key: str, tensor: Tensor, arrangement: Arrangement | None, *, anew: bool = False) -> Tensor:
        if not tensor.is_floating_point():
            raise ExplanationError(f"Layer '{key}' returns {tensor.dtype} values, which have no gradient.")
        if tensor.requires_grad and not tensor.is_leaf and not anew and split_call(key)[0] not in self.hooked:
            tensor = tensor.clone()  # the tensor itself may have another way to the target than from this layer on
        self.caught.activations[key], onwards = self._begin_graph(tensor, anew=anew)
        self.caught.arrangements[key] = arrangement
        return onwards

    def _begin_graph(self, tensor: Tensor, *, anew: bool) -> tuple[Tensor, Tensor]:
        """A tensor as what was caught of a layer, in the graph that it belongs to or one of its own, and a copy of it.

        Gradients are on from here.
        """
        self.turned_on += not torch.is_grad_enabled()
        torch.set_grad_enabled(True)
        with ExitStack() as quiet:
            for mode in (self.passed, self.places.descent):
                quiet.enter_context(mode.paused() if mode is not None else nullcontext())
            quiet.enter_context(inference(mode=False))
            leaf = tensor
            if anew or tensor.is_leaf or not tensor.requires_grad:
                leaf = (tensor.clone() if tensor.is_inference() else tensor.detach()).requires_grad_()
            onwards = leaf.clone()
        if self.passed is not None:
            self.passed.begun = True
        return leaf, onwards


def _reached_from(tensors: Iterable[Tensor], leaves: Iterable[Tensor]) -> list[bool]:
    """For each leaf (or inner tensor of the graph) whether one of the tensors is made from it."""
    stack: list[Any] = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
    seen: set[Any] = set(stack)
    variables = {id(tensor) for tensor in tensors}
    while stack:
        node = stack.pop()
        if (variable := getattr(node, "variable", None)) is not None:
            variables.add(id(variable))
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                stack.append(following)
    return [id(leaf) in variables if leaf.grad_fn is None else leaf.grad_fn in seen for leaf in leaves]
