"""Attributions to pixels, from gradients at the input.

plain: saliency and SmoothGrad.
integrated: integrated gradients.
deeplift: DeepLIFT's contributions, of pixels or of a layer's units.
guided: guided backpropagation, Guided Grad-CAM and the deconvnet.
captum: algorithms of the captum library.
input_gradients: the gradient at the input, plain or by a rule, and over noisy copies.
contributions: contributions between baselines and inputs, and how far they are from adding up.
path_integral: the integral of the gradient from a baseline to the input.
captum_caller: captum on a private copy of the network.
"""
