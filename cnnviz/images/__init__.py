"""Pictures, signals and volumes in: from files, arrays and videos, one by one or as a data set.

- ``inputs``: whatever a method was given, as a list of pictures and tensors.
- ``reading``: one picture from a file, a Pillow image or an array.
- ``pixels``: any colour mode, depth and orientation as upright 8-bit sRGB.
- ``arrays``: values from ``.npy`` files, checked.
- ``signals``: signals from arrays, tables and sound files.
- ``volumes``: volumes from arrays, stacks of slices, and whatever else holds one.
- ``nifti``: volumes from NIfTI files, turned the way all volumes lie.
- ``dicom``: volumes from series of DICOM files, likewise.
- ``crop``: what a part of the network's input shows, cut out of the photograph.
- ``video``: the frames of a video or an animated picture.
- ``datasets``: many pictures by number.
- ``synthetic``: drawn scenes and digits.
"""
