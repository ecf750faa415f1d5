"""The methods there are: one line each, so that listing and completing them loads no torch."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.abc import InspectLoader
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

from cnnviz.errors import UnknownNameError
from cnnviz.method import Method, Signature

__all__ = ["CATALOGUE", "Entry", "command_name", "describe", "load", "read_signature"]

LIGHT = ("typing", "annotated_types")
"""Modules that annotations of settings take names from, besides our own."""


def read_signature(where: str, name: str) -> Signature:
    """The signature of a method, as loading it would give.

    Args:
        where: Its module.
        name: Its function's name.
    """
    names = _names_in(where)
    function = names.function(name)
    given = function.args
    settings = {
        setting.arg: (names.value(setting.annotation), names.value(default))
        for setting, default in zip(given.kwonlyargs, given.kw_defaults, strict=True)
    }
    returned = function.returns
    while isinstance(returned, ast.BinOp):
        returned = returned.left
    usual = ast.unparse(returned) if returned else ""
    return Signature.of(name, [need.arg for need in given.args], settings, usual, ast.get_docstring(function))


class _Names(dict[str, Any]):
    """What names mean in a module, as far as settings are made of them: the module itself is not run.

    Args:
        where: The module.
    """

    def __init__(self, where: str) -> None:
        super().__init__()
        spec = find_spec(where)
        assert spec is not None
        assert isinstance(spec.loader, InspectLoader)
        self._where, self._body = where, ast.parse(spec.loader.get_source(where) or "").body

    def function(self, name: str) -> ast.FunctionDef:
        """The module's function of that name."""
        return next(node for node in self._body if isinstance(node, ast.FunctionDef) and node.name == name)

    def value(self, node: ast.expr | None) -> Any:
        """What an expression of the module comes to; None for none."""
        return None if node is None else eval(compile(ast.Expression(node), self._where, "eval"), {}, self)

    def __missing__(self, name: str) -> Any:
        for node in self._body:
            match node:
                case ast.AnnAssign(target=ast.Name(id=key)) | ast.Assign(targets=[ast.Name(id=key)]) if key == name:
                    return self.setdefault(name, self.value(node.value))
                case ast.ImportFrom(module=str(module), names=imported):
                    for one in imported:
                        if (one.asname or one.name) == name:
                            return self.setdefault(name, _from(module, one.name))
                case _:
                    continue
        raise KeyError(name)


def _from(module: str, name: str) -> Any:
    return getattr(import_module(module), name) if module in LIGHT else _names_in(module)[name]


@cache
def _names_in(where: str) -> _Names:
    return _Names(where)


@dataclass(frozen=True)
class Entry:
    """A method's line: where it lives, its family, the first sentence of its docstring, and its cost an image."""

    where: str
    family: str
    summary: str
    cost: str


CAMS, PERTURBATIONS, CONCEPTS, GRADIENTS = "Class activation maps", "Perturbations", "Concepts", "Gradients"
SYNTHESIS = "Pictures the network makes"
UNITS = "Units"

