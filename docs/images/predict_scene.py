"""Draw predict_scene.png: sample scenes of the package above, what `nano` finds in them below.

Run from anywhere: `python docs/images/predict_scene.py [WEIGHTS]`.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import samspl
from samspl.assets import sample_scenes
from samspl.inference.result import Result

SCENES = ("clouds", "sky", "buildings16")
SIDE = 384
GAP = 6


def column(result: Result) -> np.ndarray:
    """A scene and its overlay, one above the other, on white."""
    unmarked = Result(result.name, result.image, result.prob, np.zeros_like(result.mask), ())
    drawn = [shown.draw() for shown in (unmarked, result)]
    square = [picture.crop((0, 0, picture.width, picture.width)) for picture in drawn]  # without the legend
    pictures = [np.asarray(picture.resize((SIDE, SIDE))) for picture in square]
    return np.vstack([pictures[0], np.full((GAP, SIDE, 3), 255, np.uint8), pictures[1]])


detector = samspl.Detector(sys.argv[1] if len(sys.argv) > 1 else "nano")
scenes = {path.stem: path for path in sample_scenes()}
columns: list[np.ndarray] = []
for name in SCENES:
    found = detector(scenes[name])
    print(name, len(found.targets), "targets")
    columns += [column(found), np.full((2 * SIDE + GAP, GAP, 3), 255, np.uint8)]
picture = Image.fromarray(np.hstack(columns[:-1]))
picture.quantize(128).save(Path(__file__).with_suffix(".png"), optimize=True)
