"""Networks of one and of three dimensions: where the event in a signal is, and where the solid in a volume.

Draws Grad-CAM of both, beside each other; the truth is known, since both inputs are drawn.

Run it: python examples/signals_and_volumes.py
"""

from __future__ import annotations

import cnnviz


def main() -> None:
    signal, volume = cnnviz.draw_signal(3), cnnviz.draw_volume(5)
    beat = cnnviz.gradcam(cnnviz.load_model("signals-cnn"), signal.sample)[0]
    solid = cnnviz.gradcam(cnnviz.load_model("volumes-cnn"), volume.sample)[0]

    (place,) = beat.peak()
    print(f"{beat.target}: strongest at sample {place}; the {signal.label} lies from {signal.start} to {signal.stop}")
    column, row, slice_ = solid.peak()
    print(f"{solid.target}: strongest at {column}, {row}, {slice_}; inside: {bool(volume.mask[slice_, row, column])}")

    hidden = cnnviz.occlusion(cnnviz.load_model("signals-cnn"), signal.sample, window="0.2s")
    print(hidden.save("signal_occlusion.png"))
    print(cnnviz.grid([[beat, solid]]).save("signal_and_volume.jpg", width=6.75))


if __name__ == "__main__":
    main()
