"""Pictures made by gradient ascent on a target's score, and how good they are.

maximize          the public method
recipes           recipes by name: parameterisation, random views, steps and rates that belong together
views             views of the images: moved, scaled and turned samples of them
request           the request, checked: targets, the picture to start from, the canvas, the recipe
session           one call of ``maximize``: its settings, and its images, some at a time
optimise          gradient ascent on some images at once
objective         scores of targets by a private copy of the network, run as far as the target's layer
parameterisation  images as functions of parameters: Fourier coefficients, phases, a pyramid, pixels
spectrum          colour statistics of photographs: covariance of channels, amplitude spectrum
progress          the current score, step by step, for whoever watches
quality           how good a picture is: held-out views, spectrum, norms, a second network
judge             what a second network says to a picture
"""
