"""Screenshots of the explorer's views, from phone to desk: ``python -m tests.support.explorer_shots``."""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from PIL import Image

import cnnviz
from tests.support.explorer_page import DRAWN, MAP, ExplorerPage, exploring

SIZES: Final = ((390, 844), (1280, 900), (1920, 1080))
SCENE: Final = "scene-1.png"
UNIT: Final = "#/layer/layer3/unit/46?picture=scene-1.png"
PATCHES: Final = "document.querySelectorAll('.patches li').length > 0"
MADE: Final = "document.querySelector('.frame-of-made')?.dataset.done === 'whole'"


def open_view(page: ExplorerPage, name: str, width: int, *, dark: bool) -> None:
    """Show a view with something going on in it."""
    views = {
        "start": "#/",
        "picture": f"#/picture/{SCENE}?layer=layer2",
        "hidden": "#/picture/scene-4.png",
        "layer": f"#/layer/layer2?picture={SCENE}&sort=contribution",
        "unit": UNIT,
    }
    page.show(views[name], width=width, dark=dark)
    if name in ("picture", "hidden"):
        page.tab.until(MAP)
    if name == "picture":
        page.tab.click(".frame", 0.62, 0.3)
        page.tab.until("document.querySelectorAll('.units li').length > 0")
    if name == "hidden":
        page.tab.click(".modes label:last-of-type span")
        page.tab.drag(".frame", [(0.3, 0.4), (0.42, 0.5), (0.5, 0.62)])
        page.tab.until("!document.querySelector('.frame .seen').hidden")
    if name == "unit":
        page.tab.until(PATCHES)
        page.tab.evaluate("[...document.querySelectorAll('.making button')].at(-1).click()")
        page.tab.until(MADE)
    page.tab.until(DRAWN)
    page.tab.evaluate("document.activeElement.blur()")
    page.tab.mouse("Moved", 2, 2)
    page.tab.evaluate("window.scrollTo(0, 0)")
    time.sleep(0.4)


def main() -> None:
    """Take all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--views", default="start,picture,hidden,layer,unit")
    parser.add_argument("--widths", default="390,1280,1920")
    parser.add_argument("--light-only", action="store_true")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    model = cnnviz.load_model("shapes-resnet")
    with TemporaryDirectory() as folder:
        index = str(Path(folder) / "index")
        cnnviz.patches(model, "shapes:400", layer="layer2,layer3", index=index, samples=1)
        with exploring(Path(folder) / "profile", model, index=index, data="shapes:400") as page:
            for name in given.views.split(","):
                for width, height in SIZES:
                    for dark in (False,) if given.light_only else (False, True):
                        if str(width) not in given.widths.split(","):
                            continue
                        open_view(page, name, width, dark=dark)
                        page.tab.resize(width, height, dark=dark)
                        time.sleep(0.3)
                        path = given.folder / f"{name}_{width}{'_dark' if dark else ''}.png"
                        Image.open(io.BytesIO(page.tab.shot())).save(path)


if __name__ == "__main__":
    main()
