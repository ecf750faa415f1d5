"""Outcomes: what a network answers of every picture of a data set, found in blocks, and as much of it as is needed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.core.capacity import ran_out_of_memory
from cnnviz.core.change import contextmanager
from cnnviz.core.dimensions import PICTURE, is_dense
from cnnviz.engine.batching import in_slices
from cnnviz.engine.capture import capture
from cnnviz.engine.scores.score import check_labels, class_probabilities
from cnnviz.engine.scores.similarity import embedding_of
from cnnviz.engine.undisturbed import reproducible, undisturbed
from cnnviz.errors import CnnvizError, ExplanationError, ModelError, PictureError
from cnnviz.images.datasets.dataset import Dataset
from cnnviz.methods.scan.loader import Block, example_shape, load_blocks

if TYPE_CHECKING:
    from cnnviz.auditing.truth import Truth
    from cnnviz.models.model import Model

__all__ = ["KEPT", "Outcomes", "find_outcomes", "usual_block"]

KEPT: Final = 5
"""Classes whose probabilities are kept of every picture, the most probable first."""

MOST_LOGITS: Final = 1 << 24
"""Logits that are kept: of all pictures, or of a random part of them where these are more."""

MOST_CHANNELS: Final = 512
"""Numbers of an embedding that is kept; longer ones are projected at random."""

THUMBNAIL: Final = 16


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What a network answered of the pictures that have a true class and could be read.

    Attributes:
        images: ``(N,)`` int64: their numbers in the data set, ascending.
        truth: ``(N,)`` int64: their true classes.
        top: ``(N, k)`` int64: the most probable classes, the first first.
        shares: ``(N, k)`` float32: their probabilities.
        true_shares: ``(N,)`` float32: the true class's probability.
        ranks: ``(N,)`` int64: how many classes come before the true one; 0 for a right answer.
        sampled: ``(M,)`` int64: rows whose logits are kept, ascending.
        logits: ``(M, K)`` float32.
        embeddings: ``(N, C)`` float16, of length 1; zeros where there is none.
        prints: ``(N, 256)`` float16: thumbnails of the network's input, of mean 0 and length 1; zeros of even ones.
        digests: ``(N,)``: what tells equal inputs.
        failures: Number and sentence of pictures that could not be used.
        layer: The layer whose output is the embedding, its mean over places.
        outputs: How many classes there are.
        block: Pictures that were computed together.
    """

    images: NDArray[np.int64]
    truth: NDArray[np.int64]
    top: NDArray[np.int64]
    shares: NDArray[np.float32]
    true_shares: NDArray[np.float32]
    ranks: NDArray[np.int64]
    sampled: NDArray[np.int64]
    logits: NDArray[np.float32] = field(repr=False)
    embeddings: NDArray[np.float16] = field(repr=False)
    prints: NDArray[np.float16] = field(repr=False)
    digests: NDArray[np.bytes_] = field(repr=False)
    failures: tuple[tuple[int, str], ...]
    layer: str
    outputs: int
    block: int

    def __len__(self) -> int:
        return len(self.images)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """``(N,)``: the most probable class."""
        return self.top[:, 0]

    @property
    def confidence(self) -> NDArray[np.float32]:
        """``(N,)``: its probability."""
        return self.shares[:, 0]

    @property
    def right(self) -> NDArray[np.bool_]:
        """``(N,)``: whether it is the true class."""
        return np.asarray(self.predicted == self.truth, dtype=np.bool_)


def usual_block(model: Model) -> int:
    """Pictures that are computed together where nothing says how many."""
    return model.fixed_batch or (8 if model.device.type == "cpu" else 128)


