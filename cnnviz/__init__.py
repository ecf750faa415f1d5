"""cnnviz: see what a trained CNN has learnt, and why it answers as it does.

Public names are loaded on first use; importing cnnviz imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cnnviz.provenance import VERSION as __version__

if TYPE_CHECKING:
    from cnnviz.catalogue import CATALOGUE as CATALOGUE
    from cnnviz.core.layer import Layer as Layer
    from cnnviz.core.layer import Layers as Layers
    from cnnviz.core.picture import Geometry as Geometry
    from cnnviz.core.picture import Picture as Picture
    from cnnviz.core.target import Target as Target
    from cnnviz.errors import CnnvizError as CnnvizError
    from cnnviz.images.digits import draw_digit as draw_digit
    from cnnviz.images.reading import read_picture as read_picture
    from cnnviz.images.shapes import draw_scene as draw_scene
    from cnnviz.methods.cam import cam as cam
    from cnnviz.methods.gradcam import gradcam as gradcam
    from cnnviz.methods.predict import predict as predict
    from cnnviz.models.model import Model as Model
    from cnnviz.models.opening import load_model as load_model
    from cnnviz.models.opening import model_names as model_names
    from cnnviz.models.preprocess import Preprocess as Preprocess
    from cnnviz.probing.chunks import progress_to as progress_to
    from cnnviz.provenance import Provenance as Provenance
    from cnnviz.results.grid import Grid as Grid
    from cnnviz.results.heatmap import Heatmap as Heatmap
    from cnnviz.results.heatmaps import Heatmaps as Heatmaps
    from cnnviz.results.predictions import Predictions as Predictions

_WHERE = {
    "CATALOGUE": "cnnviz.catalogue",
    "CnnvizError": "cnnviz.errors",
    "Geometry": "cnnviz.core.picture",
    "Grid": "cnnviz.results.grid",
    "Heatmap": "cnnviz.results.heatmap",
    "Heatmaps": "cnnviz.results.heatmaps",
    "Layer": "cnnviz.core.layer",
    "Layers": "cnnviz.core.layer",
    "Model": "cnnviz.models.model",
    "Picture": "cnnviz.core.picture",
    "Predictions": "cnnviz.results.predictions",
    "Preprocess": "cnnviz.models.preprocess",
    "Provenance": "cnnviz.provenance",
    "Target": "cnnviz.core.target",
    "cam": "cnnviz.methods.cam",
    "draw_digit": "cnnviz.images.digits",
    "draw_scene": "cnnviz.images.shapes",
    "gradcam": "cnnviz.methods.gradcam",
    "load_model": "cnnviz.models.opening",
    "model_names": "cnnviz.models.opening",
    "predict": "cnnviz.methods.predict",
    "progress_to": "cnnviz.probing.chunks",
    "read_picture": "cnnviz.images.reading",
}

__all__ = sorted([*_WHERE, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'cnnviz' has no attribute '{name}'")
    found = getattr(import_module(_WHERE[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
