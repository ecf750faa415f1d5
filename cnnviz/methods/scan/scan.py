"""A scan: one pass over a data set, block by block, that ends in an index of its top-activating patches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.core.capacity import free_memory, ran_out_of_memory, spell_bytes
from cnnviz.core.change import contextmanager
from cnnviz.engine.batching import in_slices
from cnnviz.engine.layers import observe_layers
from cnnviz.engine.tally.recorder import PeakRecorder, RecordedLayer, observe_outputs
from cnnviz.engine.tally.tally import BlockPeaks, Tally
from cnnviz.engine.undisturbed import fixed_threads
from cnnviz.errors import ModelError, OutputError, ParameterError, UsageError
from cnnviz.images.datasets.dataset import Dataset
from cnnviz.methods.scan.index import choose_sample, finish_index
from cnnviz.methods.scan.loader import Block, example_shape, load_blocks
from cnnviz.methods.scan.manifest import Manifest, agree_on_manifest, ensure_fitting, read_manifest
from cnnviz.methods.scan.processes import conditions, own_numbers, processes
from cnnviz.methods.scan.scope import JobShare, ScanRequest, choose_layers
from cnnviz.methods.scan.shards import Shards, read_finished
from cnnviz.models.model import Model
from cnnviz.results.patch_index import PatchIndex

__all__ = ["scan"]

BYTES_OF_A_VALUE = 64
"""Value, image and place, and what merging two lists of them takes."""


def scan(
    model: Model, data: Dataset, folder: Path | None, request: ScanRequest, share: JobShare | None = None
) -> tuple[PatchIndex | None, list[str]]:
    """Scan a data set, or what is left of it to scan.

    Args:
        model: The network.
        data: The pictures.
        folder: Where manifest, shards and index lie; None keeps them in memory.
        request: What is asked.
        share: The part that is this job's; None is all, shared among the processes that torchrun started.

    Returns:
        The index, or None for a share of one that is not there yet; and the names of the layers that were asked for.

    Raises:
        CnnvizError: See ``cnnviz.patches``.
    """
    shape, described = example_shape(model, data), model.describe()
    team = processes(model.device)
    with conditions(model, autocast=request.autocast), torch.no_grad():
        if folder is None and (team.count > 1 or share is not None):
            raise UsageError("Processes that scan together need a folder for their index, which all of them see.")
        example = model.to_device(torch.zeros(model.fixed_batch or 1, *shape))
        names = _choose_names(model, example, request.layer)
        layers = observe_outputs(model.module, example, _names_of_index(folder, names))
        _ensure_room(request.k, sum(layer.units for layer in layers))
        wanted = Manifest.of(model, described, data, layers, request)
        manifest = team.first(lambda: agree_on_manifest(folder, wanted, request))
        team.all(lambda: ensure_fitting(manifest, wanted, request, str(folder)))
        shards = Shards(folder, manifest)
        if not team.first(lambda: read_finished(folder, manifest) is not None):
            index = None
            with _unless_finished(folder, manifest):
                missing = team.first(shards.missing)
                with fixed_threads(manifest["threads"]):
                    work = _Scanner(model, data, shape, manifest, layers)
                    team.all(lambda: work.do(own_numbers(missing, team, share), shards, request.workers))
                if share is not None:
                    return None, names
                index = team.first(lambda: _write_index(shards, manifest, folder))
        found = index if folder is None else PatchIndex.read(folder)
        if found is not None and found.complete:
            team.first(shards.clear)
        return found, names


class _Scanner:
    """A network that is run over blocks of a data set."""

    def __init__(
        self,
        model: Model,
        data: Dataset,
        shape: tuple[int, ...],
        manifest: Manifest,
        layers: Sequence[RecordedLayer],
    ) -> None:
        self._model, self._data, self._shape, self._manifest, self._layers = model, data, shape, manifest, layers
        self._labels = data.labels
        self._sample = choose_sample(len(data), manifest["samples"], manifest["seed"])
        self._units = sum(layer.units for layer in layers)

    def do(self, numbers: Sequence[int], shards: Shards, workers: int | None) -> int:
        """Find some shards; how many they were.

        Raises:
            ModelError: If a block does not fit into the device's memory, or the network fails.
        """
        ends = {self._manifest.blocks_of(number)[-1]: number for number in numbers}
        blocks = [block for number in numbers for block in self._manifest.blocks_of(number)]
        waiting: list[_ComputedBlock] = []
        tally = Tally.empty(self._units, self._manifest["k"])

        def count_first() -> None:
            nonlocal tally
            computed = waiting.pop(0)
            self._count(computed, tally)
            if (number := ends.get(computed.block.number)) is not None:
                tally.keys = {image: self._data.keys[image] for image in tally.occurring()}
                shards.keep(number, tally)
                tally = Tally.empty(self._units, self._manifest["k"])

        at_once = 1 if self._model.device.type == "cpu" else 2  # a GPU computes while the block before it is counted
        with PeakRecorder(self._model.module, self._layers) as recorder:
            size = self._manifest["block"]
            loaded = load_blocks(self._model, self._data, blocks, shape=self._shape, size=size, workers=workers)

            def ask(_some: slice) -> None:
                waiting.append(self._compute(recorder, next(loaded)))
                if len(waiting) == at_once:
                    count_first()

            try:
                in_slices(len(blocks), ask, size=1)
            except Exception as error:
                if not ran_out_of_memory(error):
                    raise
                raise ModelError(_describe_too_large(self._manifest["block"])) from error
            while waiting:
                count_first()
        return len(numbers)

    def _compute(self, recorder: PeakRecorder, block: Block) -> _ComputedBlock:
        values, places = recorder(self._model.to_device(block.inputs))
        return _ComputedBlock(block, values, places)

    def _count(self, computed: _ComputedBlock, tally: Tally) -> None:
        """Count a block's images in; those that give something else than numbers are failures."""
        block = computed.block
        rows = list(block.rows)
        values, places = (each.cpu().numpy()[rows] for each in (computed.values, computed.places))
        images = np.array(block.images, np.int64)
        sound = np.isfinite(values).all(axis=1)
        unsound = [
            (int(images[row]), self._describe_unsound(int(images[row]), values[row])) for row in np.flatnonzero(~sound)
        ]
        tally.failures += sorted([*block.failures, *unsound])
        tally.passing |= set(block.passing)
        values, places, images = values[sound] + np.float32(0), places[sound], images[sound]  # no zero has a sign
        sampled = np.isin(images, self._sample)
        tally.absorb(BlockPeaks(values, places, images, self._labels[images], sampled))

    def _describe_unsound(self, image: int, values: NDArray[np.float32]) -> str:
        first = int(np.flatnonzero(~np.isfinite(values))[0])
        ends = np.cumsum([layer.units for layer in self._layers])
        layer = self._layers[int(np.searchsorted(ends, first, side="right"))]
        return f"For '{self._data.keys[image]}' the network gives values that are no finite numbers at '{layer.name}'."


