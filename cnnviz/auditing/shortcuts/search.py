"""The search in one class: its clusters, and whether what a cluster looks at is a shortcut.

A cluster is flagged if covering its place with other classes' pictures makes the class less probable on the cluster's
own, and putting the content that they have in common there on pictures of other classes makes it more probable there,
both beyond the interval, and on most of these classes. An honest object that always lies at one place fails the second:
pictures of it that differ have only a blur in common. Content that covers another class's mark fails the third.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from cnnviz.auditing.shortcuts.channels import channel_contributions, telling_channels
from cnnviz.auditing.shortcuts.clusters import cluster, shrink
from cnnviz.auditing.shortcuts.common_content import PixelMoments, common_content, exchange, put
from cnnviz.auditing.shortcuts.effects import Effect, ask_probabilities, effect_of
from cnnviz.auditing.shortcuts.findings import LEAST_RISE, ClassClusters, Cluster, Example, is_shortcut
from cnnviz.auditing.shortcuts.places import common_place, looked_at, mean_map
from cnnviz.core.target import ClassTarget
from cnnviz.results.patch_index import NO_IMAGE

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from cnnviz.auditing.shortcuts.channels import ChannelShare
    from cnnviz.auditing.shortcuts.common_content import Content
    from cnnviz.auditing.shortcuts.relevance import Reader, Relevance
    from cnnviz.results.patch_index import PatchIndex

__all__ = ["Search", "share_raised"]

OTHERS: Final = 160
"""Pictures of all classes from which those of other classes are taken, which are given a content or give theirs."""

SMALLEST: Final = 8
"""Pictures of a cluster whose effects are measured."""

TYPICAL: Final = 4
"""Pictures shown of a cluster."""

EXCITING: Final = 3
"""Pictures named of those that excite a channel most."""


@dataclass(frozen=True)
class Search:
    """Searches the classes of a data set one by one.

    Attributes:
        reader: Reads pictures.
        relevance: What is known of all pictures that are looked at.
        labels: What the network's classes are called.
        layer: The layer whose channels are told, or ``"last-spatial"``.
        patches: An index of patches of that layer, or None.
        by_channel: Whether pictures are clustered by what the layer's channels add, instead of by their maps.
        seed: Of clusters and bootstrap.
    """

    reader: Reader
    relevance: Relevance
    labels: tuple[str, ...]
    layer: str
    patches: PatchIndex | None = None
    by_channel: bool = False
    seed: int = 0

    @cached_property
    def _sample(self) -> _Asked:
        """Pictures of all classes, evenly spread, with the network's answers."""
        number = len(self.relevance.images)
        rows = np.unique(np.linspace(0, number - 1, min(OTHERS, number)).round().astype(np.int64))
        return self._asked(rows)

    def _asked(self, rows: NDArray[np.int64]) -> _Asked:
        inputs = self.reader.inputs(self.relevance.images[rows])
        answers = ask_probabilities(self.reader.model, inputs, batch_size=self.reader.block)
        return _Asked(inputs, answers, self.relevance.classes[rows])

    def search(self, index: int) -> ClassClusters:
        """The clusters of a class, the whole class first.

        Args:
            index: The class.

        Raises:
            MissingExtraError: If scikit-learn is not installed.
            PictureError: If a picture cannot be read any more.
        """
        rows = np.flatnonzero(self.relevance.classes == index)
        asked, maps = self._asked(rows), self.relevance.maps[rows]
        layer, added = channel_contributions(
            self.reader.model, self.layer, asked.inputs, [ClassTarget(index)] * len(rows), batch_size=self.reader.block
        )
        found = cluster(_unit_rows(added) if self.by_channel else shrink(maps), fewest=2, seed=self.seed)
        whole = np.ones(len(rows), np.bool_)
        parts = [found.labels == number for number in range(found.count)] if found.count > 1 else []
        examined = _ClassSearch(self, index, rows, asked, added, layer)
        clusters = tuple(
            examined.examine(inside, number)
            for number, inside in enumerate([whole, *parts])
            if inside.sum() >= SMALLEST or number == 0
        )
        right = self.relevance.answers[rows] == index
        return ClassClusters(
            index, self.labels[index], len(rows), float(right.mean()), found.eigenvalues, clusters, layer
        )


