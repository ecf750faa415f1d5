"""Where a network cuts gradients inside its own forward, and going on after a layer all the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from cnnviz.core.change import contextmanager
from cnnviz.engine.state.modes import inference
from cnnviz.provenance import Caution

__all__ = ["CUT_AWAY", "CUT_OFF", "NO_GRADIENT", "Cuts", "CutsPassed"]

Cuts: TypeAlias = Literal["kept", "blocks", "all"]
"""Which of a network's cuts are passed over: none; blocks without gradients that the layer lies in; ``detach`` too."""

CUT_OFF = Caution(
    "the network cuts gradients off inside its forward (no_grad, inference_mode or detach); they were passed through "
    "anyway"
)
CUT_AWAY = Caution(
    "the network detaches what it makes of this layer, so that no gradient passes; it was passed through anyway"
)
NO_GRADIENT = (
    "No gradient of the target reaches the picture: it does not depend on the picture, or the network runs what comes "
    "after it without gradients (quantised or compiled parts, say); occlusion, rise and eigencam need none."
)

_DETACHING = {Tensor.detach, torch.detach, Tensor.data.__get__}  # type: ignore[attr-defined]


class CutsPassed(TorchFunctionMode):
    """A mode in which gradients begin at a layer, though the network runs it in a block without gradients.

    To the network gradients seem to be on all the time, so that what it restores after a block is that; until
    ``begun`` no operation makes a graph. A block without gradients that it enters after the layer is its own wish.

    Args:
        detached: Also hand on what the network detaches.
        everything: Gradients begin at once, and pass whatever the network does.
    """

    def __init__(self, *, detached: bool = False, everything: bool = False) -> None:
        super().__init__()
        self.begun, self._everything, self._paused = everything, everything, False
        self._detached = detached or everything

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, operations are as ever."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._paused or func is torch._C._set_grad_enabled:
            return func(*args, **kwargs)
        if not self.begun:
            with torch.no_grad():
                return func(*args, **kwargs)
        if self._detached and func in _DETACHING and args[0].requires_grad:
            return args[0].view_as(args[0])
        with ExitStack() as opened:
            if torch.is_inference_mode_enabled():
                opened.enter_context(inference(mode=False))
            if self._everything:
                opened.enter_context(torch.enable_grad())
            return func(*_without_inference(args), **_without_inference(kwargs))


def _without_inference(held: Any) -> Any:
    """The same arguments, tensors made in inference mode copied: those take no part in gradients."""
    return tree_map(lambda each: each.clone() if isinstance(each, Tensor) and each.is_inference() else each, held)
