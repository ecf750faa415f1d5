"""The explorer from a script: a network of your own and your pictures, live in the browser until you press Enter.

Run it: python examples/explorer.py
"""

from __future__ import annotations

import sys

import cnnviz


def main() -> None:
    model = cnnviz.load_model("shapes-resnet")
    scenes = [cnnviz.draw_scene(number, size=256).pixels for number in range(3)]
    with cnnviz.explore(model, scenes, data="shapes:40") as explorer:
        print(explorer.url)  # opens it once; explorer.open() opens the browser
        if sys.stdin.isatty():
            input("Press Enter to stop. ")


if __name__ == "__main__":
    main()
