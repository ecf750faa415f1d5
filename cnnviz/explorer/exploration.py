"""What is explored: one network or two, pictures, and perhaps a data set and an index of its patches."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cnnviz.catalogue import CATALOGUE, command_name, load, proper_name
from cnnviz.core.dimensions import KINDS, PICTURE
from cnnviz.core.picture import Picture
from cnnviz.errors import CnnvizError, MissingExtraError, UnknownNameError, UsageError
from cnnviz.explorer.cache import Cache
from cnnviz.explorer.pictures import Shelf
from cnnviz.explorer.worker import Worker

if TYPE_CHECKING:
    from torch import Tensor

    from cnnviz.images.datasets.dataset import Dataset
    from cnnviz.method import Method
    from cnnviz.models.model import Model
    from cnnviz.results.patch_index import PatchIndex

__all__ = ["MOST_NETWORKS", "Exploration", "ExploredNetwork", "maps_of"]

MOST_NETWORKS: Final = 2
"""Networks side by side."""
NO_MAPS: Final = ("dff", "filters", "features", "patches", "maximize", "captum")
"""Methods of the catalogue that give no map of a picture and a class by default."""


@dataclass(frozen=True)
class ExploredNetwork:
    """A network, and how it is opened again.

    Attributes:
        number: 0, or 1 for the second.
        model: The network.
        command: The options that open it on the command line; empty where only a script can.
        code: The Python that opens it; empty likewise.
    """

    number: int
    model: Model
    command: str
    code: str

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells its answers from another's."""
        return self.number, self.model.name

    def describe(self) -> dict[str, Any]:
        """What there is to say, as plain values."""
        model = self.model
        return {
            "id": self.number,
            "name": model.name,
            "classes": len(model.labels or ()),
            "labels": list(model.labels or ()),
            "input": list(model.preprocess.input_size),
            "device": str(model.device),
            "head": str(model.head),
            "layer": self.usual_layer,
            "layers": len(model.layers),
            "command": self.command,
            "python": self.code,
        }

    @property
    def usual_layer(self) -> str | None:
        """The last layer with places that the top class depends on; None where there is none."""
        from cnnviz.methods.cams.rank_layers import choose_layer

        try:
            return choose_layer(self.model)
        except CnnvizError:
            return None

    def cut(self, picture: Picture) -> tuple[Tensor, Picture]:
        """The network's input ``(C, H, W)``, and the picture with how it was cut."""
        values, cut = self.model.preprocess(picture)
        assert isinstance(cut, Picture)
        return values, cut


class Exploration:
    """Everything that the browser can ask about.

    Attributes:
        networks: One or two.
        shelf: The pictures.
        data: The data set; None for none.
        index: An index of patches; None for none.
        worker: Asks the networks.
        cache: What was answered.

    Args:
        models: One network, or two.
        pictures: The pictures to begin with.
        commands: For each network the options that open it.
        data: A data set, opened.
        index: An index of patches, read.

    Raises:
        UsageError: If there are more than two networks, one takes no pictures, or the index is of others or of another
            data set.
    """

    def __init__(
        self,
        models: Sequence[Model],
        pictures: Sequence[Picture],
        *,
        commands: Sequence[str] = (),
        data: Dataset | None = None,
        index: PatchIndex | None = None,
    ) -> None:
        if not 1 <= len(models) <= MOST_NETWORKS:
            raise UsageError(f"The explorer shows one network or two side by side; got {len(models)}.")
        for model in models:
            if model.places != PICTURE:
                raise UsageError(f"The explorer shows pictures; '{model.name}' takes {KINDS[model.places]}s.")
        known = [*commands, *("" for _ in models)]
        self.networks = tuple(
            ExploredNetwork(number, model, known[number] or _command_of(model), _code_of(model))
            for number, model in enumerate(models)
        )
        _check_index([network.model for network in self.networks], index, data)
        self.data, self.index = data, index
        self._scanned: dict[tuple[int, str], PatchIndex] = {}
        self.shelf = Shelf(pictures, data)
        self._told = [network.describe() for network in self.networks]
        self.worker, self.cache = Worker(), Cache()

    def network(self, number: int) -> ExploredNetwork:
        """The network of that number.

        Raises:
            UnknownNameError: If there is none.
        """
        if not 0 <= number < len(self.networks):
            raise UnknownNameError("network", str(number), map(str, range(len(self.networks))))
        return self.networks[number]

    def index_of(self, network: ExploredNetwork, layer: str) -> PatchIndex | None:
        """The index that holds a layer: the one given, if it is of the network, or one that was scanned meanwhile."""
        found = self._scanned.get((network.number, layer))
        if found is not None or self.index is None or layer not in self.index.layers:
            return found
        told = self.index.manifest.get("network", {})
        return self.index if told.get("weights_sha256") == network.model.fingerprint() else None

    def take_index(self, network: ExploredNetwork, index: PatchIndex) -> None:
        """Hold what a scan has found."""
        self._scanned.update({(network.number, layer): index for layer in index.layers})

    def describe(self) -> dict[str, Any]:
        """What the page shows first, as plain values."""
        return {
            "networks": self._told,
            "pictures": [self.describe_picture(key) for key in self.shelf.keys],
            "methods": [_describe_method(method) for method in maps_of()],
            "data": None if self.data is None else self.data.name,
            "data_pictures": 0 if self.data is None else len(self.data),
            "index": None if self.index is None else ", ".join(self.index.layers),
            "title": " and ".join(network.model.name for network in self.networks),
        }

    def describe_picture(self, key: str) -> dict[str, Any]:
        """What there is to say of a picture, as plain values."""
        picture = self.shelf.picture(key)
        height, width = picture.size
        return {
            "key": key,
            "name": picture.name,
            "width": width,
            "height": height,
            "label": self.shelf.label(key),
            "notes": list(picture.notes),
        }


