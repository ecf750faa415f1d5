"""The methods there are: one line each. Listing them loads neither torch nor numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any

from cnnviz.errors import UnknownNameError
from cnnviz.method import Method

__all__ = ["CATALOGUE", "PROPER_NAMES", "Entry", "command_name", "load", "measured", "proper_name"]


@dataclass(frozen=True)
class Entry:
    """A method's line: its function and that one's module, its family, and its cost an image."""

    name: str
    where: str
    family: str
    cost: str

    @property
    def summary(self) -> str:
        """First sentence of its docstring."""
        return load(self.name).summary


CAMS, PERTURBATIONS, CONCEPTS, GRADIENTS = "Class activation maps", "Perturbations", "Concepts", "Gradients"
SYNTHESIS = "Feature visualization"
UNITS = "Units"
ABOVE = "1 forward, backward above the layer"
REPLAY = "1 forward, and what follows the layer for each"
ASCENT = "`steps` times `crops` forwards and backwards, up to the target's layer"

_METHODS = (
    ("gradcam", "cams.gradcam", CAMS, ABOVE),
    ("gradcam_plusplus", "cams.gradcam", CAMS, ABOVE),
    ("xgradcam", "cams.gradcam", CAMS, ABOVE),
    ("hirescam", "cams.gradcam", CAMS, ABOVE),
    ("layercam", "cams.gradcam", CAMS, ABOVE),
    ("smooth_gradcam_plusplus", "cams.gradcam_variants", CAMS, "`samples` times Grad-CAM"),
    ("shapleycam", "cams.gradcam_variants", CAMS, "1 forward, 2 backwards above the layer"),
    ("scorecam", "cams.perturbation", CAMS, "1 forward per channel"),
    ("ablationcam", "cams.perturbation", CAMS, f"{REPLAY} channel (nothing where the head is linear)"),
    ("reciprocam", "cams.perturbation", CAMS, f"{REPLAY} position"),
    ("eigencam", "cams.activation", CAMS, "1 forward"),
    ("eigengradcam", "cams.gradcam_variants", CAMS, ABOVE),
    ("fullgrad", "cams.fullgrad", CAMS, "1 forward, 1 backward"),
    ("cam", "cams.activation", CAMS, "1 forward"),
    ("saliency", "gradients.plain", GRADIENTS, "1 forward, 1 backward"),
    ("smoothgrad", "gradients.plain", GRADIENTS, "`samples` times saliency"),
    ("integrated_gradients", "gradients.integrated", GRADIENTS, "`steps` times saliency"),
    ("deeplift", "gradients.deeplift", GRADIENTS, "2 forwards, 1 backward, for each baseline"),
    ("guided_backprop", "gradients.guided", GRADIENTS, "2 forwards, 1 backward"),
    ("guided_gradcam", "gradients.guided", GRADIENTS, "guided backpropagation and Grad-CAM"),
    ("deconvnet", "gradients.guided", GRADIENTS, "2 forwards, 1 backward"),
    ("captum", "gradients.captum", GRADIENTS, "the algorithm's"),
    ("occlusion", "occlusion.occlusion", PERTURBATIONS, "1 forward per window, or `budget`"),
    ("rise", "occlusion.rise", PERTURBATIONS, "`masks` forwards"),
    ("feature_occlusion", "occlusion.occlusion", PERTURBATIONS, f"{REPLAY} window"),
    ("dff", "concepts", CONCEPTS, "1 forward"),
    ("filters", "units.filters", UNITS, "1 forward of a blank picture"),
    ("features", "units.features", UNITS, "1 forward"),
    ("patches", "patches.patches", UNITS, "1 forward per image of the data set"),
    ("maximize", "ascent.maximize", SYNTHESIS, ASCENT),
)

CATALOGUE: Mapping[str, Entry] = MappingProxyType(
    {name: Entry(name, f"cnnviz.methods.{where}", family, cost) for name, where, family, cost in _METHODS}
)

PROPER_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "gradcam": "Grad-CAM",
        "gradcam_plusplus": "Grad-CAM++",
        "xgradcam": "XGrad-CAM",
        "hirescam": "HiResCAM",
        "layercam": "LayerCAM",
        "smooth_gradcam_plusplus": "Smooth Grad-CAM++",
        "shapleycam": "ShapleyCAM",
        "scorecam": "Score-CAM",
        "ablationcam": "Ablation-CAM",
        "reciprocam": "Recipro-CAM",
        "eigencam": "Eigen-CAM",
        "eigengradcam": "EigenGrad-CAM",
        "fullgrad": "FullGrad",
        "cam": "CAM",
        "saliency": "Saliency",
        "smoothgrad": "SmoothGrad",
        "integrated_gradients": "Integrated Gradients",
        "deeplift": "DeepLIFT",
        "guided_backprop": "Guided Backprop",
        "guided_gradcam": "Guided Grad-CAM",
        "deconvnet": "DeconvNet",
        "captum": "Captum",
        "occlusion": "Occlusion",
        "rise": "RISE",
        "feature_occlusion": "Feature Occlusion",
        "dff": "Deep Feature Factorization",
        "filters": "Filters",
        "features": "Feature Maps",
        "patches": "Top Patches",
        "maximize": "Feature Visualization",
    }
)
"""What the field calls each method, as figures say it."""


def proper_name(name: str) -> str:
    """What the field calls a method, by its function's or command's name; a name that is no method's is unchanged."""
    return PROPER_NAMES.get(name, _NAMED.get(name, name))


