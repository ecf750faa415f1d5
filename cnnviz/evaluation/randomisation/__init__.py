"""The model-randomisation test: how alike the maps of a network stay when its weights are drawn anew.

cascade    a private copy of a network whose layers draw new weights, from the top down
agreement  how alike two maps are: rank correlation and structural similarity; the entropy of a map
mprt       the test: similarities by method, picture, depth and seed; the floor, and edges
strip      a figure: methods by depth of randomisation
"""
