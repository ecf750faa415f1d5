"""Pictures of the patches in an index: read again, run again to verify every value, cut, perhaps projected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cnnviz.core.layer import split_call
from cnnviz.errors import ParameterError, UsageError
from cnnviz.images.datasets.dataset import Dataset
from cnnviz.methods.patches.cut import PatchGeometry, PatchRows, PatchSelection
from cnnviz.methods.patches.reread import Rereader, RereadPicture
from cnnviz.methods.scan.manifest import IDENTITY
from cnnviz.methods.units.features import parse_units
from cnnviz.methods.units.projections import project_places
from cnnviz.models.model import Model
from cnnviz.provenance import Provenance
from cnnviz.results.patch_index import NO_IMAGE, LayerIndex, PatchIndex, Samples
from cnnviz.results.patches import ClassMatrix, Patches, Strip, View, paste_window

__all__ = ["SELECTIVE", "show_patches", "project_strips"]


def project_strips(
    model: Model, layer: str, units: Sequence[int], strips: Sequence[Strip], inputs: Mapping[int, Tensor]
) -> tuple[tuple[Strip, ...], tuple[str, ...]]:
    """Rows of patches with their projections, and what the rule did.

    Args:
        model: The network.
        layer: The layer.
        units: A unit for each row.
        strips: The rows; their marks say that patches are whole images.
        inputs: ``(C, ...)`` of every image in them.

    Raises:
        ExplanationError: If the deconvnet rule changes what the network computes.
    """
    projector = _PatchProjector(model, layer, inputs)
    done = []
    for strip in strips:
        rows = [projector.row(unit, strip, row) for row, unit in enumerate(units)]
        done.append(replace(strip, projections=np.stack(rows)))
    return tuple(done), tuple(projector.checks)


class _PatchProjector:
    """Projects activations of one layer.

    Attributes:
        checks: What the rule did.
    """

    def __init__(self, model: Model, layer: str, inputs: Mapping[int, Tensor]) -> None:
        self._model, self._layer, self._inputs = model, layer, inputs
        usual = model.preprocess.channels, *model.preprocess.input_size
        self._shape = next((tuple(each.shape) for each in inputs.values()), usual)
        self.checks: dict[str, None] = {}

    def row(self, unit: int, strip: Strip, row: int) -> NDArray[np.float32]:
        """One unit's projections ``(K, C, ...)``, NaN beyond the input and where there is no patch."""
        boxes, size = strip.boxes.copy(), self._shape[1:]
        if strip.marks is not None:
            boxes[:] = *(0 for _ in size), *size
        lengths = boxes[..., len(size) :] - boxes[..., : len(size)]
        sides = lengths.reshape(-1, len(size)).max(axis=0).tolist()
        found = np.full((strip.images.shape[1], self._shape[0], *sides), np.nan, dtype=np.float32)
        ranks = np.flatnonzero(strip.images[row] != NO_IMAGE)
        if not len(ranks):
            return found
        given = torch.stack([self._inputs[int(strip.images[row, rank])] for rank in ranks])
        values, notes = project_places(self._model, given, self._layer, unit, strip.positions[row, ranks])
        self.checks.update(dict.fromkeys(notes))
        for rank, one in zip(ranks, values, strict=True):
            found[rank] = paste_window(one, boxes[row, rank, : len(size)].tolist(), sides)
        return found


SELECTIVE = "selective"
USUAL = 16
TOLERANCE = 1e-4
DEAD = "the units shown are dead (constant over all images), so the images shown for them are arbitrary"


