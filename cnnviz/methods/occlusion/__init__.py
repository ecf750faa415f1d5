"""Maps from hiding parts of the picture or of a layer.

occlusion: occlusion, and feature occlusion at a layer.
rise: RISE, by random masks.
baselines: what a hidden part is filled with.
scorer: scores of many changed copies of a picture.
sides: how long windows are, in places of the input.
windows: windows of a picture hidden, each alone.
budget: which windows are evaluated.
estimate: values of the others, with an error bar.
random_masks: random masks, and means weighed by them.
"""
