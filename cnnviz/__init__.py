"""cnnviz: see what a trained CNN has learnt, and why it answers as it does.

Public names are loaded on first use; importing cnnviz imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cnnviz.provenance import VERSION

if TYPE_CHECKING:
    from cnnviz.catalogue import CATALOGUE as CATALOGUE
    from cnnviz.core.field import Field as Field
    from cnnviz.core.layer import Layer as Layer
    from cnnviz.core.layer import Layers as Layers
    from cnnviz.core.picture import Geometry as Geometry
    from cnnviz.core.picture import Picture as Picture
    from cnnviz.core.target import Direction as Direction
    from cnnviz.core.target import Target as Target
    from cnnviz.core.target import WholeLayer as WholeLayer
    from cnnviz.drawing.files import ensure_writable as ensure_writable
    from cnnviz.drawing.files import read_note as read_note
    from cnnviz.engine.batching import progress_to as progress_to
    from cnnviz.errors import CnnvizError as CnnvizError
    from cnnviz.images.datasets.dataset import Dataset as Dataset
    from cnnviz.images.datasets.open import open_dataset as open_dataset
    from cnnviz.images.inputs import expand_paths as expand_paths
    from cnnviz.images.reading import read_picture as read_picture
    from cnnviz.images.synthetic.digits import draw_digit as draw_digit
    from cnnviz.images.synthetic.scenes import draw_scene as draw_scene
    from cnnviz.methods.ascent.maximize import maximize as maximize
    from cnnviz.methods.cams.activation import cam as cam
    from cnnviz.methods.cams.activation import eigencam as eigencam
    from cnnviz.methods.cams.differentiable import DifferentiableMaps as DifferentiableMaps
    from cnnviz.methods.cams.differentiable import differentiable_maps as differentiable_maps
    from cnnviz.methods.cams.fullgrad import fullgrad as fullgrad
    from cnnviz.methods.cams.gradcam import gradcam as gradcam
    from cnnviz.methods.cams.gradcam import gradcam_plusplus as gradcam_plusplus
    from cnnviz.methods.cams.gradcam import hirescam as hirescam
    from cnnviz.methods.cams.gradcam import layercam as layercam
    from cnnviz.methods.cams.gradcam import xgradcam as xgradcam
    from cnnviz.methods.cams.gradcam_variants import eigengradcam as eigengradcam
    from cnnviz.methods.cams.gradcam_variants import shapleycam as shapleycam
    from cnnviz.methods.cams.gradcam_variants import smooth_gradcam_plusplus as smooth_gradcam_plusplus
    from cnnviz.methods.cams.perturbation import ablationcam as ablationcam
    from cnnviz.methods.cams.perturbation import reciprocam as reciprocam
    from cnnviz.methods.cams.perturbation import scorecam as scorecam
    from cnnviz.methods.cams.rank_layers import choose_layer as choose_layer
    from cnnviz.methods.cams.rank_layers import rank_layers as rank_layers
    from cnnviz.methods.compare import compare as compare
    from cnnviz.methods.concepts import dff as dff
    from cnnviz.methods.gradients.captum import captum as captum
    from cnnviz.methods.gradients.guided import deconvnet as deconvnet
    from cnnviz.methods.gradients.guided import guided_backprop as guided_backprop
    from cnnviz.methods.gradients.guided import guided_gradcam as guided_gradcam
    from cnnviz.methods.gradients.integrated import integrated_gradients as integrated_gradients
    from cnnviz.methods.gradients.plain import saliency as saliency
    from cnnviz.methods.gradients.plain import smoothgrad as smoothgrad
    from cnnviz.methods.occlusion.occlusion import feature_occlusion as feature_occlusion
    from cnnviz.methods.occlusion.occlusion import occlusion as occlusion
    from cnnviz.methods.occlusion.rise import rise as rise
    from cnnviz.methods.patches.patches import patches as patches
    from cnnviz.methods.patches.patches import scan_patches as scan_patches
    from cnnviz.methods.predict import predict as predict
    from cnnviz.methods.scan.shards import merge_patches as merge_patches
    from cnnviz.methods.units.effective_field import effective_field as effective_field
    from cnnviz.methods.units.features import features as features
    from cnnviz.methods.units.filters import filters as filters
    from cnnviz.methods.video import video as video
    from cnnviz.models.load import load_model as load_model
    from cnnviz.models.model import Model as Model
    from cnnviz.models.names import model_names as model_names
    from cnnviz.models.preprocess import Preprocess as Preprocess
    from cnnviz.provenance import Provenance as Provenance
    from cnnviz.reporting.page import Report as Report
    from cnnviz.reporting.report import report as report
    from cnnviz.rerunning.rerun import Rerun as Rerun
    from cnnviz.rerunning.rerun import rerun as rerun
    from cnnviz.results.attribution import Attribution as Attribution
    from cnnviz.results.attribution import Attributions as Attributions
    from cnnviz.results.comparison import Comparison as Comparison
    from cnnviz.results.compose import grid as grid
    from cnnviz.results.concepts import Concepts as Concepts
    from cnnviz.results.features import FeatureMaps as FeatureMaps
    from cnnviz.results.features import Features as Features
    from cnnviz.results.film import Film as Film
    from cnnviz.results.filters import Filters as Filters
    from cnnviz.results.heatmap import Heatmap as Heatmap
    from cnnviz.results.heatmap import Heatmaps as Heatmaps
    from cnnviz.results.heatmap import Look as Look
    from cnnviz.results.images import Image as Image
    from cnnviz.results.images import Images as Images
    from cnnviz.results.layers import EffectiveField as EffectiveField
    from cnnviz.results.layers import LayerRanking as LayerRanking
    from cnnviz.results.patch_index import PatchIndex as PatchIndex
    from cnnviz.results.patches import Patches as Patches
    from cnnviz.results.predictions import Predictions as Predictions
    from cnnviz.results.projections import Projections as Projections
    from cnnviz.results.result import Grid as Grid

_WHERE = {
    "CATALOGUE": "cnnviz.catalogue",
    "CnnvizError": "cnnviz.errors",
    "Dataset": "cnnviz.images.datasets.dataset",
    "open_dataset": "cnnviz.images.datasets.open",
    "Film": "cnnviz.results.film",
    "Geometry": "cnnviz.core.picture",
    "Grid": "cnnviz.results.result",
    "Heatmap": "cnnviz.results.heatmap",
    "Heatmaps": "cnnviz.results.heatmap",
    "Image": "cnnviz.results.images",
    "Images": "cnnviz.results.images",
    "Field": "cnnviz.core.field",
    "Layer": "cnnviz.core.layer",
    "Layers": "cnnviz.core.layer",
    "Look": "cnnviz.results.heatmap",
    "compare": "cnnviz.methods.compare",
    "rank_layers": "cnnviz.methods.cams.rank_layers",
    "choose_layer": "cnnviz.methods.cams.rank_layers",
    "effective_field": "cnnviz.methods.units.effective_field",
    "Comparison": "cnnviz.results.comparison",
    "Concepts": "cnnviz.results.concepts",
    "EffectiveField": "cnnviz.results.layers",
    "LayerRanking": "cnnviz.results.layers",
    "Model": "cnnviz.models.model",
    "PatchIndex": "cnnviz.results.patch_index",
    "Picture": "cnnviz.core.picture",
    "Patches": "cnnviz.results.patches",
    "Predictions": "cnnviz.results.predictions",
    "Preprocess": "cnnviz.models.preprocess",
    "Projections": "cnnviz.results.projections",
    "Provenance": "cnnviz.provenance",
    "Target": "cnnviz.core.target",
    "Direction": "cnnviz.core.target",
    "WholeLayer": "cnnviz.core.target",
    "cam": "cnnviz.methods.cams.activation",
    "dff": "cnnviz.methods.concepts",
    "DifferentiableMaps": "cnnviz.methods.cams.differentiable",
    "differentiable_maps": "cnnviz.methods.cams.differentiable",
    "features": "cnnviz.methods.units.features",
    "Features": "cnnviz.results.features",
    "FeatureMaps": "cnnviz.results.features",
    "filters": "cnnviz.methods.units.filters",
    "Filters": "cnnviz.results.filters",
    "draw_digit": "cnnviz.images.synthetic.digits",
    "draw_scene": "cnnviz.images.synthetic.scenes",
    "ensure_writable": "cnnviz.drawing.files",
    "expand_paths": "cnnviz.images.inputs",
    "gradcam": "cnnviz.methods.cams.gradcam",
    "fullgrad": "cnnviz.methods.cams.fullgrad",
    "eigengradcam": "cnnviz.methods.cams.gradcam_variants",
    "eigencam": "cnnviz.methods.cams.activation",
    "reciprocam": "cnnviz.methods.cams.perturbation",
    "ablationcam": "cnnviz.methods.cams.perturbation",
    "scorecam": "cnnviz.methods.cams.perturbation",
    "shapleycam": "cnnviz.methods.cams.gradcam_variants",
    "smooth_gradcam_plusplus": "cnnviz.methods.cams.gradcam_variants",
    "layercam": "cnnviz.methods.cams.gradcam",
    "maximize": "cnnviz.methods.ascent.maximize",
    "hirescam": "cnnviz.methods.cams.gradcam",
    "xgradcam": "cnnviz.methods.cams.gradcam",
    "gradcam_plusplus": "cnnviz.methods.cams.gradcam",
    "captum": "cnnviz.methods.gradients.captum",
    "video": "cnnviz.methods.video",
    "saliency": "cnnviz.methods.gradients.plain",
    "smoothgrad": "cnnviz.methods.gradients.plain",
    "integrated_gradients": "cnnviz.methods.gradients.integrated",
    "guided_backprop": "cnnviz.methods.gradients.guided",
    "guided_gradcam": "cnnviz.methods.gradients.guided",
    "deconvnet": "cnnviz.methods.gradients.guided",
    "Attribution": "cnnviz.results.attribution",
    "Attributions": "cnnviz.results.attribution",
    "grid": "cnnviz.results.compose",
    "load_model": "cnnviz.models.load",
    "model_names": "cnnviz.models.names",
    "occlusion": "cnnviz.methods.occlusion.occlusion",
    "report": "cnnviz.reporting.report",
    "Report": "cnnviz.reporting.page",
    "rise": "cnnviz.methods.occlusion.rise",
    "feature_occlusion": "cnnviz.methods.occlusion.occlusion",
    "patches": "cnnviz.methods.patches.patches",
    "scan_patches": "cnnviz.methods.patches.patches",
    "merge_patches": "cnnviz.methods.scan.shards",
    "predict": "cnnviz.methods.predict",
    "progress_to": "cnnviz.engine.batching",
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
