"""Class activation maps.

gradcam: Grad-CAM, Grad-CAM++, XGrad-CAM, HiResCAM and LayerCAM: activations weighed by gradients.
gradcam_variants: Smooth Grad-CAM++, Shapley-CAM and EigenGrad-CAM.
activation: CAM and Eigen-CAM, from activations alone.
perturbation: Score-CAM, Ablation-CAM and Recipro-CAM, from changes.
fullgrad: FullGrad, over the biases of all layers.
layer_maps: what most of them share: layers and where they lie, how they are fused, mirrored pictures, checks.
probe: activations and gradients of layers, by one forward and one backward.
bottleneck: the automatic layer of networks with dense answers, and of detectors.
kept: answers about layers, kept while several methods look at the same pictures.
grids: maps of several layers, or of a mirrored picture, on one grid.
poles: channels that make much of a map because a denominator is near zero.
principal: the first principal component of maps.
changed_layer: a layer with other maps in the place of its own.
channel_masks: channels as masks on the picture.
rank_layers: which layer to look at.
differentiable: maps as differentiable tensors, for a loss.
"""