def find_outcomes(
    model: Model, data: Dataset, truth: Truth, *, block: int | None = None, workers: int | None = None, seed: int = 0
) -> Outcomes:
    """Ask a network about every picture of a data set that has a true class; one that cannot be read is counted.

    Memory holds one block of pictures at a time, of all pictures a few numbers each, and the logits of so many as make
    up 64 MiB.

    Args:
        model: The network.
        data: The pictures.
        truth: Their true classes.
        block: Pictures that are computed together.
        workers: Processes that read pictures; default: up to 4.
        seed: Of the part whose logits are kept.

    Raises:
        PictureError: If no picture has a class that the network has, or not one of them can be read.
        ExplanationError: If the network gives pictures no class.
        ModelError: If a block does not fit into memory.
    """
    if not truth.known:
        raise PictureError(f"No picture of '{data.name}' has a class that the network has. {_first_note(truth)}")
    size = model.fixed_batch or block or usual_block(model)
    wanted = np.unique(np.flatnonzero(truth.classes >= 0) // size).tolist()
    shape = example_shape(model, data)
    scorer = _OutcomeCounter(model, data, truth, shape, seed)
    with _conditions(model, scorer.layer) as run:
        loaded = load_blocks(model, data, wanted, shape=shape, size=size, workers=workers)
        try:
            in_slices(len(wanted), lambda _: scorer.count(next(loaded), run), size=1)
        except Exception as error:
            if isinstance(error, CnnvizError) or not ran_out_of_memory(error):
                raise
            raise ModelError(f"A block of {size} pictures does not fit into memory; choose a smaller one.") from error
    return scorer.gathered(size)


@contextmanager
def _conditions(model: Model, layer: str) -> Iterator[_EmbeddingRun]:
    device = model.device
    with undisturbed(model.module), reproducible(device), torch.autocast(device.type, enabled=False), torch.no_grad():
        yield _EmbeddingRun(model, layer)


class _EmbeddingRun:
    """A forward with what the layer of the embedding gave."""

    def __init__(self, model: Model, layer: str) -> None:
        self._model, self._layer = model, layer

    def __call__(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        inputs = self._model.to_device(inputs)
        if not self._layer:
            logits = self._model.forward(inputs)
            return logits, logits
        with capture(self._model.module, [], [self._layer]) as caught:
            logits = self._model.forward(inputs)
            return logits, embedding_of(self._layer, logits, caught)[0]


class _OutcomeCounter:
    """Blocks counted one after another."""

    def __init__(self, model: Model, data: Dataset, truth: Truth, shape: tuple[int, ...], seed: int) -> None:
        self._model, self._data, self._truth = model, data, truth
        self._pictures = len(shape) == PICTURE + 1
        self._held = _Rows(truth.known)
        self._failures: list[tuple[int, str]] = []
        self.layer = _embedding_layer(model)
        self._rng = np.random.default_rng(seed)
        known = np.flatnonzero(truth.classes >= 0)
        most = max(1, MOST_LOGITS // max(1, len(truth.labels)))
        drawn = known if len(known) <= most else np.sort(self._rng.choice(known, most, replace=False))
        self._kept = np.zeros(len(truth), bool)
        self._kept[drawn] = True
        self._logits = _Rows(len(drawn))
        self._projection: NDArray[np.float32] | None = None

    def count(self, block: Block, run: _EmbeddingRun) -> None:
        """Count a block's pictures in; those that give no numbers are failures."""
        self._failures += [each for each in block.failures if self._truth.classes[each[0]] >= 0]
        chosen = [
            (row, image) for row, image in zip(block.rows, block.images, strict=True) if self._truth.classes[image] >= 0
        ]
        if not chosen:
            return
        logits, vectors = run(block.inputs)
        _ensure_classes(self._model, logits)
        rows, images = [row for row, _ in chosen], np.array([image for _, image in chosen], dtype=np.int64)
        logits, vectors = logits.float().cpu()[rows], vectors.float().cpu()[rows]
        sound = logits.isfinite().all(dim=1).numpy()
        self._failures += [
            (int(image), f"For '{self._data.keys[image]}' the network gives values that are no finite numbers.")
            for image in images[~sound]
        ]
        if sound.any():
            self._count_sound(images[sound], logits[sound], vectors[sound], block.inputs[rows][sound])

    def _count_sound(self, images: NDArray[np.int64], logits: Tensor, vectors: Tensor, inputs: Tensor) -> None:
        truth = torch.from_numpy(self._truth.classes[images])
        shares = class_probabilities(logits, self._model.head)
        order = logits.sort(dim=1, descending=True, stable=True).indices
        top = order[:, :KEPT]
        self._logits.add(logits=logits.numpy()[self._kept[images]])
        self._held.add(
            images=images,
            truth=truth.numpy(),
            top=top.numpy(),
            shares=shares.gather(1, top).numpy(),
            true_shares=shares.gather(1, truth[:, None])[:, 0].numpy(),
            ranks=(order == truth[:, None]).int().argmax(dim=1).numpy().astype(np.int64),
            embeddings=_unit(self._projected(vectors.numpy())).astype(np.float16),
            prints=self._thumbnails(inputs),
            digests=np.array([hashlib.sha256(each.numpy().tobytes()).digest() for each in inputs.float()], "S32"),
        )

    def _projected(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Long embeddings at random in fewer dimensions, in which cosines stay as they are within a few percent."""
        if vectors.ndim != 2 or vectors.shape[1] <= MOST_CHANNELS:
            return vectors.reshape(len(vectors), -1)
        if self._projection is None:
            drawn = np.random.default_rng(0).standard_normal((vectors.shape[1], MOST_CHANNELS))
            self._projection = drawn.astype(np.float32)
        return vectors @ self._projection

    def _thumbnails(self, inputs: Tensor) -> NDArray[np.float16]:
        if not self._pictures:
            return np.zeros((len(inputs), 1), np.float16)
        grey = inputs.float().mean(dim=1, keepdim=True)
        small = torch.nn.functional.interpolate(grey, (THUMBNAIL, THUMBNAIL), mode="area").flatten(1).numpy()
        return _unit(small - small.mean(axis=1, keepdims=True)).astype(np.float16)

    def gathered(self, block: int) -> Outcomes:
        """All that was counted.

        Raises:
            PictureError: If that is nothing.
        """
        failures = tuple(sorted(self._failures))
        if not self._held.count:
            raise PictureError(f"No picture of the data set could be used. The first: {failures[0][1]}")
        joined = self._held.arrays()
        logits = self._logits.arrays()["logits"]
        return Outcomes(
            **joined,
            sampled=np.flatnonzero(self._kept[joined["images"]]).astype(np.int64),
            logits=logits,
            failures=failures,
            layer=self.layer,
            outputs=int(logits.shape[1]),
            block=block,
        )


class _Rows:
    """Arrays that are filled from their beginning; made at once, so that no small piece of memory keeps others apart.

    Args:
        most: Rows that there can be.
    """

    def __init__(self, most: int) -> None:
        self._most, self._arrays = most, dict[str, NDArray[Any]]()
        self.count = 0

    def add(self, **values: NDArray[Any]) -> None:
        """Append some rows to every array."""
        number = 0
        for name, rows in values.items():
            number = len(rows)
            if name not in self._arrays:
                self._arrays[name] = np.empty((self._most, *rows.shape[1:]), rows.dtype)
            self._arrays[name][self.count : self.count + number] = rows
        self.count += number

    def arrays(self) -> dict[str, Any]:
        """The rows that there are."""
        return {name: each[: self.count] for name, each in self._arrays.items()}


def _embedding_layer(model: Model) -> str:
    """The layer whose mean over places is the embedding; empty where only the output is one."""
    if model.embedding is not None:
        return model.embedding
    try:
        return model.layers.last_spatial().name
    except CnnvizError:
        return ""


def _ensure_classes(model: Model, logits: Tensor) -> None:
    """Refuse what gives no classes of whole pictures.

    Raises:
        ExplanationError: If it gives values, boxes or a class for every pixel.
        TargetError: If there are not as many labels as classes.
    """
    given = None
    if model.detecting:
        given = "boxes"
    elif is_dense(logits):
        given = "a class for every pixel"
    elif not model.head.probable:
        given = "values and no classes"
    if given:
        raise ExplanationError(f"An audit is of networks that give each picture a class; '{model.name}' gives {given}.")
    check_labels(model.labels, logits.shape[1])


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    sound = np.isfinite(lengths) & (lengths > 1e-12)
    return np.where(sound, vectors / np.where(sound, lengths, 1), 0).astype(np.float32)


def _first_note(truth: Truth) -> str:
    note = truth.notes[-1] if truth.notes else ""
    return f"{note[:1].upper()}{note[1:]}." if note else ""
