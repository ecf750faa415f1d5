"""Maps of a whole data set: every map method, block by block, resumable, shared among processes and jobs.

map_request  what is asked: the network, the pictures, the method with its settings, what is explained
asker        a method asked about a block of pictures
map_store    a store in the making: chunks and parts while the work goes on, a zarr group once it is done
zarr_group   that group: its arrays, and what is known of the pictures of each block
write_maps   maps of a data set in a store, by one process, several, or several jobs whose stores are merged
open_maps    a store opened: maps with their keys, targets and scores
draw_maps    maps of a data set as pictures in a folder
"""
