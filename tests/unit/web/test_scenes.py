"""The sample scenes of the package: they are what their recipe draws, and small."""

import numpy as np
import pytest

from samspl.imaging import read_image
from samspl.web.scenes import FOLDER, RECIPES, draw, write_scenes


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_file_is_what_its_recipe_draws(recipe):
    scene = draw(recipe)
    stored = read_image(recipe.path)
    assert stored.dtype == (np.uint8 if recipe.bits == 8 else np.uint16)
    assert stored.shape == recipe.size_hw
    assert len(scene.targets) == recipe.targets
    # other versions of numpy and scipy may round a few pixels otherwise, by one grey level in a hundred
    step = 3 if recipe.bits == 8 else 3 * 256
    assert np.abs(stored.astype(np.int64) - scene.image).max() <= step
    assert (stored == scene.image).mean() > 0.5


def test_folder_holds_six_small_scenes_of_both_depths_and_nothing_else():
    assert sorted(p.name for p in FOLDER.iterdir()) == sorted(f"{r.name}.png" for r in RECIPES)
    assert len(RECIPES) == 6
    assert {r.bits for r in RECIPES} == {8, 16}
    assert all(r.path.stat().st_size < 200_000 for r in RECIPES)


def test_targets_stand_out_in_every_file(tmp_path):
    write_scenes(tmp_path)
    for recipe in RECIPES:
        image, scene = read_image(tmp_path / f"{recipe.name}.png"), draw(recipe)
        assert np.array_equal(image, scene.image)
        assert all(4 <= target.scr <= 14 for target in scene.targets)