def _check_index(models: Sequence[Model], index: PatchIndex | None, data: Dataset | None) -> None:
    """Refuse an index of another network, or of another data set than the one given: its numbers name others."""
    if index is None:
        return
    network, then = index.manifest["network"], index.manifest["data"]
    if all(network.get("weights_sha256") != model.fingerprint() for model in models):
        raise UsageError(f"The index is of the network '{network['name']}' with other weights than those explored.")
    if data is not None and then["fingerprint"] != data.fingerprint:
        raise UsageError(
            f"The index is of the data set '{then['name']}' with {then['pictures']} pictures; '{data.name}' has other "
            "ones."
        )


def maps_of() -> list[Method[Any, Any]]:
    """The methods that map what speaks for a class on a picture."""
    return [load(name) for name in CATALOGUE if name not in NO_MAPS]


def find_method(name: str) -> Method[Any, Any]:
    """A method with maps, by its command's or its function's name.

    Raises:
        UnknownNameError: If there is none; the message offers the nearest names.
    """
    known = {command_name(method.name): method for method in maps_of()}
    known |= {method.name: method for method in known.values()}
    if name not in known:
        raise UnknownNameError("method", name[:80], known)
    return known[name]


def _describe_method(method: Method[Any, Any]) -> dict[str, Any]:
    return {
        "name": command_name(method.name),
        "proper": proper_name(method.name),
        "summary": method.summary,
        "family": CATALOGUE[method.name].family,
        "cost": CATALOGUE[method.name].cost,
        "needs_layer": "layer" in method.parameters,
        "needs_target": "target" in method.needs,
        "pixelwise": method.usual == "Attributions",
        "seconds": None,
    }


def _opening_of(model: Model) -> dict[str, Any]:
    """What opened a network, where all of it can be written down: by names and plain numbers."""
    opening = dict(model.opening)
    written = all(isinstance(value, (str, int, float, bool, list)) for value in opening.values())
    return opening if written and isinstance(opening.get("model"), str) else {}


OPTION_NAMES: Final = {"value_range": "range", "rate": "sampling-rate"}


def _command_of(model: Model) -> str:
    words: list[str] = []
    for name, value in _opening_of(model).items():
        words.append(f"--{OPTION_NAMES.get(name, name).replace('_', '-')}")
        if isinstance(value, list):
            words.append(("x" if name in ("input_size", "grid") else ",").join(map(str, value)))
        elif value is not True:
            words.append(str(value))
    return shlex.join(words)


def _code_of(model: Model) -> str:
    opening = _opening_of(model)
    if not opening:
        return ""
    more = "".join(f", {name}={value!r}" for name, value in opening.items() if name != "model")
    return f"cnnviz.load_model({opening['model']!r}{more})"


def need_server() -> None:
    """Refuse to start where what serves pages is not installed.

    Raises:
        MissingExtraError: If it is not.
    """
    from importlib.util import find_spec

    if any(find_spec(name) is None for name in ("starlette", "uvicorn")):
        raise MissingExtraError("The explorer", "explore")


def as_bytes(values: np.ndarray[Any, Any]) -> bytes:
    """Numbers as little-endian float32, row by row, as a browser reads them."""
    return np.ascontiguousarray(values, dtype="<f4").tobytes()
