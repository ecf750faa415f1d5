"""Methods: from a network and pictures to a result; the arithmetic on what the engine hands over.

prepare: images and targets in any accepted form, as one batch to ask about.
references: pictures that others are compared with, shown to the network once a call.
ask: one question to a network, chunk by chunk, its answers, and the heat maps or attributions made of them.
settings: the choices that settings of several methods are annotated with.
predict: what the network answers.
cams: class activation maps.
gradients: attributions from gradients at the input.
occlusion: maps from hiding parts of the picture or of a layer.
concepts: what activations over several pictures have in common (DFF).
units: what single units are made of and respond to.
patches: top-activating patches of a data set.
scan: scans of data sets, which patches are found by.
ascent: pictures that excite a class or a unit, by gradient ascent.
compare: several methods side by side.
video: a method on every frame of a clip.
"""
