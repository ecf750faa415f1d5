"""What long tasks make: pictures by gradient ascent, top patches of a data set, slow maps."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from cnnviz.errors import ParameterError, UnknownNameError, UsageError
from cnnviz.explorer.cache import name_answer
from cnnviz.explorer.exploration import Exploration, ExploredNetwork
from cnnviz.explorer.jobs import LongTask
from cnnviz.explorer.questions.drawings import Drawn, shrink
from cnnviz.explorer.questions.picture_answers import map_of, read_target
from cnnviz.explorer.questions.unit_answers import draw_projection

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cnnviz.methods.ascent.progress import AscentProgress
    from cnnviz.results.patches import Strip

__all__ = ["job_of", "patches_of"]

KINDS: Final = ("maximize", "scan", "map")
FRAME: Final = 0.2
"""Seconds from one frame to the next."""
SHOWN: Final = 9
"""Top patches of a unit."""
KEPT: Final = 16
"""Largest values that a scan keeps of each unit."""
A_TENTH: Final = 1
"""Images that a scan keeps of every tenth of each unit's range."""
SETTINGS: Final = ("steps", "size", "seed", "recipe", "crops", "rate")


def job_of(exploration: Exploration, asked: Mapping[str, Any]) -> LongTask:
    """A long task, not yet started.

    Args:
        exploration: What is explored.
        asked: Its ``kind``, and what that is asked.

    Raises:
        ParameterError: If there is no such kind.
    """
    number = asked.get("network", 0)
    network = exploration.network(number if isinstance(number, int) else -1)
    match asked.get("kind"):
        case "maximize":
            return LongTask(partial(_maximize, exploration, network, dict(asked)))
        case "scan":
            return LongTask(partial(_scan, exploration, network, str(asked.get("layer") or "")))
        case "map":
            return LongTask(partial(_map, exploration, network, dict(asked)))
    raise ParameterError(f"kind must be one of {', '.join(KINDS)}; got {str(asked.get('kind'))[:40]!r}.")


def _map(exploration: Exploration, network: ExploredNetwork, asked: Mapping[str, Any], job: LongTask) -> dict[str, Any]:
    """A map of a slow method, with its progress."""
    import cnnviz

    with cnnviz.progress_to(job.report):
        return map_of(exploration, network, str(asked.get("picture")), asked)


def _maximize(
    exploration: Exploration, network: ExploredNetwork, asked: Mapping[str, Any], job: LongTask
) -> dict[str, Any]:
    """A picture for a class or a unit, whose frames are shown while it grows."""
    import cnnviz
    from cnnviz.methods.ascent.progress import watch_progress
    from cnnviz.results.images import as_pixels

    settings = asked.get("settings") or {}
    if not isinstance(settings, dict) or set(settings) - set(SETTINGS):
        raise ParameterError(f"settings of a picture are {', '.join(SETTINGS)}.")
    text = f"{asked['layer']}:{asked.get('unit', 0)}" if asked.get("layer") else str(asked.get("target") or "")
    target = read_target(network, text)
    if target is None:
        raise ParameterError("Give a target, or a layer and a unit.")
    shown = [0.0]

    def watch(progress: AscentProgress) -> None:
        if progress.draw is not None and time.monotonic() - shown[0] > FRAME:
            shown[0] = time.monotonic()
            job.say(frame=_hold_pixels(exploration, f"{job.name}-{progress.step}", as_pixels(progress.draw())))
        job.say(score=progress.score)
        job.report(progress.step, progress.steps)

    with watch_progress(watch):
        one: Any = cnnviz.maximize(network.model, target, **settings)[0]
    name = name_answer("made", job.name)
    exploration.cache.hold(f"{name}.result", one, one.pixels.nbytes)
    more = "".join(f", {key}={value!r}" for key, value in settings.items())
    words = ["cnnviz", "maximize", *shlex.split(network.command), "--target", target]
    words += [word for key, value in settings.items() for word in (f"--{key}", str(value))]
    opened = f"model = {network.code}\n" if network.code else ""
    return {
        "id": name,
        "image": _hold_pixels(exploration, name, as_pixels(one.pixels)),
        "score": one.score,
        "target": str(one.target),
        "notes": list(one.checks),
        "command": shlex.join(words) if network.command else "",
        "python": f"{opened}cnnviz.maximize(model, {target!r}{more})",
    }


def _hold_pixels(exploration: Exploration, name: str, pixels: NDArray[np.uint8]) -> str:
    exploration.cache.hold(name, Drawn(partial(shrink, pixels)), pixels.nbytes)
    return f"api/images/{name}.png"


