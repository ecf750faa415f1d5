"""The explorer: a network and pictures live in the browser, on this machine.

explore      ``explore``: starts it, and the handle that a script holds
exploration  what is explored: networks, pictures, a data set, an index of patches
pictures     the pictures: those given, those dropped into the browser, those of the data set
questions    what can be asked about pictures, layers and units, and how it is drawn
worker       the one thread that asks the networks; tasks that can be cancelled
jobs         long tasks: progress, frames, the end
cache        what was answered, as long as there is room
guard        who may ask: token, cookie, Host and Origin; what the browser may do with an answer
server       the server and its thread
routes       addresses and what they answer
job_routes   addresses of long tasks: begun, watched, cancelled
saved        a session as a file

The page itself lies in ``static``: HTML, CSS and plain scripts.
"""
