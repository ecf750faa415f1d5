"""The commands, each made of a method's signature or with options of its own.

method    every method of the catalogue that has no command below: pictures in, maps out; clips in, clips out
data_set  the same of a data set: maps in one store, or as pictures in a folder, shared and resumable
predict   ``predict``: the most probable classes of every picture
compare   ``compare``: several methods, networks or layers side by side
units     ``features`` and ``filters``: maps and kernels of a layer
patches   ``patches`` and ``merge``: what of a data set excites a layer's units most
maximize  ``maximize``: pictures made by gradient ascent
evaluate  ``evaluate``: how good maps are, measured
audit     ``audit``: a whole data set: where a network is wrong, and what it looks at
report    ``report``: everything about one network and a few pictures on one page
explore   ``explore``: a network and pictures live in the browser
lists     ``models``, ``layers`` and ``methods``: what there is
record    ``info`` and ``rerun``: how a file was made, and making it again
demo      ``demo``: every method once on the bundled networks
"""
