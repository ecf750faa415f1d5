"""Networks exported with ``torch.export.save`` to a ``.pt2`` file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass

from cnnviz.core.capacity import ran_out_of_memory
from cnnviz.core.dimensions import KINDS, SIGNAL, VOLUME, count_places, spell_shape
from cnnviz.errors import ModelError
from cnnviz.models.origin import OpenedNetwork, one_line, quiet

__all__ = ["open_exported"]

LOGGERS: Final = ("torch.export", "torch.export.pt2_archive._package", "torch._export.serde.serialize")
TRAINING: Final = {"aten::dropout": 2, "aten::batch_norm": 5}
"""Operations that behave otherwise in training, and which of their arguments says so."""


@dataclass(frozen=True)
class _InputAxis:
    """One axis of the exported input: its size in the example, and whether it may have others, and be 1."""

    example: int
    free: bool = False
    from_one: bool = False


def open_exported(file: Path, device: torch.device) -> OpenedNetwork:
    """Open an exported network; its layers keep the names they had.

    The file may run code while it is opened, as PyTorch's format allows it to: open only files you trust.

    Args:
        file: A file that ``torch.export.save`` wrote.
        device: Where its tensors, also those within the graph, are to be.

    Raises:
        ModelError: If it cannot be read, or takes anything but one batch of pictures.
    """
    program = _load_program(file)
    batch, channels, *places = _input_axes(program, file.name)
    try:
        with quiet(*LOGGERS):
            module = torch.export.unflatten(move_to_device_pass(program, device))
    except (RuntimeError, ValueError, AssertionError, KeyError, AttributeError) as error:
        if ran_out_of_memory(error):
            raise
        raise ModelError(f"'{file.name}' cannot be turned into layers ({one_line(error)}).") from None
    size = tuple(axis.example for axis in places)
    return OpenedNetwork(
        module=module,
        name=file.stem,
        origin={"source": "torch.export", "file": file.name},
        notes=_note_training(program),
        fixed_batch=None if batch.from_one else batch.example,
        fixed_size=None if all(axis.free for axis in places) else size,
        input_size=size,
        channels=channels.example,
    )


def _load_program(file: Path) -> ExportedProgram:
    try:
        with quiet(*LOGGERS):
            return torch.export.load(file)
    except Exception as error:
        if ran_out_of_memory(error):
            raise
        reason = one_line(error, most=120)
    raise ModelError(
        f"'{file.name}' cannot be read by PyTorch {torch.__version__}: it is damaged or was exported by another "
        f"version ({reason})."
    )


def _input_axes(program: ExportedProgram, name: str) -> list[_InputAxis]:
    inputs = [node.meta.get("val") for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    if len(inputs) != 1:
        raise ModelError(f"'{name}' takes {len(inputs)} inputs; expected one, a batch of pictures (N, C, H, W).")
    shape: tuple[Any, ...] = tuple(getattr(inputs[0], "shape", ()))
    if count_places(shape) not in KINDS:
        raise ModelError(
            f"'{name}' takes an input of {len(shape)} dimensions; expected pictures (N, C, H, W), signals "
            f"{spell_shape(SIGNAL)} or volumes {spell_shape(VOLUME)}."
        )
    seen = program.example_inputs[0][0].shape if program.example_inputs and program.example_inputs[0] else shape
    return [_input_axis(program, size, example) for size, example in zip(shape, seen, strict=True)]


def _input_axis(program: ExportedProgram, size: Any, example: Any) -> _InputAxis:
    if isinstance(size, int):
        return _InputAxis(size)
    hint = example if isinstance(example, int) else size.node.hint
    allowed = program.range_constraints.get(size.node.expr)
    free = allowed is not None and not allowed.upper.is_Integer
    return _InputAxis(int(hint), free, from_one=free and bool(allowed.lower <= 1))


def _note_training(program: ExportedProgram) -> tuple[str, ...]:
    for node in program.graph.nodes:
        operation = getattr(node.target, "_schema", None)
        place = TRAINING.get(operation.name) if operation is not None else None
        if place is not None and len(node.args) > place and node.args[place] is True:
            return ("it was exported in training mode: call eval() before torch.export",)
    return ()
