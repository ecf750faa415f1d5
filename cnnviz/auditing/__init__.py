"""An audit: a whole data set with true classes, where the network is wrong on it and what it looks at.

truth        the true classes of a data set as the network's own, and the groups that its pictures belong to
class_names  a network's classes by every name that they go by
class_table  a table of classes and groups
wordnet      the WordNet ids of ImageNet's classes
"""