@dataclass(frozen=True)
class _ComputedBlock:
    """What a block gave: values and places ``(B, U)``, on the device."""

    block: Block
    values: Tensor
    places: Tensor


def _ensure_room(k: int, units: int) -> None:
    """Refuse to keep more values than fit into memory, before a folder has been promised them."""
    needed, free = k * units * BYTES_OF_A_VALUE, free_memory()
    if free is not None and needed > free:
        raise ParameterError(
            f"k={k} largest values of {units} units take {spell_bytes(needed)} of memory, and {spell_bytes(free)} are "
            f"free; choose at most k={max(1, free // (units * BYTES_OF_A_VALUE))}."
        )


def _choose_names(model: Model, example: Tensor, text: str) -> list[str]:
    """The layers that a text names."""
    usual = tuple(example.shape[2:]) == tuple(model.preprocess.input_size)
    return choose_layers(text, model.layers if usual else observe_layers(model.module, example))


def _names_of_index(folder: Path | None, names: list[str]) -> list[str]:
    """The layers of the index that is there already, if all that are asked for are among them; or else these."""
    there = read_manifest(folder) if folder else None
    held = [str(layer["name"]) for layer in there["layers"]] if there else []
    return held if set(names) <= set(held) else names


def _write_index(shards: Shards, manifest: Manifest, folder: Path | None) -> PatchIndex | None:
    """The index, or where there is a folder None, with the index in it."""
    if folder is None:
        return finish_index(shards.tallies(), manifest)
    if read_finished(folder, manifest) is None:  # another run may have been quicker, and have deleted the shards
        finish_index(shards.tallies(), manifest).write(folder)
    return None


@contextmanager
def _unless_finished(folder: Path | None, manifest: Manifest) -> Iterator[None]:
    """Inside, a file that is gone does not matter once another run has finished the index and cleared up."""
    try:
        yield
    except OutputError as error:
        finished = None
        with suppress(OutputError):  # an index of something else finishes nothing
            finished = read_finished(folder, manifest)
        if finished is None:
            raise error from None


def _describe_too_large(block: int) -> str:
    advice = f"choose fewer for a new index, such as block={block // 2}" if block > 1 else "choose earlier layers"
    return (
        f"A block of {block} images does not fit into the device's memory. The size of a block decides over the last "
        f"digits of the index, so it does not change on the way; {advice}."
    )
