"""A scan: one pass over a data set that ends in an index of its top-activating patches.

scan      the pass: blocks through the network, shared among processes
scope     its settings, a job's share of it, and its layers
manifest  all that decides over the bytes of an index, written before anything else
loader    blocks of images, read in other processes while the network computes
shards    what some blocks gave, in a file of its own; several jobs' shards merged
index     everything that the shards counted, added up, and random samples from every tenth
"""
