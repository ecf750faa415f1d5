"""What single units of a layer are made of, respond to and see.

features         the public method: feature maps of a picture; units named by numbers and ranges
filters          the public method: the kernels of a layer
kernels          properties of kernels: norms, dead ones, duplicates, an order, colours for many channels
effective_field  the public function: how much each pixel really moves a unit
projections      a unit's activations projected back to the pixels (deconvnet)
"""
