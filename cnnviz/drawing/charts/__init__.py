"""Charts: numbers as matplotlib figures.

charts  means with their intervals, mean curves, a matrix of correlations
"""
