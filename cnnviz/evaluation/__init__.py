"""Evaluation: how good the maps of a method are, measured, beside controls, with intervals.

metric         what a metric is, one line each; a case to judge maps on
evaluate       maps of several methods on a data set, judged
study          the pictures of a data set through methods and metrics: blocks, shards, several processes
evaluation     the values of every picture, method and metric: intervals, tables, figures
table          an evaluation in words: a page, comma-separated values, JSON, lines of text
figures        means with their intervals, mean curves, how far metrics agree
statistics     bootstrap intervals, paired differences, ranks
controls       maps that know nothing of the network: random, centre, edges, constant, random phases
certificate    one map of one photograph, told without annotation
faithfulness   pixels deleted or inserted by their order in a map; average drop and gain
road           pixels removed by noisy linear imputation
infidelity     infidelity, by square removal
localisation   maps against masks and boxes: pointing, mass, rank, overlap
complexity     how sparse or how even a map is
explain        a method asked for maps, once more and on changed pictures; targets that stay the same then
randomisation  maps of a network whose weights are drawn anew, layer by layer
mosaics        the grid pointing game: mosaics of confidently classified pictures
robustness     maps of slightly changed pictures, and of other seeds
"""
