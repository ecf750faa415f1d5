"""Top-activating patches: what of a data set excites each unit most.

patches  the public method, and the scan alone
show     pictures of the patches in an index, each verified by running its picture again
cut      where a unit's patch lies on the input, and the rows of patches cut out
reread   pictures read once more, and run as the scan did
"""
