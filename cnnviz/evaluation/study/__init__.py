"""A study: the pictures of a data set through methods and metrics, block by block.

design         what is judged, by what, on which pictures; and all that decides over the values
annotations    masks and boxes of files, and of drawn scenes, placed on the network's input
candidates     what is judged: methods at their layers, functions of a script, controls
meter          forwards and seconds that something takes
assessor       the maps of a block of pictures, and what every metric says of them
examples       the pictures on which a method does best and worst, with its maps
store          the study's folder: what decides over its values, and what was found in some blocks
"""
