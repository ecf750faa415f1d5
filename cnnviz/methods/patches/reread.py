"""Reading the pictures that are shown once more, and running them as the scan did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.core.change import contextmanager
from cnnviz.core.picture import Picture
from cnnviz.core.sample import Sample
from cnnviz.engine.arrangement import to_maps
from cnnviz.engine.partial import run_to
from cnnviz.engine.tally.recorder import PeakRecorder, observe_outputs
from cnnviz.engine.undisturbed import fixed_threads, reproducible, undisturbed
from cnnviz.errors import PictureError
from cnnviz.images.datasets.dataset import Dataset
from cnnviz.methods.prepare import show_tensors
from cnnviz.models.model import Model

__all__ = ["Rereader", "RereadPicture"]


@dataclass(frozen=True, eq=False)
class RereadPicture:
    """A picture as the network was given it, and what a layer made of it.

    Attributes:
        picture: With the geometry of the input.
        inputs: ``(C, ...)``.
        peaks: ``(U,)``: the largest value of every unit, as the scan found it.
        places: ``(U, 2)``: the row and column of that value, the first of equal ones; a number for each axis of places.
        maps: ``(U, ...)``: the layer's output; None if it was not asked for.
        seen: ``(C, ...)``: of a signal or volume its values as the network saw them, without normalisation.
    """

    picture: Sample
    inputs: Tensor
    peaks: NDArray[np.float32]
    places: NDArray[np.int64]
    maps: NDArray[np.float32] | None
    seen: NDArray[np.float32] | None = None


class Rereader:
    """Runs pictures of a data set as far as one layer, in blocks as large as the scan's.

    Args:
        model: The network.
        data: The data set.
        layer: The layer's name.
        manifest: Of the scan: its blocks, threads and precision.

    Attributes:
        lost: A sentence for every picture that can no longer be read.
    """

    def __init__(self, model: Model, data: Dataset, layer: str, manifest: Mapping[str, Any]) -> None:
        self._model, self._data, self._layer = model, data, layer
        self._block, self._threads = int(manifest["block"]), int(manifest["threads"])
        self._halved = bool(manifest["autocast"])
        self.lost: list[str] = []

    def blocks(self, images: Sequence[int], units: Sequence[int], *, maps: bool) -> Iterator[dict[int, RereadPicture]]:
        """Pictures by their number, a block at a time, in the order given; those left out that cannot be read.

        Args:
            images: Their numbers.
            units: The units whose maps are wanted.
            maps: Whether they are.
        """
        read: list[tuple[int, Sample, Tensor]] = []
        for image in images:
            try:
                read.append((image, *self._read(image)))
            except PictureError as error:
                self.lost.append(str(error))
                continue
            if len(read) == self._block:
                yield self._run(read, units, maps=maps)
                read = []
        if read:
            yield self._run(read, units, maps=maps)

    def _read(self, image: int) -> tuple[Sample, Tensor]:
        item = self._data.item(image)
        if isinstance(item, Sample):
            inputs, picture = self._model.preprocess(item)
            return picture, inputs
        return show_tensors(self._model, item[None], [0])[0].changed(name=self._data.keys[image]), item

    def _run(
        self, read: Sequence[tuple[int, Sample, Tensor]], units: Sequence[int], *, maps: bool
    ) -> dict[int, RereadPicture]:
        given = torch.stack([inputs for _, _, inputs in read])
        padding = given[-1:].expand(self._block - len(given), *given.shape[1:])
        batch = self._model.to_device(torch.cat([given, padding]))
        with self._as_scanned():
            (recorded,) = observe_outputs(self._model.module, batch, [self._layer])
            with PeakRecorder(self._model.module, [recorded]) as recorder:
                found = recorder(batch)
            peaks = found[0].float().cpu().numpy()
            places = np.stack(np.unravel_index(found[1].cpu().numpy(), recorded.grid), axis=-1)
            held = self._maps(batch, units) if maps else None
        return {
            image: RereadPicture(
                picture,
                inputs,
                peaks[row],
                places[row],
                None if held is None else held[row],
                None if isinstance(picture, Picture) else self._model.preprocess.to_values(inputs[None])[0],
            )
            for row, (image, picture, inputs) in enumerate(read)
        }

    def _maps(self, batch: Tensor, units: Sequence[int]) -> NDArray[np.float32]:
        layer = self._model.layers.resolve(self._layer)
        output = run_to(self._model.module, self._model.forward, batch, self._layer, layer.call)
        laid = output[:, :, None] if layer.arrangement is None else to_maps(output, layer.arrangement)
        return np.asarray(laid[:, list(units)].float().cpu().numpy())

    @contextmanager
    def _as_scanned(self) -> Iterator[None]:
        """The scan's conditions: kernels, number of threads and precision, the network undisturbed."""
        device = self._model.device
        with (
            undisturbed(self._model.module),
            reproducible(device),
            fixed_threads(self._threads),
            torch.cuda.device(device) if device.type == "cuda" else nullcontext(),
            torch.autocast(device.type, torch.bfloat16, enabled=self._halved),
            torch.no_grad(),
        ):
            yield
