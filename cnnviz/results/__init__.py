"""What methods return: results know how to draw, describe and save themselves.

result       Grid, and the bases of all results: drawn, saved, plotted, stamped; alone and in a batch
explanation  what explains one target on one picture: what its colours measure, its words
heatmap      Look, how maps are drawn; Heatmap, one map of a picture, and Heatmaps
attribution  Attribution, a value for each pixel and channel, and Attributions
comparison   the maps of several methods, layers or networks side by side; a grid of one's own
film         the maps of a clip's frames, and how they are gathered and written
predictions  the first classes of every picture
detections   the boxes that a detector finds on every picture
features     the feature maps of a layer for some pictures
filters      the kernels of a layer
projections  activations of a layer's units, projected back to the pixels
layers       effective receptive field, and candidate layers ranked by their maps
concepts     what a layer's activations over some pictures fall into
images       synthesised pictures, still or as an animation
patches      what of a data set excites a layer's units most, and units by class
patch_index  what a scan of a data set found, without the pictures
"""
