"""The manifest: all that decides over the bytes of an index, written before anything else."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cnnviz.core.atomic import make_folder, read_record, write_whole
from cnnviz.core.dimensions import KINDS as SAMPLE_KINDS
from cnnviz.core.untrusted import parse_json
from cnnviz.engine.batching import usual_size
from cnnviz.engine.tally.recorder import RecordedLayer
from cnnviz.engine.tally.tally import DESCRIPTION
from cnnviz.errors import OutputError
from cnnviz.images.datasets.dataset import Dataset
from cnnviz.methods.scan.scope import ScanRequest
from cnnviz.models.model import Model
from cnnviz.provenance import __version__

__all__ = [
    "IDENTITY",
    "MANIFEST_FILE",
    "Manifest",
    "agree_on_manifest",
    "describe_device",
    "ensure_fitting",
    "read_manifest",
]

MANIFEST_FILE = "manifest.json"
LAYOUT = 1
A_SHARD, MOST_SHARDS = 256, 128
DEFAULT_THREADS = 1
NAMES = {
    "layout", "network", "data", "classes", "layers", "k", "block", "blocks_a_shard", "threads", "samples", "seed",
    "autocast", "device", "dtype", "bins", "versions",
}  # fmt: skip
"""What every manifest says."""

KINDS: Mapping[str, type] = {
    **dict.fromkeys(("network", "data", "versions"), dict), **dict.fromkeys(("device", "dtype", "bins"), str),
    "layers": list, "autocast": bool,
}  # fmt: skip
NUMBERS: Mapping[str, int] = {
    **dict.fromkeys(("layout", "k", "block", "blocks_a_shard", "threads"), 1), **dict.fromkeys(("samples", "seed"), 0),
}  # fmt: skip
MOST = 2**62
"""What these are; of numbers the least, and the most that any of them is."""

IDENTITY = ("name", "weights_sha256", "preprocess", "inputs", "forward")
"""What of a network's description decides over its answers; the last two of one that is called in a way of its own."""

FOUND = re.compile(r"(?:shard-\d+|index)\.safetensors")
PLAIN_FAILURE = 2
"""How much an index says of a picture that never can be read; of others it says more."""

LEFT_OPEN = ("block", "threads", "blocks_a_shard")
"""Settings that an index has decided over for all who go on with it."""

AT_LEAST = ("k", "samples")
"""Numbers of which an index that holds more holds what is wanted."""

DIFFERENCES = {
    "network": "another network, or the same with other weights or preprocessing, or other fixed inputs",
    "data": "another data set, or the data set has changed",
    "classes": "a data set with other classes",
    "layers": "other layers",
    "versions": "another version of torch or cnnviz",
    "device": "another kind of device",
    "dtype": "another floating type",
    "layout": "another version of cnnviz",
}