def show_patches(
    model: Model,
    data: Dataset,
    index: PatchIndex,
    *,
    layer: str,
    units: str | None = None,
    show: int = 9,
    samples: bool = False,
    deconvnet: bool = False,
) -> Patches:
    """The strongest patches of units, cut from the photographs; every picture shown is run again to verify its value.

    Args:
        model: The network that the index is of.
        data: The data set that the index is of.
        index: Where in the data set every unit responds most.
        layer: One of the index's layers.
        units: Numbers and ranges such as ``"0-15"``; ``"selective"`` takes for each class of the data set the unit that
            is most selective for it; None takes the first 16 that are not dead.
        show: Most patches a unit.
        samples: Whether the index's random samples are shown too, one from every tenth.
        deconvnet: Whether each patch's activation is projected back to the pixels.

    Raises:
        UnknownNameError: If the index has no such layer.
        ParameterError: If there is no such unit.
        UsageError: If the network or the data set is another than the index's, or the index has no random samples.
    """
    found = index.layer(layer)
    _ensure_same(model, data, index.manifest)
    matrix = _class_matrix(found, index)
    chosen = _choose_units(units, found, matrix)
    selections = [
        PatchSelection(found.values[chosen, :show], found.images[chosen, :show], found.positions[chosen, :show])
    ]
    if samples:
        selections.append(_select_samples(found.samples, chosen))
    cut = _cut_patches(_PatchContext(model, data, index.manifest, found.name, chosen), selections, deconvnet=deconvnet)
    return Patches(
        layer=layer,
        units=tuple(chosen),
        top=cut.strips[0],
        samples=cut.strips[1] if samples else None,
        ranked=found.ranked,
        view=cut.view,
        counts=found.counts[chosen],
        active=found.active[chosen],
        means=found.means[chosen],
        ties=found.ties[chosen],
        dead=found.dead[chosen],
        matrix=matrix,
        model=model.name,
        data=data.name,
        checks=(
            *cut.checks,
            *([DEAD] if found.dead[chosen].all() else []),
            *model.layers[split_call(layer)[0]].describe_call(layer),
            *model.steadiness.checks,
            *_describe_failures(index),
            *data.notes,
        ),
        provenance=_provenance(model, data, layer, index.manifest),
    )


@dataclass(frozen=True, eq=False)
class _CutPatches:
    """Rows of patches that were cut, whether they are fields or images, and what was verified."""

    strips: tuple[Strip, ...]
    view: View
    checks: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _PatchContext:
    """The network, data set, layer and units whose patches are shown."""

    model: Model
    data: Dataset
    manifest: Mapping[str, Any]
    layer: str
    units: Sequence[int]


def _cut_patches(context: _PatchContext, selections: Sequence[PatchSelection], *, deconvnet: bool) -> _CutPatches:
    """Cut all patches, reading and running every picture once."""
    geometry = PatchGeometry(
        context.model.layers.resolve(context.layer).field_of(context.layer), context.model.preprocess.input_size
    )
    reader = Rereader(context.model, context.data, context.layer, context.manifest)
    images = sorted({int(image) for one in selections for image in one.images.flat if image != NO_IMAGE})
    rows: list[PatchRows] = []
    inputs: dict[int, Tensor] = {}
    for block in reader.blocks(images, context.units, maps=geometry.view == "image"):
        if not rows:
            geometry = _fit_geometry(geometry, list(block.values()))
            rows = [PatchRows(one, context.units, geometry) for one in selections]
        for image, reread in block.items():
            for each_rows in rows:
                each_rows.add(image, reread)
        if deconvnet:
            inputs |= {image: reread.inputs for image, reread in block.items()}
    rows = rows or [PatchRows(one, context.units, geometry) for one in selections]
    strips = tuple(each_rows.strip(context.data) for each_rows in rows)
    checks = _describe_verification(
        max(each_rows.worst for each_rows in rows),
        sum(each_rows.moved for each_rows in rows),
        len(images) - len(reader.lost),
    )
    if deconvnet:
        strips, notes = project_strips(context.model, context.layer, context.units, strips, inputs)
        checks += notes
    return _CutPatches(
        strips,
        geometry.view,
        (*checks, *geometry.caveat, *(f"no longer readable: {sentence}" for sentence in reader.lost)),
    )


