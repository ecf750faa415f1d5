"""Networks of timm, by name; timm is an optional library."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from torch import nn
from torchvision.models import get_model_weights

from cnnviz.core.capacity import ran_out_of_memory
from cnnviz.errors import MissingExtraError, ModelError, UnknownNameError, WeightsError
from cnnviz.models.downloads import is_reachable
from cnnviz.models.formats import wants_random
from cnnviz.models.origin import RANDOM, OpenedNetwork, one_line, quiet
from cnnviz.models.preprocess import Preprocess
from cnnviz.models.sources.registries import HUB_FILES, PREFIX, TimmWeights, has_timm
from cnnviz.models.state_dict import build_for
from cnnviz.models.weights import read_checkpoint

__all__ = ["open_timm"]

ELSEWHERE: Final = ("hf-hub:", "hf_hub:", "local-dir:")
LOGGERS: Final = ("timm", "timm.models._builder", "timm.models._hub", "huggingface_hub")
FAILURES: Final = (RuntimeError, OSError, ValueError, KeyError, TypeError, AssertionError, ImportError)
WEIGHT_BYTES, MEGABYTE = 4, 1e6


def open_timm(name: str, weights: str | os.PathLike[str] | None = None) -> OpenedNetwork:
    """Open a network of timm.

    Args:
        name: Its name, such as ``"resnet18.a1_in1k"``, with or without ``timm:`` before it.
        weights: A file, ``"none"`` for random ones, or None for those that timm has.

    Raises:
        MissingExtraError: If timm is not installed.
        UnknownNameError: If timm has no network of that name.
        WeightsError: If the weights are neither cached nor reachable, or do not fit.
    """
    library = _import_timm()
    name = name.removeprefix(PREFIX)
    _check_name(library, name)
    if wants_random(weights):
        return _describe_network(library, _create_network(library, name), name, "random", notes=(RANDOM,))
    if weights is None:
        return _describe_network(library, _create_trained(library, name), name, "timm")
    checkpoint = read_checkpoint(weights)
    classes = library.get_pretrained_cfg(name).num_classes if not name.startswith(ELSEWHERE) else None

    def build(count: int | None) -> nn.Module:
        return _create_network(library, name, **({} if count is None else {"num_classes": count}))

    fitted = build_for(checkpoint, build, name, classes)
    opened = _describe_network(
        library, fitted.module, name, checkpoint.name, classes=fitted.classes, notes=fitted.notes
    )
    return replace(opened, assumed=f"preprocessing was not given: that of timm's {name} assumed")


def _import_timm() -> Any:
    if not has_timm():
        raise MissingExtraError("A network of timm", "timm")
    import timm
    import timm.data

    return timm


def _check_name(library: Any, name: str) -> None:
    if name.startswith(ELSEWHERE):
        return
    plain, _, tag = name.partition(".")
    if not library.is_model(plain):
        raise UnknownNameError("timm network", name, library.list_models())
    tags = library.list_models(f"{plain}.*", pretrained=True)
    if tag and name not in tags:
        raise UnknownNameError("timm network", name, tags, f"'{plain}' has {len(tags)} sets of weights.")


def _create_network(library: Any, name: str, **settings: Any) -> nn.Module:
    try:
        with quiet(*LOGGERS):
            module: nn.Module = library.create_model(name, **{"pretrained": False, **settings})
    except FAILURES as error:
        if ran_out_of_memory(error):
            raise
        raise ModelError(f"timm cannot build '{name}' ({one_line(error)}).") from None
    return module


def _create_trained(library: Any, name: str) -> nn.Module:
    if name.startswith(ELSEWHERE):
        if not name.startswith("local-dir:") and not is_reachable(_hub_address()):
            raise WeightsError(f"'{name}' is not a file here, and {_hub_address()} cannot be reached.")
        return _create_network(library, name, pretrained=True)
    config = library.get_pretrained_cfg(name)
    if not config.has_weights:
        raise WeightsError(f"timm has no trained weights for '{name}'; take weights of your own, or --weights none.")
    file = _cached_weights(config)
    if file:
        return _create_network(library, name, pretrained=True, pretrained_cfg_overlay={"file": str(file)})
    address = _hub_address() if config.hf_hub_id else config.url
    if not is_reachable(address):
        raise WeightsError(_explain_unreachable(library, name, config, address))
    return _create_network(library, name, pretrained=True)


def _cached_weights(config: Any) -> Path | None:
    return TimmWeights(config.hf_hub_id, config.hf_hub_filename, config.url).cached()


def _hub_address() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def _explain_unreachable(library: Any, name: str, config: Any, address: str) -> str:
    parameters = sum(weight.numel() for weight in _create_network(library, name).parameters())
    size = f"about {parameters * WEIGHT_BYTES / MEGABYTE:.0f} MB"
    file = config.hf_hub_filename or HUB_FILES[0]
    what = f"{file} of {config.hf_hub_id}" if config.hf_hub_id else Path(config.url).name
    return (
        f"The weights of timm's {name} ({what}, {size}) are not in the cache, and {address.split('/')[2]} cannot be "
        "reached; pass the file as --weights FILE, or take random ones with --weights none."
    )


def _describe_network(
    library: Any,
    module: nn.Module,
    name: str,
    weights: str,
    *,
    classes: int | None = None,
    notes: tuple[str, ...] = (),
) -> OpenedNetwork:
    config: dict[str, Any] = getattr(module, "pretrained_cfg", None) or {}
    classes = classes or getattr(module, "num_classes", None) or None
    tag = config.get("tag")
    return OpenedNetwork(
        module=module,
        name=name.rsplit("/", 1)[-1],
        origin={"source": "timm", "weights": tag or weights if weights == "timm" else weights},
        preprocess=Preprocess.from_timm(library.data.resolve_model_data_config(module)),
        labels=_label_names(library, config, classes),
        classes=classes,
        notes=notes,
    )


def _label_names(library: Any, config: dict[str, Any], classes: int | None) -> list[str] | None:
    """The names that the weights bring along; torchvision's for ImageNet's 1000 classes, so that a target is one."""
    own = config.get("label_names")
    if own and len(own) == classes:
        described = config.get("label_descriptions") or {}
        return [str(described.get(name, name)) for name in own]
    subset = library.data.infer_imagenet_subset({"num_classes": classes})
    if subset is None or config.get("num_classes") != classes:
        return None
    if subset == "imagenet-1k":
        return list(get_model_weights("resnet50").DEFAULT.meta["categories"])
    return list(library.data.ImageNetInfo(subset).label_descriptions())
