"""``python -m cnnviz``: the same as the command ``cnnviz``."""

from importlib.metadata import entry_points

if __name__ == "__main__":
    for command in entry_points(group="console_scripts", name="cnnviz"):
        command.load()(prog_name="cnnviz")