def _fit_geometry(geometry: PatchGeometry, reread: Sequence[RereadPicture]) -> PatchGeometry:
    """The geometry for inputs and photographs as large as these are."""
    scales = [max(one.picture.geometry.scale) for one in reread if one.picture.geometry]
    size = tuple(map(int, reread[0].inputs.shape[1:]))
    return replace(geometry, scale=float(np.median(scales or [1.0])), input=size)


def _describe_verification(worst: float, moved: int, pictures: int) -> tuple[str, ...]:
    if worst > TOLERANCE:
        return (
            f"the values shown are not what the network gives now: run again, the pictures shown differ by up to "
            f"{worst:.2g} of a unit's largest value",
        )
    if moved:
        return (
            f"{moved} of the patches shown lie at another place than the largest value has: run again, the pictures "
            "gave the index's values, but elsewhere in the layer",
        )
    exact = "exactly" if not worst else f"to {worst:.1g} of a unit's largest"
    return (f"verified: the {pictures} pictures shown were run again and gave the index's values {exact}",)


def _ensure_same(model: Model, data: Dataset, manifest: Mapping[str, Any]) -> None:
    """Refuse an index of another network or data set: its numbers would name other units or pictures.

    Raises:
        UsageError: If it is.
    """
    network, then = manifest["network"], manifest["data"]
    told = model.describe()
    if any(network.get(name) != told.get(name) for name in IDENTITY if name != "name"):
        raise UsageError(
            f"The index is of the network '{network['name']}' with other weights or preprocessing, or other fixed "
            f"inputs, than '{model.name}' has now; scan again into another folder."
        )
    if then["fingerprint"] != data.fingerprint:
        raise UsageError(
            f"The data set '{data.name}' has changed since the index was made ({then['pictures']} pictures then, "
            f"{len(data)} now), so the index no longer names the same pictures; scan again into another folder."
        )


def _class_matrix(found: LayerIndex, index: PatchIndex) -> ClassMatrix | None:
    if found.class_means is None or index.classes is None or index.class_counts is None:
        return None
    return ClassMatrix(found.class_means, index.classes, index.class_counts)


def _choose_units(units: str | None, found: LayerIndex, matrix: ClassMatrix | None) -> list[int]:
    if units is None:
        alive = np.flatnonzero(~found.dead)
        return [int(unit) for unit in (alive if len(alive) else np.arange(len(found)))[:USUAL]]
    if units != SELECTIVE:
        return parse_units(units, found.name, len(found))
    if matrix is None:
        raise UsageError("The data set has no classes, so no unit is selective for one; name units such as 0-15.")
    best = dict.fromkeys(unit for index in range(len(matrix.classes)) for unit in matrix.most_selective(index, 1))
    if not best:
        raise ParameterError(f"No unit of '{found.name}' responds to one class more than to the others.")
    return parse_units(",".join(map(str, best)), found.name, len(found))


def _select_samples(samples: Samples | None, chosen: Sequence[int]) -> PatchSelection:
    """The first sample of every tenth, the highest tenth first."""
    if samples is None:
        raise UsageError("The index has no random samples; scan again with samples, into another folder.")
    first: tuple[NDArray[Any], ...] = tuple(
        each[list(chosen), ::-1, 0] for each in (samples.values, samples.images, samples.positions)
    )
    return PatchSelection(*first)


def _describe_failures(index: PatchIndex) -> tuple[str, ...]:
    """What to say of pictures that could not be read."""
    if not index.failures:
        return ()
    first, count = index.failures[0], len(index.failures)
    return (f"pictures that could not be read: {count} of {count + index.images} (the first: {first.sentence})",)


def _provenance(model: Model, data: Dataset, layer: str, manifest: Mapping[str, Any]) -> Provenance:
    return Provenance(
        model=model.describe(),
        images=({"name": data.name, "sha256": data.fingerprint, "kind": "dataset"},),
        layer=layer,
        device=str(manifest["device"]),
        dtype=str(manifest["dtype"]),
        threads=int(manifest["threads"]),
        chunk=int(manifest["block"]),
    )
