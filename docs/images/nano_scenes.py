"""Draw nano_scenes.png: what `nano` finds and misses in the sample scenes of the package.

Run from anywhere: `python docs/images/nano_scenes.py [WEIGHTS]`.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import samspl
from samspl.draw import draw_comparison
from samspl.web.scenes import RECIPES, draw

SIDE = 384
COLUMNS = 3

detector = samspl.Detector(sys.argv[1] if len(sys.argv) > 1 else "nano")
pictures = []
for scene in map(draw, RECIPES):
    marked = draw_comparison(scene.image, detector(scene.image).mask, scene.mask)
    scale = marked.width // scene.image.shape[1]
    side = scale * min(scene.image.shape)  # without the legend
    pictures.append(np.asarray(marked.crop((0, 0, side, side)).resize((SIDE, SIDE))))
rows = [np.hstack(pictures[i : i + COLUMNS]) for i in range(0, len(pictures), COLUMNS)]
Image.fromarray(np.vstack(rows)).quantize(256, Image.Quantize.FASTOCTREE).save(
    Path(__file__).with_suffix(".png"), optimize=True
)