@dataclass(frozen=True, eq=False)
class _Asked:
    """Inputs ``(n, C, H, W)``, the network's probabilities ``(n, K)`` and the true classes ``(n,)``."""

    inputs: Tensor
    answers: NDArray[np.float64]
    classes: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _ClassSearch:
    """One class: its pictures' rows in the relevance, what was asked of them, and what each channel adds."""

    search: Search
    index: int
    rows: NDArray[np.int64]
    asked: _Asked
    added: NDArray[np.float64]
    layer: str
    own: PixelMoments = field(init=False)

    def __post_init__(self) -> None:
        own = PixelMoments(self.asked.inputs.shape[1:])
        own.add(self.asked.inputs)
        object.__setattr__(self, "own", own)

    def examine(self, inside: NDArray[np.bool_], number: int) -> Cluster:
        """A cluster, number 0 the whole class, with its place and its effects."""
        relevance = self.search.relevance
        rows, inputs = self.rows[inside], self.asked.inputs[torch.from_numpy(inside)]
        some = PixelMoments(inputs.shape[1:])
        some.add(inputs)
        content = common_content(some, relevance.moments.without(self.own))
        mean = mean_map(relevance.maps[rows])
        place = common_place(looked_at(mean, (inputs.shape[2], inputs.shape[3])), content, len(inputs))
        hidden, given, raised, example = self._effects(inside, place, content)
        likeness = shrink(relevance.maps[rows], max(mean.shape)) @ mean.ravel()
        typical = rows[np.argsort(-likeness, kind="stable")[:TYPICAL]]
        return Cluster(
            number=number,
            images=tuple(relevance.images[rows].tolist()),
            typical=tuple(relevance.images[typical].tolist()),
            share=len(rows) / len(self.rows),
            accuracy=float((relevance.answers[rows] == self.index).mean()),
            mean_map=mean,
            place=place.numpy(),
            hidden=hidden,
            given=given,
            raised=raised,
            channels=self._channels(inside),
            example=example if is_shortcut(hidden, given, raised) else None,
        )

    def _channels(self, inside: NDArray[np.bool_]) -> tuple[ChannelShare, ...]:
        """The channels that tell the cluster from the rest of its class, with what excites them most in the index."""
        found, index, layer = telling_channels(self.added, inside), self.search.patches, self.layer
        if index is None:
            return found
        images = index.layers[layer].images
        return tuple(
            replace(each, excited_by=tuple(index.keys[at] for at in images[each.channel, :EXCITING] if at != NO_IMAGE))
            for each in found
        )

    def _effects(
        self, inside: NDArray[np.bool_], place: Tensor, content: Content
    ) -> tuple[Effect, Effect, float, Example]:
        """What hiding the place does to the class on the cluster, what giving the content does on other pictures."""
        sample, seed = self.search._sample, self.search.seed
        others = np.flatnonzero(sample.classes != self.index)
        donors = np.random.default_rng([seed, self.index]).permutation(others)
        own = self.asked.inputs[torch.from_numpy(inside)]
        covered = exchange(own, sample.inputs[torch.from_numpy(np.resize(donors, len(own)))], place)
        hidden = effect_of(self.asked.answers[inside], self._ask(covered), self.index, seed=seed)
        pasted = put(sample.inputs[torch.from_numpy(others)], content, place)
        before, after = sample.answers[others], self._ask(pasted)
        given = effect_of(before, after, self.index, seed=seed)
        raised = share_raised(after[:, self.index] - before[:, self.index], sample.classes[others])
        return (
            hidden,
            given,
            raised,
            self._example(sample.inputs[torch.from_numpy(others)], pasted, content, before, after),
        )

    def _example(
        self,
        inputs: Tensor,
        pasted: Tensor,
        content: Content,
        before: NDArray[np.float64],
        after: NDArray[np.float64],
    ) -> Example:
        """The picture whose probability of the class rises most."""
        best = int((after[:, self.index] - before[:, self.index]).argmax())
        shown = torch.stack([content.mean, inputs[best], pasted[best]])
        mean, other, changed = self.search.reader.model.preprocess.to_pixels(shown)
        labels = self.search.labels
        return Example(
            mean,
            other,
            changed,
            labels[int(before[best].argmax())],
            labels[int(after[best].argmax())],
            float(before[best, self.index]),
            float(after[best, self.index]),
        )

    def _ask(self, inputs: Tensor) -> NDArray[np.float64]:
        return ask_probabilities(self.search.reader.model, inputs, batch_size=self.search.reader.block)


def share_raised(changes: NDArray[np.float64], classes: NDArray[np.int64]) -> float:
    """Share of classes on whose pictures a probability rises by 10 points or more in the mean.

    Args:
        changes: ``(N,)``: how far it rises on each picture.
        classes: ``(N,)``: the pictures' classes.
    """
    means = [changes[classes == each].mean() for each in np.unique(classes)]
    return float(np.mean([mean >= LEAST_RISE for mean in means]))


def _unit_rows(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of length 1, of zeros where there is nothing."""
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(np.divide(values, lengths, out=np.zeros_like(values), where=lengths > 0))
