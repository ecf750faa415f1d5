"""Processes that work together on one data set: torchrun's, or jobs of an array; and the state that all compute in."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed

from cnnviz.core.change import contextmanager
from cnnviz.engine.undisturbed import reproducible, undisturbed
from cnnviz.errors import CnnvizError
from cnnviz.methods.scan.scope import JobShare
from cnnviz.models.model import Model

__all__ = ["Processes", "conditions", "own_numbers", "processes"]

STARTED = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
PATIENCE = timedelta(days=30)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Processes:
    """This process among all that work together.

    Attributes:
        rank: Its number.
        count: How many there are.
        device: Where objects are put to be sent.
    """

    rank: int = 0
    count: int = 1
    device: torch.device | None = None

    def first(self, ask: Callable[[], Result]) -> Result:
        """What the first process finds, in all of them; what goes wrong there goes wrong in all.

        Raises:
            CnnvizError: Whatever it raised.
        """
        found: list[Any] = [None, None]
        if self.rank == 0:
            try:
                found[0] = ask()
            except CnnvizError as error:
                found[1] = error
        if self.count > 1:
            if found[1] is not None:
                found[1] = _plain_error(found[1])
            distributed.broadcast_object_list(found, src=0, device=self.device)
        if found[1] is not None:
            raise found[1]
        result: Result = found[0]
        return result

    def all(self, ask: Callable[[], Result]) -> Result:
        """What this process finds, once all have found theirs; what goes wrong in one goes wrong in all.

        Raises:
            CnnvizError: Whatever one of them raised.
        """
        if self.count == 1:
            return ask()
        found, failure = None, None
        try:
            found = ask()
        except CnnvizError as error:
            failure = _plain_error(error)
        failures: list[Any] = [None] * self.count
        distributed.all_gather_object(failures, failure)
        if failed := [each for each in failures if each is not None]:
            raise failed[0]
        assert found is not None
        return found


def processes(device: torch.device) -> Processes:
    """The processes that work together: torch's process group if there is one, or one that torchrun's settings name.

    Args:
        device: Where the network is.
    """
    if not distributed.is_available() or (not distributed.is_initialized() and not os.environ.keys() >= STARTED):
        return Processes()
    if not distributed.is_initialized():
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(backend, timeout=PATIENCE)
        atexit.register(distributed.destroy_process_group)  # not sooner: the same group cannot be made twice
    where = device if distributed.get_backend() == "nccl" else torch.device("cpu")
    return Processes(distributed.get_rank(), distributed.get_world_size(), where)


def _plain_error(error: CnnvizError) -> CnnvizError:
    """The error as one that can be sent: some have constructors of their own."""
    for kind in type(error).__mro__:
        if kind.__init__ is CnnvizError.__init__:  # type: ignore[misc]
            return kind(str(error))  # type: ignore[no-any-return]
    return CnnvizError(str(error))


def own_numbers(missing: Sequence[int], team: Processes, share: JobShare | None = None) -> list[int]:
    """Of the numbers of parts that are missing those that this process finds.

    Args:
        missing: The numbers.
        team: The processes that work together.
        share: This job's part of all numbers; None for all.
    """
    ours = [number for number in missing if share is None or number % share.jobs == share.job - 1]
    return ours[team.rank :: team.count]


@contextmanager
def conditions(model: Model, *, autocast: bool = False) -> Iterator[None]:
    """The network in evaluation mode and deterministic, whatever was switched on around.

    Args:
        model: The network.
        autocast: Whether to compute in bfloat16 where torch finds that safe.
    """
    device = model.device
    with (
        undisturbed(model.module),
        reproducible(device),
        torch.cuda.device(device) if device.type == "cuda" else nullcontext(),
        torch.autocast(device.type, torch.bfloat16, enabled=autocast),
    ):
        yield
