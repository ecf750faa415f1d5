"""What is kept of every unit's largest values over many images.

- ``recorder``: the largest value of every unit of many layers in each image, while the network runs.
- ``tally``: what is kept of all images: the largest values, histograms, sums by class and a random sample.
"""
