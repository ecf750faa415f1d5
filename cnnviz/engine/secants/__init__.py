"""Contributions that add up: between an input and a baseline every function passes back its secant, not its slope.

With the values ``a`` and ``b`` that a tensor has for the input and for the baseline, a function's multiplier is such
that ``f(a) - f(b) = multiplier * (a - b)``; multipliers follow each other as derivatives do.

pairs: a forward of two inputs at once; every tensor and its twin, the same in the baseline's forward.
nodes: how multipliers pass: a slope, a product of two tensors, the larger of several values, a path.
rescale: which function passes multipliers how.
attention: softmax, attention and norms, taken apart into sums, products and functions of one number.
"""
