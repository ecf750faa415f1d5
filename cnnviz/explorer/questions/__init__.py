"""What can be asked, each as plain values that the Python API gives, with drawings by name.

picture_answers  a picture: classes, hidden parts, maps
layer_answers    layers: what there is, all units' maps, what responds at a place
unit_answers     one unit: its map, kernel, classes, what switching it off changes
made_answers     what long tasks make: pictures by gradient ascent, top patches of a data set
wiring           how units are joined: kernels, and what reads from what
drawings         answers as PNG files: overlays, maps alone, sheets of many units' maps
"""
