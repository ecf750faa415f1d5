"""Charts: numbers as matplotlib figures.

charts       means with their intervals, mean curves, a matrix of correlations
confusion    which classes are taken for which
reliability  confidence beside accuracy, bin by bin
"""
