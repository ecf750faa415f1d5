"""A study: the pictures of a data set through methods and metrics, block by block.

annotations    masks and boxes of files, and of drawn scenes, placed on the network's input
candidates     what is judged: methods at their layers, functions of a script, controls
meter          forwards and seconds that something takes
judge          the maps of a block of pictures, and what every metric says of them
parts          the study's folder: what decides over its values, and what was found in some blocks
"""
