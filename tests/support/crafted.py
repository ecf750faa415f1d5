"""Records as somebody hostile or unlucky would write them into a file, and files of every kind that hold a text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from cnnviz.drawing.files import write_arrays, write_figure, write_page, write_pixels
from cnnviz.drawing.notes import DIGEST, embed_note
from cnnviz.images.reading import read_picture
from cnnviz.models.origin import file_digest

SUFFIXES = (".png", ".jpg", ".webp", ".svg", ".pdf", ".npz", ".html", ".mp4")
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
ZEROS = "0" * 64
DEEP = 3000


def write_with(path: Path, note: str) -> None:
    """A file of the kind that its ending says, with a text as its record."""
    suffix = path.suffix
    if suffix in (".svg", ".pdf"):
        from matplotlib.figure import Figure

        write_figure(path, Figure(figsize=(1, 1)), note)
    elif suffix == ".npz":
        write_arrays(path, {"values": np.zeros(3)}, note)
    elif suffix == ".html":
        opened, closed = '<script type="application/json" id="cnnviz-provenance">', "</script>"
        write_page(path, f"<!DOCTYPE html><title>x</title>{opened}{embed_note(note)}{closed}")
    elif suffix == ".mp4":
        path.write_bytes(b"no film at all")
        digest = f'"{DIGEST}": "{file_digest(path)}"'
        path.with_name(f"{path.name}.json").write_text(f"{{{digest}, {note[1:]}" if note.startswith("{") else note)
    else:
        write_pixels(path, PIXELS, note)


def changed(record: Mapping[str, Any], where: str, value: Any) -> str:
    """The record as text, with another value in one place: ``model.opening.model``."""
    held: Any = deepcopy(dict(record))
    *way, last = where.split(".")
    inner = held
    for name in way:
        inner = inner[int(name)] if isinstance(inner, list) else inner.setdefault(name, {})
    inner[last] = value
    return json.dumps({"cnnviz": held})


def named_file(file: Path, *, shown: str | None = None, function: str | None = None) -> dict[str, str]:
    """A file as records name one, with its true hash."""
    return {
        "file": shown or file.name,
        "sha256": file_digest(file),
        **({} if function is None else {"function": function}),
    }


def opening_what_it_names(honest: Mapping[str, Any], work: Path, outside: Path) -> dict[str, str]:
    """Records that name code, files and folders, with the true hashes of what is there; none may be opened.

    Args:
        honest: Records by method.
        work: The current folder, in which strangers have laid files.
        outside: A folder that nobody gave.
    """
    far, code = str(outside), named_file(work / "evil.py", function="make")
    beyond = {**named_file(outside / "evil.py", function="make")}
    model, output, weights, labels = (f"model.opening.{name}" for name in ("model", "output", "weights", "labels"))
    cam, maximize, patches, report = (honest[name] for name in ("gradcam", "maximize", "patches", "report"))
    hidden = {"sha256": read_picture(outside / "hidden.png").digest}
    unknown = {**cam, "asked": {"target": "no such label"}}
    found = {
        "module": (cam, model, "evil:make"),
        "abort": (cam, model, "os:abort"),
        "server": (cam, model, "http.server:test"),
        "code": (cam, model, code),
        "path": (cam, model, f"{far}/evil.py:make"),
        "up": (cam, model, "../outside/evil.py:make"),
        "exported": (cam, model, named_file(work / "evil.pt2")),
        "index": (patches, "settings.index", f"{far}/index"),
        "judge": (maximize, "asked.judge", "evil:make"),
        "exported by name": (cam, model, "evil.pt2"),
        "code by name": (cam, model, "evil.py:make"),
        "hub": (cam, model, "hf-hub:evil/evil"),
        "timm's hub": (cam, model, "timm:hf-hub:evil/evil"),
        "timm's folder": (cam, model, f"timm:local-dir:{far}"),
        "timm up": (cam, model, "timm:../outside/evil"),
        "escapes": (cam, model, "\x1b[2J\x9bevil\u202e:make"),
        "logits": (cam, output, code),
        "logits by name": (cam, output, "evil.py:make"),
        "logits by path": (cam, output, f"{far}/evil.py:make"),
        "weights": (cam, weights, named_file(work / "evil.pth")),
        "weights by name": (cam, weights, "evil.pth"),
        "weights without ending": (cam, weights, "EVIL"),
        "labels": (cam, labels, named_file(work / "labels.txt")),
        "labels by path": (cam, labels, "/etc/passwd"),
        "judge by path": (maximize, "asked.judge", f"{far}/evil.py:make"),
        "judge of the hub": (maximize, "asked.judge", "timm:hf-hub:evil/evil"),
        "workers": (patches, "settings.workers", 4),
        "data": (patches, "images.0.name", "data"),
        "data by path": (patches, "images.0.name", f"{far}/data"),
        "data up": (patches, "images.0.name", "../outside/data"),
        "data of the hub": (patches, "images.0.name", "hf:evil/evil"),
        "data in a list": (patches, "images.0.name", "list.txt"),
        "data in tars": (patches, "images.0.name", "x-{0..99999999}.tar"),
        "too many shapes": (patches, "images.0.name", "shapes:99999999"),
        "examples": (report, "asked.examples", far),
        "examples of the hub": (report, "asked.examples", "hf:evil/evil"),
        "examples by path": (
            report, "asked.examples", {"kind": "StoredDataset", "name": "../outside/data", "sha256": ZEROS},
        ),
        "too many examples": (report, "asked.examples", "shapes:99999999"),
        "picture by path": (cam, "images", [{**hidden, "name": f"{far}/hidden.png"}]),
        "picture up": (cam, "images", [{**hidden, "name": "../outside/hidden.png"}]),
        "clip": (cam, "images", [{"name": f"{far}/clip.gif", "sha256": ZEROS, "kind": "clip"}]),
        "start": (maximize, "asked.start", f"{far}/hidden.png"),
        "direction": (maximize, "asked.target", ["layer1:vector.npy"]),
        "direction up": (maximize, "asked.target", ["layer1:../outside/vector.npy"]),
        "direction by path": (cam, "asked.target", f"layer1:{far}/vector.npy"),
        "mask": (cam, "asked.target", f"star in {far}/hidden.png"),
        "mask with its hash": (
            cam, "asked", {"target": f"star in {far}/hidden.png", "files": [named_file(outside / "hidden.png")]},
        ),
        "mask by a way with its hash": (
            cam, "asked", {
                "target": f"star in {far}/hidden.png",
                "files": [named_file(outside / "hidden.png", shown=f"{far}/hidden.png")],
            },
        ),
        "mask elsewhere": (
            cam, "asked", {"target": "star in hidden.png", "files": [named_file(outside / "hidden.png")]},
        ),
        "mask in an answer": (unknown, "targets", [f"star in {far}/hidden.png"]),
        "direction in an answer": (unknown, "targets", [f"layer1:{far}/vector.npy"]),
        "compiler": (maximize, "settings.compiled", True),
        "file by path": (cam, model, {**beyond, "file": f"{far}/evil.py"}),
        "format": (cam, "look.format", "../outside/x"),
    }  # fmt: skip
    return {name: changed(*each) for name, each in found.items()}


def trusted_too_far(honest: Mapping[str, Any], work: Path, outside: Path) -> dict[str, str]:
    """Records that are refused although the user trusts what has the hash that they name."""
    model, cam = "model.opening.model", honest["gradcam"]
    beyond = named_file(outside / "evil.py", function="make")
    found = {
        "another hash": {"file": "evil.py", "sha256": ZEROS, "function": "make"},
        "no hash": {"file": "evil.py", "sha256": "000", "function": "make"},
        "hash of a file elsewhere": beyond,
        "up": {**beyond, "file": "../outside/evil.py"},
        "path": {**beyond, "file": str(outside / "evil.py")},
        "pattern": {**named_file(work / "evil.py"), "file": "*.py"},
        "function": {**named_file(work / "evil.py"), "function": "make;evil"},
        "module": "evil:make",
        "hub": "timm:hf-hub:evil/evil",
    }
    return {name: changed(cam, model, each) for name, each in found.items()}


def malformed(honest: Mapping[str, Any]) -> dict[str, str]:
    """Records with values that cnnviz never writes."""
    cam, maximize, compare = (honest[name] for name in ("gradcam", "maximize", "compare"))
    ranked = {**cam, "method": "rank_layers", "settings": {}, "look": {}, "asked": {"method": "gradcam", "share": "x"}}
    wrong: dict[str, Any] = {
        "schema": [99, True, None, "1", {}],
        "method": [["gradcam"], "", "os", "predict", "scan_patches", None],
        "surprise": [1],
        "images": [5, {}, [5], [{}], [{"name": 3, "sha256": ZEROS}], [{"name": "a.png", "sha256": "0"}]],
        "images.0.kind": ["evil"],
        "rows": [[0, 0], [-1], ["0"], [0.5]],
        "threads": [10**9, 0, -1, "all", None, 1.5],
        "chunk": [-1, "x", 10**30],
        "seed": [2**70, -1, "x"],
        "device": ["cuda:../", 3, "x" * 50],
        "targets": ["x", [3], {}],
        "checks": ["x", [[]]],
        "versions": [[], {"torch": 3}],
        "quality": [[{"x": [1]}], "x"],
        "layer": [3],
        "look": [[], {"surprise": 1}],
        "look.cell": [10**9, -1, "x"],
        "look.width": [float("nan"), 1e9, "x"],
        "look.cmap": [[], "no such map", {}],
        "look.style": ["palmistry", 3],
        "look.alpha": [7, "x"],
        "settings": [[], {"layer": {"a": {"b": 1}}}, {"sparkle": 1}],
        "settings.batch_size": ["x", 0, -3, True, 1e30, float("nan"), 10**12],
        "settings.layer": [3, [], {"file": "x"}],
        "asked": [{"model": "evil:make"}, {"images": "/etc"}, {"surprise": 1}],
        "asked.target": [True, 0.5, 10**40, [[[]]], {"kind": "Target"}, {"kind": "os"}, {}],
        "model": [{"networks": [{"networks": []}]}, {"surprise": 1}, {"networks": 5}],
        "model.opening": [[], {"surprise": 1}, {}],
        "model.opening.model": [5, None, [], {}, {"file": "evil.py"}, "no-such-network"],
        "model.opening.input_size": [10**9, [1], [0, 0], "x"],
        "model.opening.grid": [["a", "b"], 7],
        "model.opening.mean": [[float("inf")], "x", [[1]], []],
        "model.opening.value_range": [[3, 1], [1], "x"],
        "model.opening.seed": [2**80, "x"],
        "model.opening.head": [{}, "palmistry"],
        "model.opening.labels": [3, {}, ["only one"]],
        "model.preprocess.value_range": [[1], "x"],
        "model.weights_sha256": ["000"],
    }
    kinds: list[dict[str, Any]] = [
        {"kind": "ClassTarget", "index": 0, "label": None, "surprise": 1},
        {"kind": "ClassTarget"},
        {"kind": "Unit", "layer": "layer1", "channel": "evil"},
        {"kind": "Unit", "layer": "layer1", "channel": 10**40},
        {"kind": "Finer", "first": {"kind": "Unit", "layer": "layer1", "channel": 0}},
        {"kind": "Direction", "layer": "layer1", "vector": ["x"]},
        {"kind": "Direction", "layer": "layer1", "vector": []},
    ]
    wrong["asked.target"] += kinds
    found = {
        f"{where} {number}": changed(cam, where, each) for where in wrong for number, each in enumerate(wrong[where])
    }
    found |= {
        "no JSON": "no JSON",
        "a list": "[]",
        "nothing": "{}",
        "deeper than can be read": f'{{"cnnviz": {"[" * DEEP}{"]" * DEEP}}}',
        "deep": changed(cam, "settings.layer", json.loads("[" * 40 + "]" * 40)),
        "compared method": changed(compare, "asked.methods", ["evil"]),
        "compared number": changed(compare, "asked.methods", 3),
        "compared setting": changed(compare, "asked.steps", 10**12),
        "compared layers": changed(compare, "asked.layers", [["x"]]),
        "ranked": json.dumps({"cnnviz": ranked}),
        "steps": changed(maximize, "settings.steps", 10**12),
        "start without a picture": changed(maximize, "asked.start", "x.png"),
    }
    return found
