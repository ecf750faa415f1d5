"""Top-activating patches: what of a data set excites each unit most."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

from annotated_types import Ge, Interval

from cnnviz.core.layer import AUTOMATIC
from cnnviz.method import Seed, check_network, interruptible, method
from cnnviz.methods.scan.scope import JobShare, ScanRequest

if TYPE_CHECKING:
    import os

    from cnnviz.images.datasets.dataset import Dataset
    from cnnviz.images.reading import ImagesLike
    from cnnviz.models.model import Model
    from cnnviz.results.patch_index import PatchIndex
    from cnnviz.results.patches import Patches

    DataLike: TypeAlias = Dataset | ImagesLike

__all__ = ["patches", "scan_patches"]


@method
def patches(
    model: Model,
    data: DataLike,
    *,
    layer: str = AUTOMATIC,
    units: str | None = None,
    show: Annotated[int, Interval(ge=1, le=64)] = 9,
    deconvnet: bool = False,
    index: str | None = None,
    k: Annotated[int, Ge(1)] = 16,
    samples: Annotated[int, Ge(0)] = 0,
    block: Annotated[int, Ge(1)] | None = None,
    threads: Annotated[int, Ge(1)] | None = None,
    workers: Annotated[int, Ge(0)] | None = None,
    autocast: bool = False,
    seed: Seed = 0,
) -> Patches:
    """The image patches of a data set that activate each unit of a layer most (patches).

    One pass over the data set, in which an image counts for a unit by its largest value in the layer's map, at the
    first place that has it. Equal values stand in the order of the images. A layer that ends in a function with a
    ceiling (ReLU6, hard sigmoid, tanh, ...) is ranked by the value before it, since at the ceiling images are equal.
    Pictures that cannot be read are listed, and the pass goes on.

    With ``index`` the pass writes what it finds into that folder, file by file; stopped at any moment, the same call
    goes on where it was. Under ``torchrun`` its processes share the work. The index has the same bytes however it was
    made: images go through the network in blocks of one size, and blocks, threads and versions are in its manifest.

    Args:
        model: The network.
        data: A folder of pictures, a list of them, or whatever else ``open_dataset`` opens; also images as all methods
            take them.
        layer: Layers, separated by commas: names, kinds (``Conv2d``), patterns (``features.*``) or ``all`` (those that
            hold no others). Of the first one patches are shown, the index holds all.
        units: Units that are shown, such as ``0-15``, or ``selective`` for the most selective one of each class;
            default: the first 16 that respond.
        show: Patches shown per unit.
        deconvnet: Whether each patch's activation is shown projected back to the pixels, beside it.
        index: Folder for the index; default: it is held in memory and lost.
        k: Number of largest values kept per unit.
        samples: Images that the index keeps from every tenth of each unit's range, chosen at random; 0 keeps none.
        block: Batch size of the scan; default: the index's own, or 8 on the CPU and 128 on a GPU.
        threads: CPU threads that compute; default: the index's own, or 1, so that any number of processes gives the
            same. Several processes use many cores better than several threads.
        workers: Processes that read pictures; default: up to 4. They change nothing in the index.
        autocast: Whether to compute in bfloat16 where torch finds that safe.
        seed: Seed of the samples.

    Returns:
        The patches of the first layer, cut from the pictures, each verified by running its picture again.

    Raises:
        PictureError: If the data set cannot be opened, or not one of its pictures be read.
        UnknownNameError: If there is no such layer.
        ParameterError: If there is no such unit.
        ExplanationError: If a layer has no units.
        OutputError: If the folder holds an index of something else, or cannot be written.
        ModelError: If a block does not fit into the device's memory.

    Reference:
        Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV 2014, section 4 (the top nine
        activations of a feature map over the validation set).
    """
    from cnnviz.images.datasets.open import open_dataset
    from cnnviz.methods.patches.show import show_patches
    from cnnviz.methods.scan.scan import scan

    opened = open_dataset(data, entrance=model.preprocess.entrance)
    request = ScanRequest(layer, k, block, threads, samples, seed, autocast, workers)
    found, names = scan(model, opened, None if index is None else Path(index), request)
    assert found is not None
    return show_patches(
        model, opened, found, layer=names[0], units=units, show=min(show, k), samples=samples > 0, deconvnet=deconvnet
    )


@interruptible
def scan_patches(
    model: Model,
    data: DataLike,
    index: str | os.PathLike[str] | None = None,
    *,
    shard: str | None = None,
    layer: str = AUTOMATIC,
    k: int = 16,
    samples: int = 0,
    block: int | None = None,
    threads: int | None = None,
    workers: int | None = None,
    autocast: bool = False,
    seed: int = 0,
    blocks_a_shard: int | None = None,
) -> PatchIndex | None:
    """The pass of ``patches`` alone: the index, without pictures; for data sets that several jobs scan.

    Args:
        model: The network.
        data: A folder of pictures, or whatever else ``open_dataset`` opens.
        index: Folder for the index; default: it is held in memory.
        shard: ``"2/3"`` does the second third of the work and leaves the index to ``merge_patches``. Jobs may write to
            one folder or each to its own.
        layer: Layers, separated by commas, as in ``patches``.
        k: Largest values kept of every unit.
        samples: Images kept from every tenth of each unit's range, chosen at random.
        block: Images in one forward.
        threads: CPU threads that compute.
        workers: Processes that read pictures.
        autocast: Whether to compute in bfloat16 where torch finds that safe.
        seed: Seed of the samples.
        blocks_a_shard: Blocks in one file: what is lost at most when a process is stopped. Default: 256 images' worth,
            or as many as make 128 files.

    Returns:
        The index; None with ``shard``, unless the index is there already.

    Raises:
        CnnvizError: As ``patches`` does.
    """
    from cnnviz.images.datasets.open import open_dataset
    from cnnviz.methods.scan.scan import scan

    check_network(model)
    share = None if shard is None else JobShare.parse(shard)
    request = ScanRequest(layer, k, block, threads, samples, seed, autocast, workers, blocks_a_shard)
    opened = open_dataset(data, entrance=model.preprocess.entrance)
    return scan(model, opened, None if index is None else Path(index), request, share)[0]