def _scan(exploration: Exploration, network: ExploredNetwork, layer: str, job: LongTask) -> dict[str, Any]:
    """One pass over the data set for the top patches of a layer's units."""
    import cnnviz

    if exploration.data is None:
        raise UsageError("There is no data set to scan; start the explorer with --data.")
    network.model.check_layer(layer)
    with cnnviz.progress_to(job.report):
        found = cnnviz.scan_patches(network.model, exploration.data, layer=layer, k=KEPT, samples=A_TENTH, workers=0)
    assert found is not None
    exploration.take_index(network, found)
    return {"layer": layer, "images": found.images, "failures": len(found.failures)}


def patches_of(exploration: Exploration, network: ExploredNetwork, layer: str, unit: int) -> dict[str, Any]:
    """The top patches of a unit with what of each it responds to, and images from every tenth of its range.

    Raises:
        UnknownNameError: If no index holds the layer.
        CnnvizError: If the index is of another network or data set, or there is no such unit.
    """
    index = exploration.index_of(network, layer)
    if index is None:
        raise UnknownNameError("index of layer", layer, (), "Scan the data set for it first.")
    name = name_answer("patches", network.key, layer, unit)
    answer = exploration.cache.find(f"{name}.said")
    if answer is not None and exploration.cache.find(f"{name}.result") is not None:
        return dict(answer)
    held = index.layer(layer)
    if not 0 <= unit < len(held):
        raise ParameterError(f"Layer '{layer}' has units 0 to {len(held) - 1}; there is no unit {unit}.")
    counted = int(held.counts[unit])
    said: dict[str, Any] = {
        "histogram": {"levels": list(index.levels), "values": [_plain(each) for each in held.quantiles[unit]]},
        "active": int(held.active[unit]) / counted if counted else None,
        "images": counted,
        "mean": _plain(held.means[unit]),
        "dead": bool(held.dead[unit]),
        "ranked": held.ranked,
        "tiles": [],
        "deciles": [],
        "preference": "",
        "notes": [],
    }
    if exploration.data is None:
        said["notes"] = ["The pictures of the patches are in the data set; start the explorer with --data to see them."]
        return said
    return _add_tiles(exploration, network, name, said, (layer, unit))


def _add_tiles(
    exploration: Exploration, network: ExploredNetwork, name: str, said: dict[str, Any], place: tuple[str, int]
) -> dict[str, Any]:
    from cnnviz.methods.patches.show import show_patches

    layer, unit = place
    index, data, model = exploration.index_of(network, layer), exploration.data, network.model
    assert index is not None
    assert data is not None
    sampled = index.layer(layer).samples is not None
    found = model.intact(
        lambda: show_patches(
            model, data, index, layer=layer, units=str(unit), show=SHOWN, samples=sampled, deconvnet=True
        )
    )
    exploration.cache.hold(f"{name}.result", found, found.top.pixels.nbytes)
    numbers = {key: at for at, key in enumerate(data.keys)} if len(data) <= 100_000 else {}
    answer = {
        **said,
        "id": name,
        "tiles": _describe_strip(exploration, f"{name}-top", found.top, numbers),
        "deciles": [] if found.samples is None else _describe_strip(exploration, f"{name}-low", found.samples, numbers),
        "preference": "" if found.matrix is None else found.matrix.preference(unit),
        "notes": list(found.checks),
    }
    return exploration.cache.hold(f"{name}.said", answer, 1 << 14)


def _describe_strip(
    exploration: Exploration, name: str, strip: Strip, numbers: Mapping[str, int]
) -> list[dict[str, Any]]:
    from cnnviz.results.patches import draw_strip

    told = []
    cells = draw_strip(replace(strip, projections=None), 0)
    for rank, cell in enumerate(cells):
        if cell is None:
            continue
        key = str(strip.keys[0, rank])
        projected = None
        if strip.projections is not None:
            drawn = draw_projection(strip.projections[0, rank])
            projected = _hold_pixels(exploration, f"{name}-{rank}-back", drawn)
        told.append(
            {
                "image": _hold_pixels(exploration, f"{name}-{rank}", cell.pixels),
                "projection": projected,
                "value": float(strip.values[0, rank]),
                "name": key,
                "key": f"data:{numbers[key]}" if key in numbers else None,
                "box": [strip.boxes[0, rank].tolist()[at] for at in (1, 0, 3, 2)],
            }
        )
    return told


def _plain(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
