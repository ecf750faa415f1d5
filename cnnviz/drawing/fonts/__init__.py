"""Fonts: which one has a character, and a line of text set in as many as it needs.

families   the files and characters of a font, and the fonts that stand in for one that lacks a character
lines      a line of text in the pieces that one font sets each: measured and drawn
pdf        what of a figure's text a PDF can hold as text
"""
