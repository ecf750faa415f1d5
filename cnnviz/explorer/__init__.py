"""The explorer: a network and pictures live in the browser, on this machine.

explore          ``explore``: starts it, and the handle that a script holds
exploration      what is explored: networks, pictures, a data set, an index of patches
pictures         the pictures: those given, those dropped into the browser, those of the data set
worker           the one thread that asks the networks; tasks that can be cancelled
jobs             long tasks: progress, frames, the end
cache            what was answered, as long as there is room
drawings         answers as PNG files: overlays, maps alone, sheets of many units' maps
guard            who may ask: token, cookie, Host and Origin; what the browser may do with an answer
server           the server and its thread
routes           addresses and what they answer
job_routes       addresses of long tasks: begun, watched, cancelled
picture_answers  questions about a picture: classes, hidden parts, maps
layer_answers    questions about layers: what there is, all units' maps, what responds at a place
unit_answers     questions about one unit
wiring           how units are joined: kernels, and what reads from what
made_answers     what long tasks make: pictures by gradient ascent, top patches of a data set
saved            a session as a file

The page itself lies in ``static``: HTML, CSS and plain scripts.
"""
