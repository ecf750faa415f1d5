"""A scan: one pass over a data set that ends in an index of its top-activating patches.

scan       the pass: blocks through the network, shared among processes
scope      its settings, a job's share of it, and its layers
manifest   all that decides over the bytes of an index, written before anything else
processes  those that work together, and the state of the network in which all compute
loader     blocks of images, read in other processes while the network computes
part_files what any work on a data set found in some blocks, a file each, beside its manifest
shards     what some blocks gave, in a file of its own; several jobs' shards merged
index      everything that the shards counted, added up, and random samples from every tenth
"""
