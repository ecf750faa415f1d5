"""The command line, installed as ``cnnviz.cli``; nothing but the entry point names it.

app       the command ``cnnviz``: the group of all commands, loaded when called
commands  a folder of the commands
options   options made of a method's signature, and those that commands share
run       the run that commands share: network, pictures, answers, failures, exit code
output    files that results go to, planned before any work; the console: progress, notes, tables, JSON
errors    what goes wrong, as one sentence on stderr and an exit code
"""
