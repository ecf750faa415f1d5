"""write_maps: raw maps of a whole data set in one zarr store, by one process, several, or several jobs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from cnnviz.core.atomic import write_whole
from cnnviz.errors import OutputError
from cnnviz.method import interruptible

if TYPE_CHECKING:
    from cnnviz.bulk.map_request import DataLike, MapRequest
    from cnnviz.bulk.map_store import MapStore
    from cnnviz.bulk.open_maps import Maps
    from cnnviz.core.target import TargetLike
    from cnnviz.method import Method
    from cnnviz.methods.scan.manifest import Manifest
    from cnnviz.models.model import Model

__all__ = ["ENDING", "merge_maps", "write_maps"]

ENDING = ".zarr"
"""How a store's name ends."""
MOST_NAMED = 5


@overload
def write_maps(
    model: Model,
    data: DataLike,
    method: str | Method[Any, Any],
    path: str | os.PathLike[str],
    target: TargetLike | Sequence[TargetLike] = None,
    *,
    shard: None = None,
    block: int | None = None,
    threads: int | None = None,
    workers: int | None = None,
    replace: bool = False,
    settings: Mapping[str, Any] | None = None,
    **more: Any,
) -> Maps: ...
@overload
def write_maps(
    model: Model,
    data: DataLike,
    method: str | Method[Any, Any],
    path: str | os.PathLike[str],
    target: TargetLike | Sequence[TargetLike] = None,
    *,
    shard: str,
    block: int | None = None,
    threads: int | None = None,
    workers: int | None = None,
    replace: bool = False,
    settings: Mapping[str, Any] | None = None,
    **more: Any,
) -> Maps | None: ...
@interruptible
def write_maps(
    model: Model,
    data: DataLike,
    method: str | Method[Any, Any],
    path: str | os.PathLike[str],
    target: TargetLike | Sequence[TargetLike] = None,
    *,
    shard: str | None = None,
    block: int | None = None,
    threads: int | None = None,
    workers: int | None = None,
    replace: bool = False,
    settings: Mapping[str, Any] | None = None,
    **more: Any,
) -> Maps | None:
    """Explain every picture of a data set by one method, and write the raw maps into a zarr store.

    The maps are written block by block, one chunk a block, so memory does not grow with the data set. Stopped at any
    moment, the same call goes on where it was. Under ``torchrun`` its processes share the work, and so do jobs with
    ``shard``. The store has the same bytes however it was made. A picture that cannot be read or explained has a map of
    NaN, and is named in the store.

    The store is a zarr 3 group of arrays with one entry a picture: ``maps`` (raw and signed, ``(N, h, w)``, of methods
    that attribute to pixels ``(N, C, H, W)``), ``keys``, ``targets``, ``indices`` (of the classes explained),
    ``scores``, ``probabilities``, and ``labels`` where the data set has classes. ``zarr.open(path)["maps"]`` and
    ``xarray.open_zarr(path, consolidated=False)`` read it too. Its attributes hold the record of how it was made.

    Args:
        model: The network.
        data: A folder of pictures, a list of them, ``"shapes:500"`` or whatever else ``open_dataset`` opens; also
            images as all methods take them.
        method: A method that gives one map of each picture, such as ``"gradcam"`` or ``cnnviz.saliency``.
        path: Where to, a name that ends in ``.zarr``.
        target: What is explained: None is each picture's top class; a class, a unit or anything else that methods take;
            or a list with one for each picture.
        shard: ``"2/3"`` does the second third of the work; the last of the same calls without it, or ``merge_maps``,
            makes the store.
        block: Pictures explained together; default: the method's ``batch_size``, or what has begun already.
        threads: CPU threads that compute; default: 1, or what has begun already.
        workers: Processes that read pictures; default: up to 4.
        replace: Whether a store of something else at that path is deleted.
        settings: Settings of the method by name, such as ``{"layer": "layer3"}``.
        **more: Likewise, of those whose names are not taken here.

    Returns:
        The store, opened; None with ``shard``, unless it is finished.

    Raises:
        UnknownNameError: If there is no such method, layer or label.
        UsageError: If the method gives no map of each picture, or has no such setting.
        PictureError: If the data set cannot be opened, or not one of its pictures be used.
        OutputError: If there is a store of something else at that path, or it cannot be written.
        MissingExtraError: If zarr is not installed: ``pip install 'cnnviz[data]'``.
    """
    from cnnviz.bulk.map_request import MapRequest, MapSettings
    from cnnviz.bulk.map_store import MapStore
    from cnnviz.bulk.open_maps import open_maps
    from cnnviz.bulk.zarr_group import load_zarr
    from cnnviz.engine.undisturbed import fixed_threads
    from cnnviz.methods.scan.processes import conditions, own_numbers, processes
    from cnnviz.methods.scan.scope import JobShare

    where, how = _store_path(path), MapSettings(block, threads, workers)
    load_zarr()
    share = None if shard is None else JobShare.parse(shard)
    request = MapRequest.of(model, data, method, target, {**(settings or {}), **more})
    team = processes(model.device)
    wanted = request.manifest(how)
    manifest = team.first(lambda: MapStore.begin(where, wanted, how.left_open, replace=replace))
    store = MapStore(where, manifest)
    if not team.first(lambda: store.finished):
        missing = team.first(store.parts.missing)
        ours = own_numbers(missing, team, share)
        with conditions(model), fixed_threads(int(manifest["threads"])):
            team.all(lambda: _ask_blocks(request, manifest, store, ours, how.workers))
        if share is not None:
            return None
    team.first(store.finish)
    return open_maps(where)


