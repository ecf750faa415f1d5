"""The methods there are: one line each, so that listing and completing them loads no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any

from cnnviz.errors import UnknownNameError
from cnnviz.registry import Method
from cnnviz.signature import Signature
from cnnviz.sources import read_signature

__all__ = ["CATALOGUE", "Entry", "command_name", "describe", "load"]


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
            "cnnviz.methods.gradcam",
            CAMS,
            "Where the channels that raise the target's score respond (Grad-CAM).",
            "1 forward, backward above the layer",
        ),
        "gradcam_plusplus": Entry(
            "cnnviz.methods.gradcam_plusplus",
            CAMS,
            "Where positive gradients of the target's score respond, each place weighed by its share (Grad-CAM++).",
            "1 forward, backward above the layer",
        ),
        "xgradcam": Entry(
            "cnnviz.methods.xgradcam",
            CAMS,
            "Where channels respond, each weighed by gradient times activation per unit of activation (XGrad-CAM).",
            "1 forward, backward above the layer",
        ),
        "hirescam": Entry(
            "cnnviz.methods.hirescam",
            CAMS,
            "Where the layer's activations themselves raise the target's score, place by place (HiResCAM).",
            "1 forward, backward above the layer",
        ),
        "layercam": Entry(
            "cnnviz.methods.layercam",
            CAMS,
            "Where the layer responds and would raise the target's score right there, for fine layers too (LayerCAM).",
            "1 forward, backward above the layer",
        ),
        "smooth_gradcam_plusplus": Entry(
            "cnnviz.methods.smooth_gradcam_plusplus",
            CAMS,
            "Grad-CAM++ with gradients averaged over noisy copies of the picture (Smooth Grad-CAM++).",
            "`samples` times Grad-CAM",
        ),
        "shapleycam": Entry(
            "cnnviz.methods.shapleycam",
            CAMS,
            "Grad-CAM with the curvature of the score taken into account, as Shapley values ask (Shapley-CAM).",
            "1 forward, 2 backwards above the layer",
        ),
        "scorecam": Entry(
            "cnnviz.methods.scorecam",
            CAMS,
            "Where the channels respond that, used as masks on the picture, keep the target's score (Score-CAM).",
            "1 forward a channel",
        ),
        "ablationcam": Entry(
            "cnnviz.methods.ablationcam",
            CAMS,
            "Where the channels respond whose removal lowers the target's score (Ablation-CAM).",
            "1 forward, and what follows the layer for each channel (nothing where the head is linear)",
        ),
        "reciprocam": Entry(
            "cnnviz.methods.reciprocam",
            CAMS,
            "What the target's score would be if the layer had responded at one place only (Recipro-CAM).",
            "1 forward, and what follows the layer for each place",
        ),
        "eigencam": Entry(
            "cnnviz.methods.eigencam",
            CAMS,
            "The strongest pattern of a layer's activations, whatever the class (Eigen-CAM).",
            "1 forward",
        ),
        "eigengradcam": Entry(
            "cnnviz.methods.eigengradcam",
            CAMS,
            "The strongest pattern of activation times gradient, for the target (EigenGrad-CAM).",
            "1 forward, backward above the layer",
        ),
        "fullgrad": Entry(
            "cnnviz.methods.fullgrad",
            CAMS,
            "Where input and every layer's biases add to the target's score, added up over all layers (FullGrad).",
            "1 forward, 1 backward",
        ),
        "cam": Entry(
            "cnnviz.methods.cam", CAMS, "Where the classifier's own weights see the class (CAM).", "1 forward"
        ),
        "saliency": Entry(
            "cnnviz.methods.saliency",
            GRADIENTS,
            "Which pixels the target's score is most sensitive to: its gradient (saliency).",
            "1 forward, 1 backward",
        ),
        "smoothgrad": Entry(
            "cnnviz.methods.smoothgrad",
            GRADIENTS,
            "Which pixels the score is sensitive to, in the mean over noisy copies of the picture (SmoothGrad).",
            "`samples` times saliency",
        ),
        "integrated_gradients": Entry(
            "cnnviz.methods.integrated_gradients",
            GRADIENTS,
            "What each pixel adds to the score on the way from an empty picture to this one (integrated gradients).",
            "`steps` times saliency",
        ),
        "guided_backprop": Entry(
            "cnnviz.methods.guided_backprop",
            GRADIENTS,
            "What in the pixels excited the units that excite the target, in fine detail (guided backpropagation).",
            "2 forwards, 1 backward",
        ),
        "guided_gradcam": Entry(
            "cnnviz.methods.guided_gradcam",
            GRADIENTS,
            "Guided backpropagation's detail, where Grad-CAM sees the class (Guided Grad-CAM).",
            "guided backpropagation and Grad-CAM",
        ),
        "deconvnet": Entry(
            "cnnviz.methods.deconvnet",
            GRADIENTS,
            "What in the pixels the network run backwards finds again, starting at the target (deconvnet).",
            "2 forwards, 1 backward",
        ),
        "captum": Entry(
            "cnnviz.methods.captum",
            GRADIENTS,
            "What an algorithm of the captum library says about each pixel, on a private copy of the network.",
            "the algorithm's",
        ),
        "occlusion": Entry(
            "cnnviz.methods.occlusion",
            PERTURBATIONS,
            "How much hiding each part of the picture lowers the target's score (occlusion).",
            "1 forward a window, or `budget`",
        ),
        "rise": Entry(
            "cnnviz.methods.rise",
            PERTURBATIONS,
            "How much higher the target's score is where random masks leave the picture visible (RISE).",
            "`masks` forwards",
        ),
        "feature_occlusion": Entry(
            "cnnviz.methods.feature_occlusion",
            PERTURBATIONS,
            "How much hiding each part of a layer's activation lowers the target's score (feature occlusion).",
            "1 forward, and what follows the layer for each window",
        ),
        "dff": Entry(
            "cnnviz.methods.dff",
            CONCEPTS,
            "What a layer's activations over several pictures have in common, as a few labelled concepts (DFF).",
            "1 forward",
        ),
        "filters": Entry(
            "cnnviz.methods.filters",
            UNITS,
            "The kernels of a layer as pictures, with dead ones and duplicates marked (filters).",
            "1 forward of an empty picture",
        ),
        "features": Entry(
            "cnnviz.methods.features",
            UNITS,
            "What the units of a layer make of a picture: their maps, or where they respond on it (features).",
            "1 forward",
        ),
        "patches": Entry(
            "cnnviz.methods.patches",
            UNITS,
            "What of a data set excites each unit of a layer most: its top-activating patches.",
            "1 forward an image of the data set",
        ),
        "maximize": Entry(
            "cnnviz.methods.maximize",
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