@dataclass(frozen=True)
class Manifest:
    """What an index is of, as plain values.

    Attributes:
        held: The values.
    """

    held: Mapping[str, Any]

    @classmethod
    def of(
        cls, model: Model, told: Mapping[str, Any], data: Dataset, layers: Sequence[RecordedLayer], request: ScanRequest
    ) -> Manifest:
        """What a request comes to; what it leaves open has its default.

        Args:
            model: The network.
            told: Its ``describe()``, from before it was run: some write to their own buffers.
            data: The pictures.
            layers: The layers.
            request: The request.
        """
        count = len(data)
        block = model.fixed_batch or request.block or min(usual_size(model.device), count)
        blocks = -(-count // block)
        held = {
            "layout": LAYOUT,
            "network": {name: told[name] for name in IDENTITY if name in told},
            "data": data.describe(),
            "classes": None if data.classes is None else list(data.classes),
            "layers": [_describe_layer(each) for each in layers],
            "k": int(request.k),
            "block": int(block),
            "blocks_a_shard": int(request.blocks_a_shard or max(-(-A_SHARD // block), -(-blocks // MOST_SHARDS))),
            "threads": int(request.threads or DEFAULT_THREADS),
            "samples": int(request.samples),
            "seed": int(request.seed),
            "autocast": bool(request.autocast),
            "device": describe_device(model.device),
            "dtype": str(model.dtype).removeprefix("torch."),
            "bins": DESCRIPTION,
            "versions": {"cnnviz": __version__, "torch": str(torch.__version__)},
        }
        return cls(json.loads(json.dumps(held)))

    def __getitem__(self, name: str) -> Any:
        return self.held[name]

    @property
    def text(self) -> str:
        """The values as JSON."""
        return json.dumps(self.held, indent=1, sort_keys=True, ensure_ascii=True) + "\n"

    @property
    def digest(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def images(self) -> int:
        """How many images the data set has, readable or not."""
        return int(self["data"]["pictures"])

    @property
    def blocks(self) -> int:
        """How many blocks these are."""
        return -(-self.images // int(self["block"]))

    @property
    def shards(self) -> int:
        """How many shards these are."""
        return -(-self.blocks // int(self["blocks_a_shard"]))

    def blocks_of(self, shard: int) -> range:
        """Numbers of a shard's blocks."""
        size = int(self["blocks_a_shard"])
        return range(shard * size, min((shard + 1) * size, self.blocks))

    def difference(self, other: Manifest, *, but: Sequence[str] = ()) -> str:
        """In what the other differs, in words; empty if in nothing.

        Args:
            other: The other manifest.
            but: What does not matter.
        """
        for name in sorted({*self.held, *other.held} - {*but}, key=lambda name: (name not in DIFFERENCES, name)):
            mine, theirs = self.held.get(name), other.held.get(name)
            if mine != theirs:
                return DIFFERENCES.get(name, f"{name.replace('_', ' ')} {theirs} instead of {mine}")
        return ""


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest in a folder; None if there is none.

    Raises:
        OutputError: If it cannot be read, or is none.
    """
    path = folder / MANIFEST_FILE
    try:
        found = Manifest(dict(parse_json(path.read_bytes())))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError) as error:
        raise OutputError(f"'{path}' cannot be read: {error}.") from error
    if not _is_whole(found):
        raise OutputError(f"'{path}' is damaged, or not a manifest that cnnviz wrote.")
    return found


def _is_whole(manifest: Manifest) -> bool:
    """Whether everything is said that an index rests on, each as what it is."""
    held = manifest.held
    try:
        return (
            held.keys() >= NAMES
            and all(type(held[name]) is kind for name, kind in KINDS.items())
            and all(type(held[name]) is int and least <= held[name] <= MOST for name, least in NUMBERS.items())
            and _are_texts(held["network"][name] for name in ("name", "weights_sha256"))
            and _are_texts(held["data"][name] for name in ("name", "fingerprint"))
            and type(held["data"]["pictures"]) is int
            and 0 < held["data"]["pictures"] <= MOST
            and (held["classes"] is None or (type(held["classes"]) is list and _are_texts(held["classes"])))
            and all(map(_is_layer, held["layers"]))
        )
    except (KeyError, TypeError):
        return False


def _is_layer(told: Any) -> bool:
    numbers = (told["units"], *told["grid"])
    fitting = len(told["grid"]) in SAMPLE_KINDS and all(type(each) is int and 0 < each <= MOST for each in numbers)
    return fitting and _are_texts((told["name"], told["ranked"])) and type(told["signless"]) is bool


def _are_texts(values: Iterable[Any]) -> bool:
    return all(isinstance(each, str) for each in values)


def agree_on_manifest(folder: Path | None, wanted: Manifest, request: ScanRequest) -> Manifest:
    """The manifest of the index in a folder, if it fits what is wanted; or else the wanted one, written there.

    Raises:
        OutputError: If the folder holds an index of something else, or cannot be written.
    """
    if folder is None:
        return wanted
    make_folder(folder)
    there = read_manifest(folder)
    if there is None or not _is_begun(folder, there, wanted):
        write_whole(folder / MANIFEST_FILE, wanted.text.encode())
        return wanted
    return ensure_fitting(there, wanted, request, str(folder))


def _is_begun(folder: Path, there: Manifest, wanted: Manifest) -> bool:
    """Whether a scan has left something that another has to fit: a first one that failed has not.

    Neither has one that lacks pictures which could not be read, and have other sizes now that they can: what it found
    is deleted.
    """
    found = [path for path in folder.iterdir() if FOUND.fullmatch(path.name)]
    same = {"name", "pictures", "classes"}
    before, now = ({key: each.held["data"].get(key) for key in same} for each in (there, wanted))
    if before != now or there["data"] == wanted["data"] or not any(map(_lacks_pictures, found)):
        return bool(found)
    for path in found:
        path.unlink(missing_ok=True)
    return False


def _lacks_pictures(path: Path) -> bool:
    """Whether a shard or an index says that pictures could not be read which perhaps can be another time."""
    _, record = read_record(path)
    failures = record.get("failures")
    said = [failure for failure in failures if isinstance(failure, list)] if isinstance(failures, list) else []
    return bool(record.get("passing")) or any(len(failure) > PLAIN_FAILURE for failure in said)


def ensure_fitting(there: Manifest, wanted: Manifest, request: ScanRequest, where: str) -> Manifest:
    """The manifest that is there already, if it fits what is wanted; what the request leaves open, it decides over.

    An index that holds more than is wanted fits: more values of every unit, or more samples of the same seed.

    Raises:
        OutputError: If it does not fit.
    """
    left = [name for name in LEFT_OPEN if getattr(request, name) is None]
    more = [name for name in AT_LEAST if wanted[name] < there.held.get(name, 0)]
    drawn = [] if request.samples else ["samples", "seed"]
    if difference := wanted.difference(there, but=[*left, *more, *drawn]):
        raise OutputError(
            f"The index in '{where}' is of something else: {difference}. Choose another folder, or delete this one."
        )
    return there


def _describe_layer(layer: RecordedLayer) -> dict[str, Any]:
    return {
        "name": layer.name,
        "ranked": layer.ranked,
        "units": layer.units,
        "grid": list(layer.grid),
        "signless": layer.saturation is not None and not layer.saturation.rectified,
    }


def describe_device(device: torch.device) -> str:
    """A device as manifests name it: its kind, and which GPU it is."""
    return f"cuda, {torch.cuda.get_device_name(device)}" if device.type == "cuda" else device.type
