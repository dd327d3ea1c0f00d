"""The sample scenes that come with the package: where they lie, and the recipe that draws them.

They are drawn by `samspl.data.synthetic`, so nobody's data is in them, and every pixel can be had again.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from samspl.data.backgrounds import BackgroundKind
from samspl.data.synthetic import Scene, draw_scene
from samspl.imaging import write_image

FOLDER = Path(__file__).resolve().parents[1] / "assets" / "scenes"
"""`NAME.png` for each of `RECIPES`."""
_SCR_RANGE = (4.0, 14.0)


@dataclass(frozen=True)
class Recipe:
    """What `draw_scene` is asked for."""

    name: str
    """Stem of the file."""
    title: str
    """Shown beneath the picture."""
    background: BackgroundKind
    """What it shows."""
    bits: Literal[8, 16]
    """Depth of the file."""
    seed: int
    """Chosen by eye."""
    targets: int
    """How many."""
    size_hw: tuple[int, int] = (256, 256)
    """Height and width in pixels."""

    @property
    def path(self) -> Path:
        """Of the file in the package."""
        return FOLDER / f"{self.name}.png"


RECIPES = (
    Recipe("clouds", "Clouds", "clouds", 8, 6, 3),
    Recipe("sky", "Hazy sky", "plain", 8, 0, 3),
    Recipe("ridge", "Ridge", "ground", 8, 0, 3),
    Recipe("clouds16", "Clouds", "clouds", 16, 7, 2),
    Recipe("buildings16", "Buildings", "buildings", 16, 6, 3),
    Recipe("sea16", "Sea", "sea", 16, 0, 3, (256, 320)),
)
"""In the order in which they are shown."""


def draw(recipe: Recipe) -> Scene:
    """Draw a scene; the same recipe gives the same scene."""
    rng = np.random.default_rng(recipe.seed)
    return draw_scene(rng, recipe.size_hw, recipe.bits, _SCR_RANGE, recipe.targets, recipe.background)


def write_scenes(folder: str | Path = FOLDER) -> None:
    """Draw all scenes into a folder; without argument, those of the package anew."""
    for recipe in RECIPES:
        write_image(Path(folder) / f"{recipe.name}.png", draw(recipe).image)
