"""A report: one page about one network and a few pictures, in chapters.

report         the public function
chapters       the chapters that a report can have, one entry each, and the report written from those asked for
chapter        what every chapter is written from and what it becomes; the budget of forwards for slow parts
answers        chapters about the answers: predictions, maps, units that drive them
network        chapters about the network: overview and layers
responses      chapters about what units respond to: kernels, maps, patches, pictures made for them
mistakes       the chapter about a data set with true classes: a short audit
driving_units  the units of a layer that contribute most to a target's score
costs          what a method costs in forwards, and how it is kept within a budget
elements       page elements of results: words, tables and pictures
page           the result: a page that saves itself
"""
