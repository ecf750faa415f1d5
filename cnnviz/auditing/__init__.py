"""An audit: a whole data set with true classes, where the network is wrong on it and what it looks at.

audit          the public function
audit_result   the result: numbers, tables, figures and a page of one network on one data set
truth          the true classes of a data set as the network's own, and the groups that its pictures belong to
class_names    a network's classes by every name that they go by
class_table    a table of classes and groups
wordnet        the WordNet ids of ImageNet's classes
outcomes       what the network answers of every picture, found in blocks
accuracy       shares with intervals, the confusion matrix and its order, two networks on the same pictures
calibration    reliability, expected calibration error, temperature scaling
doubts         labels in doubt, and near-duplicates
frame          maps over the whole data set on the picture's frame: means, and shares in mask, centre and border
cases          single pictures, drawn: mistakes with the maps of the answer and of the true class
tables         an audit as lines of text, comma-separated values and JSON
audit_figures  an audit's figures
audit_page     an audit's page
shortcuts      places that a network looks at in each class, clustered, with a causal check
"""
