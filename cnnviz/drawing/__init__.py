"""Drawing: numpy arrays in; pixels, a matplotlib figure, a page or a file out.

colour     what a colour means: scales, colour maps, colour bars
overlay    a map enlarged, put where the network looked, and blended into its picture
plots      values without a picture: a plane, a line over time, slices
samples    what a network was asked about, whatever its kind, with or without a map, and how maps are drawn
signals    a signal as lines with a map as colour under them, and a time axis
volumes    a volume as three views or as slices, and a clip as frames
boxes      boxes with words, and points, over a picture
text       words in the font that ships with matplotlib: measured and wrapped
fonts      which font has a character, and lines set in as many fonts as they need
sheet      cells in rows and columns with words around them, and where everything goes
layout     what a laid-out sheet is made of, in whole pixels
paper      how a figure is set on paper: width, font, notes, title; and what gives way where it is narrow
raster     a sheet as pixels
figure     a grid of pictures; a sheet as a matplotlib figure
charts     means with intervals, curves, and a matrix of correlations, as matplotlib figures
files      pictures, figures, arrays, maps of volumes and pages written whole or not at all
notes      the note inside a file: how each format holds it
animation  frames one after another as GIF, WebP or MP4
pages      what a report is made of, and how it becomes one HTML file
"""
