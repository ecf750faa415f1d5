"""How networks are run and asked: nothing here knows of a method, a picture file or a result.

Running the user's network:

- ``undisturbed``: evaluation mode inside and everything as it was outside; fixed threads; reproducible arithmetic.
- ``state``: what is kept of a network and of torch for that, to be put back.
- ``batching``: inputs in chunks, backing off where memory runs out, with progress.
- ``layers``: the layers of a network from one forward, and which of them reach a target.
- ``arrangement``: where an activation keeps its channels and places, and activations as maps.
- ``functions``: activation functions that are called between modules, as layers of their own.
- ``capture``: activations and gradients of layers, from one forward and backward.
- ``calls``: what a forward's calls tell: what is made from the input, where gradients are cut, what is random.
- ``partial``: a forward that ends at a layer.
- ``replay``: what comes after a layer, run again with another activation there.
- ``windows``: answers for a picture with one window changed.

What is asked:

- ``logits``: the logits in whatever a network returns.
- ``detections``: the boxes in whatever a detector returns.
- ``scores``: targets settled by an answer, and each image's score of its target.
- ``fields``: receptive fields of every layer.
- ``tally``: the largest values of every unit over many images.

What networks are made of:

- ``activations``: activation functions, gates and products, however they are spelled.
- ``rules``: guided backpropagation and deconvnet on activation functions.
- ``secants``: a forward of an input and a baseline at once, whose gradients are multipliers between the two.
- ``kernels``: the weights that a forward convolves with.
- ``biases``: every bias and the score's gradient there.
- ``batch_norms``: folding batch norm into convolutions, and the distance from its running statistics.
- ``heads``: a head that averages maps before the classes.
"""
