"""Putting weights into a network: names and classes made to fit, and misfits told."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from cnnviz.core.capacity import ran_out_of_memory
from cnnviz.errors import WeightsError
from cnnviz.models.origin import one_line
from cnnviz.models.weights import Checkpoint

__all__ = ["Fitted", "build_for", "load_into"]

WRAPPERS: Final = re.compile(r"_orig_mod\.|_fsdp_wrapped_module\.|_checkpoint_wrapped_module\.")
OLD_DENSENET: Final = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12])\.")
UNUSED: Final = ("num_batches_tracked", "total_ops", "total_params", "n_averaged")
RANDOM_FILLS: Final = {
    Tensor.uniform_, Tensor.normal_, Tensor.erfinv_,
    nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_, nn.init.kaiming_normal_,
}  # fmt: skip
DEEPEST_PREFIX, SHOWN, CLASSIFIER_WEIGHTS = 4, 3, 2


@dataclass(frozen=True)
class Fitted:
    """A network with a checkpoint's weights in it, its number of classes and what there is to say about it."""

    module: nn.Module
    classes: int | None
    notes: tuple[str, ...]


class _WrongShape(NamedTuple):
    """The shape of one weight in the file and in the network."""

    name: str
    given: tuple[int, ...]
    own: tuple[int, ...]


class _SkipRandomFills(TorchFunctionMode):
    """Skips filling weights with random numbers, which for a large network takes longer than reading its weights."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[Any], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        if func in RANDOM_FILLS:
            return given["tensor"] if "tensor" in given else args[0]
        return func(*args, **given)


def build_for(
    checkpoint: Checkpoint, build: Callable[[int | None], nn.Module], network: str, classes: int | None
) -> Fitted:
    """Build a network with as many classes as the checkpoint has, and load it.

    Args:
        checkpoint: The weights.
        build: Makes the network with that number of classes; None makes it with its own.
        network: Its name, for messages.
        classes: How many classes it has of its own, if that is known.

    Raises:
        WeightsError: If the weights do not fit.
    """
    with _SkipRandomFills():
        module = build(None)
        other = _count_classes(module, checkpoint, classes) if classes else None
        if other is not None:
            module, classes = build(other), other
    return Fitted(module, classes, load_into(module, checkpoint, network))


def load_into(module: nn.Module, checkpoint: Checkpoint, network: str) -> tuple[str, ...]:
    """Load weights into a network, in place; returns notes.

    Args:
        module: The network.
        checkpoint: The weights; prefixes that wrappers and training loops put before every name are taken off.
        network: Its name, for messages.

    Raises:
        WeightsError: If names are missing or left over, shapes differ, or values that must be floating are not.
    """
    own = _weight_shapes(module)
    state, notes = _strip_prefixes(checkpoint, own)
    missing = [name for name in own if name not in state and not name.endswith(UNUSED)]
    unexpected = [name for name in state if name not in own and not name.endswith(UNUSED)]
    wrong = [name for name in own if name in state and own[name] not in (None, tuple(state[name].shape))]
    if missing or unexpected or wrong:
        shapes = [_WrongShape(name, tuple(state[name].shape), own[name] or ()) for name in wrong]
        raise WeightsError(
            f"'{checkpoint.name}' does not fit {network}{_explain_misfit(missing, unexpected, shapes, len(own))}"
        )
    _ensure_floating(module, state, checkpoint.name, network)
    try:
        module.load_state_dict(_with_versions(state, module), strict=False)
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        if ran_out_of_memory(error):
            raise
        raise WeightsError(f"'{checkpoint.name}' cannot be loaded into {network} ({one_line(error)}).") from None
    return (*checkpoint.notes, *notes, *_note_not_finite(module, checkpoint.name))


def _ensure_floating(module: nn.Module, state: Mapping[str, Tensor], file: str, network: str) -> None:
    """Refuse what loading would turn into other numbers without a word, such as the integers of quantised weights."""
    own = {name: held for name, held in module.state_dict().items() if isinstance(held, Tensor) and not is_lazy(held)}
    other = [
        name for name, held in own.items()
        if held.is_floating_point() and not state.get(name, held).is_floating_point() and not name.endswith(UNUSED)
    ]  # fmt: skip
    if other:
        given, expected = (str(each[other[0]].dtype).removeprefix("torch.") for each in (state, own))
        more = f" (and {len(other) - 1} more)" if len(other) > 1 else ""
        raise WeightsError(
            f"'{file}' does not fit {network}: {other[0]}{more} holds {given} values, not {expected}; "
            "expected floating weights, none that are quantised."
        )


def _note_not_finite(module: nn.Module, file: str) -> tuple[str, ...]:
    """A note where weights are NaN or infinite, or values that were gathered in training are NaN."""
    weights = {name: held for name, held in module.named_parameters() if not is_lazy(held)}
    buffers = {name: held for name, held in module.named_buffers() if not is_lazy(held)}
    lost = [name for name, held in weights.items() if not bool(held.isfinite().all())]
    lost += [name for name, held in buffers.items() if bool(held.isnan().any())]
    return (f"'{file}' holds numbers that are not finite, in {_some_names(lost)}",) if lost else ()


def _weight_shapes(module: nn.Module) -> dict[str, tuple[int, ...] | None]:
    """The shape that each weight must have; None for a lazy one, which takes any."""
    state = {name: tensor for name, tensor in module.state_dict().items() if isinstance(tensor, Tensor)}
    return {name: None if is_lazy(tensor) else tuple(tensor.shape) for name, tensor in state.items()}


def _with_versions(state: Mapping[str, Tensor], module: nn.Module) -> Mapping[str, Tensor]:
    """The weights with the versions of their modules, which some networks insist on and other file formats lose."""
    if hasattr(state, "_metadata"):
        return state
    versioned = OrderedDict(state)
    versioned._metadata = getattr(module.state_dict(), "_metadata", None)  # type: ignore[attr-defined]
    return versioned


def _strip_prefixes(checkpoint: Checkpoint, own: Iterable[str]) -> tuple[Mapping[str, Tensor], tuple[str, ...]]:
    """The weights without the prefix that hides the network's own names, and a note on what that left out."""
    names = set(own)
    if names <= set(checkpoint.state):
        return checkpoint.state, ()
    plain = {OLD_DENSENET.sub(r"\1\2.", WRAPPERS.sub("", name)): value for name, value in checkpoint.state.items()}
    prefixes = {"": None}
    for name in plain:
        parts = name.split(".")
        prefixes |= {"".join(f"{part}." for part in parts[:depth]): None for depth in range(1, DEEPEST_PREFIX + 1)}
    best = max(prefixes, key=lambda prefix: sum(prefix + name in plain for name in names))
    state = {name[len(best) :]: value for name, value in plain.items() if name.startswith(best)}
    left = [name for name in plain if not name.startswith(best) and not name.endswith(UNUSED)]
    notes = (f"entries of '{checkpoint.name}' outside '{best}' were left out: {len(left)}",) if left else ()
    return state, notes


