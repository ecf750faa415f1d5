"""maximize's speed beside torch-lucent: the same network at 224 pixels, eight pictures, as many forwards of each.

torch-lucent pins a kornia of 2020; version 0.1.8 with today's kornia is installed beside, not into, the environment::

    pip install --no-deps --target FOLDER torch-lucent==0.1.8 kornia kornia_rs decorator

and FOLDER put on PYTHONPATH. Ours is the whole ascent of every picture with its own crops, without the quality record;
lucent's is ``render_vis`` with its defaults.
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import cnnviz
from benchmarks.measuring import flops, interleaved
from cnnviz.methods.ascent.request import choose_recipe, parse_targets
from cnnviz.methods.ascent.session import AscentSettings, Session
from cnnviz.models.model import Model

PICTURES, FORWARDS, SIDE = 8, 8, 224
CROPS = 4
UNIT = "features.6"
ASKED = {"class logit": (130, "labels:130"), "unit of features.6": (f"{UNIT}:3", "features_6:3")}


def ours(model: Model, target: Any, forwards: int = FORWARDS) -> Callable[[], Any]:
    """Eight pictures of one target, each with so many forwards."""
    recipe = choose_recipe(model, "crops", steps=forwards // CROPS, crops=CROPS)
    wanted = parse_targets(model, [target] * PICTURES, started=False)

    def run() -> Any:
        return Session(model, wanted, AscentSettings(recipe, (SIDE, SIDE)), None, None).run()

    return run


def lucents(model: Model, target: str) -> Callable[[], Any]:
    """The same with torch-lucent; its hooks, which it never removes, are taken off after each run."""
    for name in ("IPython", "IPython.display"):  # lucent imports it to show pictures in a notebook
        sys.modules.setdefault(name, types.ModuleType(name))
    import kornia  # type: ignore[import-not-found]
    from lucent.optvis import objectives, param, render  # type: ignore[import-not-found]

    for name in ("get_rotation_matrix2d", "warp_affine"):  # where lucent looks for them
        setattr(kornia, name, getattr(kornia.geometry, name))

    layer, channel = target.split(":")
    module = model.module.eval()

    def run() -> Any:
        wanted = sum(objectives.channel(layer, int(channel), batch=number) for number in range(PICTURES))
        try:
            return render.render_vis(
                module,
                wanted,
                lambda: param.image(SIDE, batch=PICTURES),
                thresholds=(FORWARDS,),
                progress=False,
                show_image=False,
            )
        finally:
            for part in module.modules():
                part._forward_hooks.clear()
            module.zero_grad(set_to_none=True)

    return run


def compare_speed(folder: Path) -> None:
    """Medians of five interleaved pairs, and FLOPs a step, into FOLDER/speed.json."""
    torch.set_num_threads(1)
    model = cnnviz.load_model("mobilenet_v2")
    assert model.layers
    found = {}
    for what, (target, theirs) in ASKED.items():
        seconds = interleaved({"cnnviz": ours(model, target), "lucent": lucents(model, theirs)})
        step = flops(ours(model, target, 2 * CROPS)) - flops(ours(model, target, CROPS))
        found[what] = {**seconds, "flops_a_forward": step / (PICTURES * CROPS)}
        print(what, found[what], flush=True)
    (folder / "speed.json").write_text(json.dumps(found, indent=1))


def speed_lines(folder: Path) -> str:
    """The comparison as a section of the table's file, or nothing where it was not made."""
    path = folder / "speed.json"
    if not path.exists():
        return ""
    lines = [
        "## Speed beside torch-lucent 0.1.8",
        "",
        f"mobilenet_v2, pictures of {SIDE} pixels, {PICTURES} at once, {FORWARDS} forwards each, one thread; median of",
        "five interleaved pairs, fixed costs of a call included, the quality record not. torch-lucent ran with today's",
        "kornia (two functions under the names it knew, IPython stubbed), its own default transformations and its",
        "hooks removed between the runs.",
        "",
        "| target | cnnviz, images x forwards / s | lucent | ratio | GFLOP of one forward and backward |",
        "| --- | --- | --- | --- | --- |",
    ]
    for what, row in json.loads(path.read_text()).items():
        speeds = [PICTURES * FORWARDS / row[name] for name in ("cnnviz", "lucent")]
        lines.append(
            f"| {what} | {speeds[0]:.1f} | {speeds[1]:.1f} | {speeds[0] / speeds[1]:.2f} "
            f"| {row['flops_a_forward'] / 1e9:.2f} |"
        )
    return "\n".join(lines)
