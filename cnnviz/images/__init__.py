"""Pictures in: from files, arrays and videos to upright sRGB pixels, one by one or as a data set.

- ``inputs``: whatever a method was given, as a list of pictures and tensors.
- ``reading``: one picture from a file, a Pillow image or an array.
- ``pixels``: any colour mode, depth and orientation as upright 8-bit sRGB.
- ``crop``: what a part of the network's input shows, cut out of the photograph.
- ``video``: the frames of a video or an animated picture.
- ``datasets``: many pictures by number.
- ``synthetic``: drawn scenes and digits.
"""
