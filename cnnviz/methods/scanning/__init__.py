"""A pass over a data set: blocks, shards, processes, and the index they make."""