CATALOGUE: Mapping[str, Entry] = MappingProxyType(
    {
        "gradcam": Entry(
            "cnnviz.methods.cams.gradcam",
            CAMS,
            "Where the channels that raise the target's score respond (Grad-CAM).",
            "1 forward, backward above the layer",
        ),
        "gradcam_plusplus": Entry(
            "cnnviz.methods.cams.gradcam",
            CAMS,
            "Where positive gradients of the target's score respond, each place weighed by its share (Grad-CAM++).",
            "1 forward, backward above the layer",
        ),
        "xgradcam": Entry(
            "cnnviz.methods.cams.gradcam",
            CAMS,
            "Where channels respond, each weighed by gradient times activation per unit of activation (XGrad-CAM).",
            "1 forward, backward above the layer",
        ),
        "hirescam": Entry(
            "cnnviz.methods.cams.gradcam",
            CAMS,
            "Where the layer's activations themselves raise the target's score, place by place (HiResCAM).",
            "1 forward, backward above the layer",
        ),
        "layercam": Entry(
            "cnnviz.methods.cams.gradcam",
            CAMS,
            "Where the layer responds and would raise the target's score right there, for fine layers too (LayerCAM).",
            "1 forward, backward above the layer",
        ),
        "smooth_gradcam_plusplus": Entry(
            "cnnviz.methods.cams.gradcam_variants",
            CAMS,
            "Grad-CAM++ with gradients averaged over noisy copies of the picture (Smooth Grad-CAM++).",
            "`samples` times Grad-CAM",
        ),
        "shapleycam": Entry(
            "cnnviz.methods.cams.gradcam_variants",
            CAMS,
            "Grad-CAM with the curvature of the score taken into account, as Shapley values ask (Shapley-CAM).",
            "1 forward, 2 backwards above the layer",
        ),
        "scorecam": Entry(
            "cnnviz.methods.cams.perturbation",
            CAMS,
            "Where the channels respond that, used as masks on the picture, keep the target's score (Score-CAM).",
            "1 forward a channel",
        ),
        "ablationcam": Entry(
            "cnnviz.methods.cams.perturbation",
            CAMS,
            "Where the channels respond whose removal lowers the target's score (Ablation-CAM).",
            "1 forward, and what follows the layer for each channel (nothing where the head is linear)",
        ),
        "reciprocam": Entry(
            "cnnviz.methods.cams.perturbation",
            CAMS,
            "What the target's score would be if the layer had responded at one place only (Recipro-CAM).",
            "1 forward, and what follows the layer for each place",
        ),
        "eigencam": Entry(
            "cnnviz.methods.cams.activation",
            CAMS,
            "The strongest pattern of a layer's activations, whatever the class (Eigen-CAM).",
            "1 forward",
        ),
        "eigengradcam": Entry(
            "cnnviz.methods.cams.gradcam_variants",
            CAMS,
            "The strongest pattern of activation times gradient, for the target (EigenGrad-CAM).",
            "1 forward, backward above the layer",
        ),
        "fullgrad": Entry(
            "cnnviz.methods.cams.fullgrad",
            CAMS,
            "Where input and every layer's biases add to the target's score, added up over all layers (FullGrad).",
            "1 forward, 1 backward",
        ),
        "cam": Entry(
            "cnnviz.methods.cams.activation",
            CAMS,
            "Where the classifier's own weights see the class (CAM).",
            "1 forward",
        ),
        "saliency": Entry(
            "cnnviz.methods.gradients.plain",
            GRADIENTS,
            "Which pixels the target's score is most sensitive to: its gradient (saliency).",
            "1 forward, 1 backward",
        ),
        "smoothgrad": Entry(
            "cnnviz.methods.gradients.plain",
            GRADIENTS,
            "Which pixels the score is sensitive to, in the mean over noisy copies of the picture (SmoothGrad).",
            "`samples` times saliency",
        ),
        "integrated_gradients": Entry(
            "cnnviz.methods.gradients.integrated",
            GRADIENTS,
            "What each pixel adds to the score on the way from an empty picture to this one (integrated gradients).",
            "`steps` times saliency",
        ),
        "guided_backprop": Entry(
            "cnnviz.methods.gradients.guided",
            GRADIENTS,
            "What in the pixels excited the units that excite the target, in fine detail (guided backpropagation).",
            "2 forwards, 1 backward",
        ),
        "guided_gradcam": Entry(
            "cnnviz.methods.gradients.guided",
            GRADIENTS,
            "Guided backpropagation's detail, where Grad-CAM sees the class (Guided Grad-CAM).",
            "guided backpropagation and Grad-CAM",
        ),
        "deconvnet": Entry(
            "cnnviz.methods.gradients.guided",
            GRADIENTS,
            "What in the pixels the network run backwards finds again, starting at the target (deconvnet).",
            "2 forwards, 1 backward",
        ),
        "captum": Entry(
            "cnnviz.methods.gradients.captum",
            GRADIENTS,
            "What an algorithm of the captum library says about each pixel, on a private copy of the network.",
            "the algorithm's",
        ),
        "occlusion": Entry(
            "cnnviz.methods.occlusion.occlusion",
            PERTURBATIONS,
            "How much hiding each part of the picture lowers the target's score (occlusion).",
            "1 forward a window, or `budget`",
        ),
        "rise": Entry(
            "cnnviz.methods.occlusion.rise",
            PERTURBATIONS,
            "How much higher the target's score is where random masks leave the picture visible (RISE).",
            "`masks` forwards",
        ),
        "feature_occlusion": Entry(
            "cnnviz.methods.occlusion.occlusion",
            PERTURBATIONS,
            "How much hiding each part of a layer's activation lowers the target's score (feature occlusion).",
            "1 forward, and what follows the layer for each window",
        ),
        "dff": Entry(
            "cnnviz.methods.concepts",
            CONCEPTS,
            "What a layer's activations over several pictures have in common, as a few labelled concepts (DFF).",
            "1 forward",
        ),
        "filters": Entry(
            "cnnviz.methods.units.filters",
            UNITS,
            "The kernels of a layer as pictures, with dead ones and duplicates marked (filters).",
            "1 forward of an empty picture",
        ),
        "features": Entry(
            "cnnviz.methods.units.features",
            UNITS,
            "What the units of a layer make of a picture: their maps, or where they respond on it (features).",
            "1 forward",
        ),
        "patches": Entry(
            "cnnviz.methods.patches.patches",
            UNITS,
            "What of a data set excites each unit of a layer most: its top-activating patches.",
            "1 forward an image of the data set",
        ),
        "maximize": Entry(
            "cnnviz.methods.ascent.maximize",
            SYNTHESIS,
            "Pictures of what the network takes for a class, or of what excites a unit, found by gradient ascent.",
            "`steps` times `crops` forwards and backwards, up to the target's layer",
        ),
    }
)

COMMANDS = {"gradcam_plusplus": "gradcam++", "smooth_gradcam_plusplus": "smooth-gradcam++"}


def command_name(name: str) -> str:
    """How the command line calls a method: with dashes, and ``gradcam++``."""
    return COMMANDS.get(name, name.replace("_", "-"))


def load(name: str) -> Method[Any, Any]:
    """A method by its function's or its command's name.

    Raises:
        UnknownNameError: If there is none; the message offers the nearest names.
    """
    known = _known(name)
    loaded = getattr(import_module(CATALOGUE[known].where), known)
    assert isinstance(loaded, Method)
    return loaded


def describe(name: str) -> Signature:
    """A method's signature by its function's or its command's name, read without loading the method.

    Raises:
        UnknownNameError: If there is none; the message offers the nearest names.
    """
    known = _known(name)
    return read_signature(CATALOGUE[known].where, known)


def _known(name: str) -> str:
    """The name of a method's function."""
    found = {key: key for key in CATALOGUE} | {command_name(key): key for key in CATALOGUE}
    if name not in found:
        raise UnknownNameError("method", name, map(command_name, CATALOGUE), "'cnnviz methods' lists them all.")
    return found[name]
