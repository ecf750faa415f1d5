"""What a map costs in forwards of the network, and how a method is made to spend less."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cnnviz.catalogue import command_name
from cnnviz.engine.windows.window import Windows
from cnnviz.method import Method
from cnnviz.methods.occlusion.estimate import fewest
from cnnviz.methods.occlusion.sides import usual_stride, usual_window
from cnnviz.models.model import Model
from cnnviz.reporting.chapter import ReportContext

__all__ = ["Cost", "cost_of", "limit_to_budget"]


@dataclass(frozen=True)
class Cost:
    """What a method spends on one picture.

    Attributes:
        usual: Forwards it takes if nothing limits it.
        least: Fewest with which it still says something.
        setting: The setting that limits it, or None where it is all or nothing.
        besides: Forwards that the setting does not count.
    """

    usual: int
    least: int
    setting: str | None = None
    besides: int = 0


def cost_of(method: Method[Any, Any], model: Model) -> Cost | None:
    """What a method spends on a picture; None where that is a few forwards."""
    usual = {name: one.default for name, one in method.parameters.items()}
    if method.name == "occlusion":
        size = model.preprocess.input_size
        side = usual_window(size)
        windows = Windows.over(size, side, usual_stride(side, size))
        return Cost(len(windows) + 3, min(len(windows), fewest(len(size)) + 1) + 3, "budget", 1)
    if method.name == "rise":
        return Cost(usual["masks"] + 2, 102, "masks", 2)
    if method.name == "integrated_gradients":
        return Cost(2 * usual["most_steps"] + 2, 22, "most_steps", 2)
    if method.name in ("smoothgrad", "smooth_gradcam_plusplus"):
        return Cost(usual["samples"] + 1, 5, "samples", 1)
    if method.name == "scorecam":
        layer = model.layers.last_spatial().arrangement
        channels = layer.channels if layer else 0
        return Cost(channels + 2, channels + 2)
    return None


def limit_to_budget(method: Method[Any, Any], context: ReportContext) -> tuple[Mapping[str, Any] | None, str]:
    """Settings that keep a method within its share of the budget, None if it is left out; and what that means."""
    cost = cost_of(method, context.model)
    if cost is None or context.budget.left is None:
        return {}, ""
    count, name = len(context.pictures), command_name(method.name)
    granted = context.budget.grant(cost.usual * count)
    each = granted // count
    if each >= cost.usual:
        return {}, ""
    if each < cost.least or cost.setting is None:
        context.budget.give_back(granted)
        least = cost.usual if cost.setting is None else cost.least
        return None, f"{name} was left out: it takes {least} forwards a picture, and the budget has {each} for it."
    context.budget.give_back(granted - each * count)
    settings = {cost.setting: each - cost.besides}
    if cost.setting == "most_steps":  # the steps are doubled up to the most, so that all together are up to twice that
        settings["most_steps"] //= 2
        settings["steps"] = min(method.parameters["steps"].default, settings["most_steps"])
    return settings, f"{name} had {each} forwards a picture of the {cost.usual} it would have taken: reduced quality."
