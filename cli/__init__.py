"""The command line, installed as ``cnnviz.cli``; nothing but the entry point names it."""
