"""Shortcuts: maps of each class clustered, and the places that they look at put to the test.

shortcuts       the public function: which places a network looks at in each class, and which are shortcuts
findings        what it returns: the clusters of every class, and the flagged ones
search          the search in one class
relevance       maps and answers of a data set's pictures, block by block
clusters        spectral embedding of a graph of neighbours, the number of clusters by the eigengap
places          where a cluster's maps look, and what of it its pictures have in common
common_content  what pictures have in common, put on others; places exchanged
effects         how far a change of pictures changes a class's probability
channels        what each channel of a layer adds, and which channels tell a cluster
listing         lines of text, CSV and JSON
cluster_figure  the figure
cluster_page    the page, and its blocks
"""