_WEIGHTED, _GUIDED = "weighted activation", "guided gradient"
_MEASURES = {
    **dict.fromkeys(
        ("gradcam", "xgradcam", "hirescam", "layercam", "smooth_gradcam_plusplus", "shapleycam", "cam"),
        _WEIGHTED + " ({})",
    ),
    **dict.fromkeys(("gradcam_plusplus", "scorecam", "ablationcam"), _WEIGHTED),
    "eigencam": "activation along its first component",
    "eigengradcam": "gradient times activation along its first component",
    "reciprocam": "{} with one place kept",
    "fullgrad": "gradient and bias terms",
    **dict.fromkeys(("saliency", "smoothgrad"), "gradient of the {}"),
    **dict.fromkeys(("guided_backprop", "deconvnet"), _GUIDED),
    "guided_gradcam": f"{_GUIDED} times Grad-CAM",
    **dict.fromkeys(("integrated_gradients", "captum"), "attribution ({})"),
    "deeplift": "contribution to the {}'s change",
    **dict.fromkeys(("occlusion", "feature_occlusion"), "drop in {}"),
    "rise": "gain in {}",
}


def measured(name: str, settings: Mapping[str, Any], score: str) -> str:
    """What the values of a method's map are, with their unit; empty for what is no method with maps.

    Args:
        name: The method's.
        settings: Those it was asked with.
        score: What the target's score is measured in, such as ``"logit"``.
    """
    if name not in _MEASURES:
        return ""
    if "," in str(settings.get("layer") or ""):
        return "mean share of each layer's maximum" if settings.get("fuse") == "mean" else "share of the maximum"
    said = _MEASURES[name].format(score)
    what, mark, unit = said.partition(" (")
    return f"|{what}|{mark}{unit}" if settings.get("channels") == "absolute" else said


COMMANDS = {"gradcam_plusplus": "gradcam++", "smooth_gradcam_plusplus": "smooth-gradcam++"}


def command_name(name: str) -> str:
    """How the command line calls a method: with dashes, and ``gradcam++``."""
    return COMMANDS.get(name, name.replace("_", "-"))


_NAMED = {command_name(name): said for name, said in PROPER_NAMES.items()} | {"predict": "Predictions"}


def load(name: str) -> Method[Any, Any]:
    """A method by its function's or its command's name.

    Raises:
        UnknownNameError: If there is none; the message offers the nearest names.
    """
    functions = {key: key for key in CATALOGUE} | {command_name(key): key for key in CATALOGUE}
    if name not in functions:
        raise UnknownNameError("method", name, map(command_name, CATALOGUE), "'cnnviz methods' lists them all.")
    entry = CATALOGUE[functions[name]]
    loaded = getattr(import_module(entry.where), entry.name)
    assert isinstance(loaded, Method)
    return loaded
