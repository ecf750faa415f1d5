"""What all parts speak of: targets, layers, fields and pictures as plain values, loaded without torch and NumPy.

- ``target``: what is explained.
- ``parse_target``: a target from what a user writes.
- ``region``: a part of a picture, as it is named, on a grid, and as a map marks it.
- ``similar``: likeness to another picture as a target.
- ``aim``: targets of pictures that are made.
- ``head``: what the numbers of a network's output mean.
- ``layer``: the layers of a network, and where an activation keeps its channels and places.
- ``dimensions``: how many axes of places there are.
- ``field``: the receptive field of a layer's units.
- ``sample``: what a network is asked about, of whatever kind, and how its input was cut from it; signals and volumes.
- ``picture``: a picture.
- ``change``: changes for a while, undone also where an interrupt strikes in their undoing.
- ``capacity``: the memory that is free, and errors that say that there is none.
- ``atomic``: files that are written whole or not at all.
- ``notebook``: what objects show of themselves at a prompt and in a notebook.
- ``untrusted``: what comes from outside, checked where it enters.
"""