def _ask_blocks(
    request: MapRequest, manifest: Manifest, store: MapStore, numbers: Sequence[int], workers: int | None
) -> int:
    """Find the maps of some blocks; how many blocks these are."""
    from cnnviz.bulk.asker import Asker
    from cnnviz.engine.batching import in_slices
    from cnnviz.methods.scan.loader import example_shape, load_blocks

    if not numbers:
        return 0
    model, data, size = request.model, request.data, int(manifest["block"])
    shape, asker, labels = example_shape(model, data), Asker(request), data.labels
    asker.warm(load_blocks(model, data, range(min(size, len(data))), shape=shape, size=1, workers=0))
    loaded = load_blocks(model, data, numbers, shape=shape, size=size, workers=workers)

    def ask(_some: slice) -> None:
        block = next(loaded)
        some = range(block.number * size, min((block.number + 1) * size, len(data)))
        own = labels[some.start : some.stop].tolist()
        store.keep(block.number, asker.ask(block), data.keys[some.start : some.stop], own)

    in_slices(len(numbers), ask, size=1)
    return len(numbers)


def merge_maps(stores: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], into: str | os.PathLike[str]) -> Maps:
    """Make the store whose blocks several jobs found; it is, byte for byte, the one that a single job makes.

    Needs neither the network nor the pictures. What the jobs wrote stays where it is, unless it is in that store.

    Args:
        stores: What the jobs wrote to; one, if it was the same for all.
        into: The store; may be one of them.

    Raises:
        OutputError: If they hold parts of different work, parts are missing or damaged, or it cannot be written.
        PictureError: If not one picture of the data set could be used.
        MissingExtraError: If zarr is not installed.
    """
    from cnnviz.bulk.map_store import MapStore
    from cnnviz.bulk.open_maps import open_maps
    from cnnviz.bulk.zarr_group import load_zarr

    load_zarr()
    several = [stores] if isinstance(stores, (str, os.PathLike)) else list(stores)
    paths, target = [Path(each) for each in several], _store_path(into)
    manifest = _common_manifest(paths)
    MapStore.begin(target, manifest, (), replace=False)
    whole = MapStore(target, manifest)
    others = [MapStore(path, manifest) for path in paths if path.resolve() != target.resolve()]
    if not whole.finished:
        _copy_parts(others, whole)
        whole.finish()
    return open_maps(target)


def _common_manifest(paths: Sequence[Path]) -> Manifest:
    """The one manifest of several stores.

    Raises:
        OutputError: If one has none, or they differ.
    """
    from cnnviz.bulk.map_store import KIND, read_manifest

    first: Manifest | None = None
    for path in paths:
        manifest = read_manifest(path) if path.is_dir() else None
        if manifest is None:
            raise OutputError(f"'{path}' holds no part of a store of maps.")
        if first is not None and (difference := KIND.difference(first, manifest)):
            raise OutputError(
                f"These are not parts of one store: '{path}' is of {difference}, beside '{paths[0]}'. Run all jobs "
                "with the same settings, data set and versions."
            )
        first = first or manifest
    if first is None:
        raise OutputError("Name the stores to merge.")
    return first


def _copy_parts(others: Sequence[MapStore], whole: MapStore) -> None:
    """Copy the blocks that a store lacks from others.

    Raises:
        OutputError: If no store has some of them, or they cannot be copied.
    """
    lacking = [number for number in whole.parts.missing() if not whole.parts.file(number).exists()]
    for number in lacking:
        source = next((each for each in others if each.parts.file(number).exists()), None)
        if source is None:
            continue
        part = source.read(number)
        if part.shape is not None:
            axes = len(part.shape)
            whole.write_chunk(number, axes, _read_bytes(source.chunk(number, axes)))
        write_whole(whole.parts.file(number), _read_bytes(source.parts.file(number)))
    left = [number for number in lacking if not whole.parts.file(number).exists()]
    if left:
        named = ", ".join(map(str, left[:MOST_NAMED])) + (", ..." if len(left) > MOST_NAMED else "")
        raise OutputError(
            f"{len(left)} of {whole.manifest.shards} blocks are missing ({named}): a job has not finished, or wrote to "
            "a place that is not seen from here. Run it again and it goes on where it was."
        )


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OutputError(f"'{path}' cannot be read: {error.strerror or error}.") from error


def _store_path(path: str | os.PathLike[str]) -> Path:
    """The path of a store.

    Raises:
        OutputError: If its name has another ending.
    """
    if Path(path).suffix != ENDING:
        raise OutputError(f"The name of a store of maps ends in {ENDING}; got '{path}'.")
    return Path(path)
