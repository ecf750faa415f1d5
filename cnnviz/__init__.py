"""cnnviz: see what a trained CNN has learnt, and why it answers as it does.

Public names are loaded on first use; importing cnnviz imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cnnviz.provenance import VERSION

if TYPE_CHECKING:
    from cnnviz.catalogue import CATALOGUE as CATALOGUE
    from cnnviz.core.aim import Direction as Direction
    from cnnviz.core.aim import WholeLayer as WholeLayer
    from cnnviz.core.field import Field as Field
    from cnnviz.core.layer import Layer as Layer
    from cnnviz.core.layer import Layers as Layers
    from cnnviz.core.picture import Geometry as Geometry
    from cnnviz.core.picture import Picture as Picture
    from cnnviz.core.target import Target as Target
    from cnnviz.drawing.files import ensure_writable as ensure_writable
    from cnnviz.drawing.files import read_note as read_note
    from cnnviz.errors import CnnvizError as CnnvizError
    from cnnviz.images.dataset import Dataset as Dataset
    from cnnviz.images.datasets import open_dataset as open_dataset
    from cnnviz.images.digits import draw_digit as draw_digit
    from cnnviz.images.gathering import expand_paths as expand_paths
    from cnnviz.images.reading import read_picture as read_picture
    from cnnviz.images.shapes import draw_scene as draw_scene
    from cnnviz.methods.ablationcam import ablationcam as ablationcam
    from cnnviz.methods.cam import cam as cam
    from cnnviz.methods.captum import captum as captum
    from cnnviz.methods.compare import compare as compare
    from cnnviz.methods.deconvnet import deconvnet as deconvnet
    from cnnviz.methods.dff import dff as dff
    from cnnviz.methods.differentiable_maps import DifferentiableMaps as DifferentiableMaps
    from cnnviz.methods.differentiable_maps import differentiable_maps as differentiable_maps
    from cnnviz.methods.effective_field import effective_field as effective_field
    from cnnviz.methods.eigencam import eigencam as eigencam
    from cnnviz.methods.eigengradcam import eigengradcam as eigengradcam
    from cnnviz.methods.feature_occlusion import feature_occlusion as feature_occlusion
    from cnnviz.methods.features import features as features
    from cnnviz.methods.filming import video as video
    from cnnviz.methods.filters import filters as filters
    from cnnviz.methods.fullgrad import fullgrad as fullgrad
    from cnnviz.methods.gradcam import gradcam as gradcam
    from cnnviz.methods.gradcam_plusplus import gradcam_plusplus as gradcam_plusplus
    from cnnviz.methods.guided_backprop import guided_backprop as guided_backprop
    from cnnviz.methods.guided_gradcam import guided_gradcam as guided_gradcam
    from cnnviz.methods.hirescam import hirescam as hirescam
    from cnnviz.methods.integrated_gradients import integrated_gradients as integrated_gradients
    from cnnviz.methods.layercam import layercam as layercam
    from cnnviz.methods.maximize import maximize as maximize
    from cnnviz.methods.occlusion import occlusion as occlusion
    from cnnviz.methods.patches import patches as patches
    from cnnviz.methods.patches import scan_patches as scan_patches
    from cnnviz.methods.predict import predict as predict
    from cnnviz.methods.rank_layers import choose_layer as choose_layer
    from cnnviz.methods.rank_layers import rank_layers as rank_layers
    from cnnviz.methods.reciprocam import reciprocam as reciprocam
    from cnnviz.methods.report import report as report
    from cnnviz.methods.rise import rise as rise
    from cnnviz.methods.saliency import saliency as saliency
    from cnnviz.methods.scanning.merging import merge_patches as merge_patches
    from cnnviz.methods.scorecam import scorecam as scorecam
    from cnnviz.methods.shapleycam import shapleycam as shapleycam
    from cnnviz.methods.smooth_gradcam_plusplus import smooth_gradcam_plusplus as smooth_gradcam_plusplus
    from cnnviz.methods.smoothgrad import smoothgrad as smoothgrad
    from cnnviz.methods.xgradcam import xgradcam as xgradcam
    from cnnviz.models.listing import model_names as model_names
    from cnnviz.models.model import Model as Model
    from cnnviz.models.opening import load_model as load_model
    from cnnviz.models.preprocess import Preprocess as Preprocess
    from cnnviz.probing.chunks import progress_to as progress_to
    from cnnviz.provenance import Provenance as Provenance
    from cnnviz.rerunning.rerun import Rerun as Rerun
    from cnnviz.rerunning.rerun import rerun as rerun
    from cnnviz.results.attribution import Attribution as Attribution
    from cnnviz.results.attributions import Attributions as Attributions
    from cnnviz.results.comparison import Comparison as Comparison
    from cnnviz.results.composing import grid as grid
    from cnnviz.results.concepts import Concepts as Concepts
    from cnnviz.results.effective import EffectiveField as EffectiveField
    from cnnviz.results.feature_maps import FeatureMaps as FeatureMaps
    from cnnviz.results.features import Features as Features
    from cnnviz.results.film import Film as Film
    from cnnviz.results.filters import Filters as Filters
    from cnnviz.results.grid import Grid as Grid
    from cnnviz.results.heatmap import Heatmap as Heatmap
    from cnnviz.results.heatmap import Look as Look
    from cnnviz.results.heatmaps import Heatmaps as Heatmaps
    from cnnviz.results.image import Image as Image
    from cnnviz.results.images import Images as Images
    from cnnviz.results.patch_index import PatchIndex as PatchIndex
    from cnnviz.results.patches import Patches as Patches
    from cnnviz.results.predictions import Predictions as Predictions
    from cnnviz.results.projections import Projections as Projections
    from cnnviz.results.ranking import LayerRanking as LayerRanking
    from cnnviz.results.report import Report as Report

_WHERE = {
    "CATALOGUE": "cnnviz.catalogue",
    "CnnvizError": "cnnviz.errors",
    "Dataset": "cnnviz.images.dataset",
    "open_dataset": "cnnviz.images.datasets",
    "Film": "cnnviz.results.film",
    "Geometry": "cnnviz.core.picture",
    "Grid": "cnnviz.results.grid",
    "Heatmap": "cnnviz.results.heatmap",
    "Heatmaps": "cnnviz.results.heatmaps",
    "Image": "cnnviz.results.image",
    "Images": "cnnviz.results.images",
    "Field": "cnnviz.core.field",
    "Layer": "cnnviz.core.layer",
    "Layers": "cnnviz.core.layer",
    "Look": "cnnviz.results.heatmap",
    "compare": "cnnviz.methods.compare",
    "rank_layers": "cnnviz.methods.rank_layers",
    "choose_layer": "cnnviz.methods.rank_layers",
    "effective_field": "cnnviz.methods.effective_field",
    "Comparison": "cnnviz.results.comparison",
    "Concepts": "cnnviz.results.concepts",
    "EffectiveField": "cnnviz.results.effective",
    "LayerRanking": "cnnviz.results.ranking",
    "Model": "cnnviz.models.model",
    "PatchIndex": "cnnviz.results.patch_index",
    "Picture": "cnnviz.core.picture",
    "Patches": "cnnviz.results.patches",
    "Predictions": "cnnviz.results.predictions",
    "Preprocess": "cnnviz.models.preprocess",
    "Projections": "cnnviz.results.projections",
    "Provenance": "cnnviz.provenance",
    "Target": "cnnviz.core.target",
    "Direction": "cnnviz.core.aim",
    "WholeLayer": "cnnviz.core.aim",
    "cam": "cnnviz.methods.cam",
    "dff": "cnnviz.methods.dff",
    "DifferentiableMaps": "cnnviz.methods.differentiable_maps",
    "differentiable_maps": "cnnviz.methods.differentiable_maps",
    "features": "cnnviz.methods.features",
    "Features": "cnnviz.results.features",
    "FeatureMaps": "cnnviz.results.feature_maps",
    "filters": "cnnviz.methods.filters",
    "Filters": "cnnviz.results.filters",
    "draw_digit": "cnnviz.images.digits",
    "draw_scene": "cnnviz.images.shapes",
    "ensure_writable": "cnnviz.drawing.files",
    "expand_paths": "cnnviz.images.gathering",
    "gradcam": "cnnviz.methods.gradcam",
    "fullgrad": "cnnviz.methods.fullgrad",
    "eigengradcam": "cnnviz.methods.eigengradcam",
    "eigencam": "cnnviz.methods.eigencam",
    "reciprocam": "cnnviz.methods.reciprocam",
    "ablationcam": "cnnviz.methods.ablationcam",
    "scorecam": "cnnviz.methods.scorecam",
    "shapleycam": "cnnviz.methods.shapleycam",
    "smooth_gradcam_plusplus": "cnnviz.methods.smooth_gradcam_plusplus",
    "layercam": "cnnviz.methods.layercam",
    "maximize": "cnnviz.methods.maximize",
    "hirescam": "cnnviz.methods.hirescam",
    "xgradcam": "cnnviz.methods.xgradcam",
    "gradcam_plusplus": "cnnviz.methods.gradcam_plusplus",
    "captum": "cnnviz.methods.captum",
    "video": "cnnviz.methods.filming",
    "saliency": "cnnviz.methods.saliency",
    "smoothgrad": "cnnviz.methods.smoothgrad",
    "integrated_gradients": "cnnviz.methods.integrated_gradients",
    "guided_backprop": "cnnviz.methods.guided_backprop",
    "guided_gradcam": "cnnviz.methods.guided_gradcam",
    "deconvnet": "cnnviz.methods.deconvnet",
    "Attribution": "cnnviz.results.attribution",
    "Attributions": "cnnviz.results.attributions",
    "grid": "cnnviz.results.composing",
    "load_model": "cnnviz.models.opening",
    "model_names": "cnnviz.models.listing",
    "occlusion": "cnnviz.methods.occlusion",
    "report": "cnnviz.methods.report",
    "Report": "cnnviz.results.report",
    "rise": "cnnviz.methods.rise",
    "feature_occlusion": "cnnviz.methods.feature_occlusion",
    "patches": "cnnviz.methods.patches",
    "scan_patches": "cnnviz.methods.patches",
    "merge_patches": "cnnviz.methods.scanning.merging",
    "predict": "cnnviz.methods.predict",
    "progress_to": "cnnviz.probing.chunks",
    "Rerun": "cnnviz.rerunning.rerun",
    "rerun": "cnnviz.rerunning.rerun",
    "read_note": "cnnviz.drawing.files",
    "read_picture": "cnnviz.images.reading",
}

__version__ = VERSION

__all__ = [
    "Attribution",
    "Attributions",
    "CATALOGUE",
    "CnnvizError",
    "Dataset",
    "open_dataset",
    "Film",
    "Geometry",
    "Grid",
    "Heatmap",
    "Heatmaps",
    "Image",
    "Images",
    "Field",
    "Layer",
    "Layers",
    "Look",
    "compare",
    "effective_field",
    "rank_layers",
    "choose_layer",
    "Comparison",
    "Concepts",
    "EffectiveField",
    "LayerRanking",
    "Model",
    "Patches",
    "PatchIndex",
    "Picture",
    "Predictions",
    "Preprocess",
    "Projections",
    "Provenance",
    "Target",
    "Direction",
    "WholeLayer",
    "cam",
    "dff",
    "DifferentiableMaps",
    "differentiable_maps",
    "features",
    "Features",
    "FeatureMaps",
    "filters",
    "Filters",
    "draw_digit",
    "draw_scene",
    "ensure_writable",
    "expand_paths",
    "gradcam",
    "grid",
    "fullgrad",
    "eigengradcam",
    "eigencam",
    "reciprocam",
    "ablationcam",
    "scorecam",
    "shapleycam",
    "smooth_gradcam_plusplus",
    "layercam",
    "maximize",
    "hirescam",
    "xgradcam",
    "gradcam_plusplus",
    "captum",
    "video",
    "saliency",
    "smoothgrad",
    "integrated_gradients",
    "guided_backprop",
    "guided_gradcam",
    "deconvnet",
    "load_model",
    "model_names",
    "occlusion",
    "report",
    "Report",
    "rise",
    "feature_occlusion",
    "patches",
    "scan_patches",
    "merge_patches",
    "predict",
    "progress_to",
    "Rerun",
    "rerun",
    "read_note",
    "read_picture",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'cnnviz' has no attribute '{name}'")
    found = getattr(import_module(_WHERE[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__