def _count_classes(module: nn.Module, checkpoint: Checkpoint, classes: int) -> int | None:
    """The checkpoint's number of classes, where that is all in which it differs from the network."""
    own = _weight_shapes(module)
    state, _ = _strip_prefixes(checkpoint, own)
    counts = set()
    for name, shape in own.items():
        given = tuple(state[name].shape) if name in state else shape
        if given == shape:
            continue
        if not given or not shape or shape[0] != classes or given[1:] != shape[1:]:
            return None
        counts.add(given[0])
    return counts.pop() if len(counts) == 1 else None


def _explain_misfit(missing: list[str], unexpected: list[str], wrong: list[_WrongShape], expected: int) -> str:
    if len(missing) == expected or (len(missing) > expected // 2 and unexpected):
        found, expects = _some_names(unexpected), _some_names(missing)
        return f"; it is of another network: the file has {found}, but {expects} were expected."
    shapes = [f"{each.name} is {_shape_text(each.given)}, not {_shape_text(each.own)}" for each in wrong]
    told = [("missing", missing), ("unexpected", unexpected), ("of another shape", shapes)]
    parts = [f"{len(names)} {what} ({_some_names(names)})" for what, names in told if names]
    advice = " A network whose last layer was replaced opens as FILE.py:FUNCTION." if missing and unexpected else ""
    return f": {', '.join(parts)}.{advice or _explain_classes(wrong)}"


def _explain_classes(wrong: list[_WrongShape]) -> str:
    """What misfits of the classifier alone mean."""
    counts = {(each.given[0], each.own[0]) for each in wrong if each.given and each.own}
    plain = all(each.given[1:] == each.own[1:] for each in wrong)
    if not plain or len(counts) != 1 or len(wrong) > CLASSIFIER_WEIGHTS:
        return ""
    ((given, own),) = counts
    return f" The file is for {given} classes, the network has {own}."


def _some_names(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "") if names else "no weights"


def _shape_text(shape: Iterable[int]) -> str:
    return "x".join(map(str, shape)) or "a scalar"
