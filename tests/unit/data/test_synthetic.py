"""Synthetic scenes: the truth they tell about themselves, measured again from the finished image."""

import csv
import re
import runpy
from pathlib import Path

import numpy as np
import pytest

from samspl.data.backgrounds import BACKGROUND_KINDS, draw_background, fractal_noise
from samspl.data.synthetic import CSV_HEADER, draw_scene, write_dataset
from samspl.data.target_shapes import MASK_FRACTION, MAX_SIZE_PX, draw_stamp
from samspl.errors import ConfigError
from samspl.imaging import read_image, read_mask
from samspl.targets import find_targets


def _folder_bytes(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("background", BACKGROUND_KINDS)
def test_every_target_is_one_component_with_the_stated_area_size_and_scr(background: str, bits: int) -> None:
    for seed in range(6):
        scene = draw_scene(
            np.random.default_rng(seed), bits=bits, scr_range=(2.0, 9.0), background=background
        )
        found = find_targets(scene.mask, image=scene.image)
        assert len(found) == len(scene.targets)
        # the order of laying is not that of scanning
        for truth in scene.targets:
            same = min(found, key=lambda t: np.hypot(*np.subtract(t.centroid_xy, truth.centroid_xy)))
            left, top, right, bottom = same.bbox_xyxy
            assert same.area_px == truth.area_px
            assert max(right - left, bottom - top) == truth.size_px <= MAX_SIZE_PX
            assert same.scr == pytest.approx(truth.scr, rel=1e-9)
            assert 2.0 <= truth.scr <= 9.0
            assert np.hypot(*np.subtract(same.centroid_xy, truth.centroid_xy)) < 1.5


def test_targets_are_brighter_than_their_surroundings() -> None:
    scene = draw_scene(np.random.default_rng(3), target_count=3, background="clouds")
    for target in find_targets(scene.mask):
        left, top, right, bottom = target.bbox_xyxy
        window = np.s_[max(top - 5, 0) : bottom + 5, max(left - 5, 0) : right + 5]
        inside = scene.mask[window]
        assert scene.image[window][inside].mean() > scene.image[window][~inside].mean()


def test_stamp_has_peak_one_and_its_mask_is_where_it_reaches_the_fraction() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        stamp = draw_stamp(rng)
        assert stamp.template.max() == pytest.approx(1.0)
        np.testing.assert_array_equal(stamp.inside, stamp.template >= MASK_FRACTION)
        # all of the mask and the tail of the blur fit on the stamp
        assert not stamp.inside[[0, -1]].any()
        assert not stamp.inside[:, [0, -1]].any()


def test_target_sizes_span_one_to_more_than_ten_pixels() -> None:
    rng = np.random.default_rng(1)
    sizes = [draw_stamp(rng).size_px for _ in range(400)]
    assert min(sizes) == 1
    assert 11 <= max(sizes) <= MAX_SIZE_PX


def test_positions_of_point_targets_are_sub_pixel() -> None:
    rng = np.random.default_rng(2)
    centres = np.array([s.centre_xy for s in (draw_stamp(rng) for _ in range(300)) if s.kind == "point"])
    fractions = (centres + 0.5) % 1
    assert np.histogram(fractions, 4, (0, 1))[0].min() > 0.1 * fractions.size


def test_requested_count_is_laid_and_none_means_no_mask() -> None:
    scene = draw_scene(np.random.default_rng(5), target_count=5, background="plain")
    assert len(scene.targets) == 5
    empty = draw_scene(np.random.default_rng(5), target_count=0)
    assert not empty.mask.any()
    assert empty.targets == ()


def test_share_of_empty_scenes_is_about_the_one_asked_for() -> None:
    scenes = [draw_scene(np.random.default_rng(i), (48, 48), empty_share=0.5) for i in range(60)]
    assert 18 <= sum(not scene.targets for scene in scenes) <= 42


def test_types_and_sizes_are_as_asked() -> None:
    scene = draw_scene(np.random.default_rng(0), (64, 96), bits=8)
    assert scene.image.dtype == np.uint8
    assert scene.image.shape == scene.mask.shape == (64, 96)
    deep = draw_scene(np.random.default_rng(0), bits=16)
    assert deep.image.dtype == np.uint16
    assert deep.image.max() > 255  # raw counts, not 8 bits in a wide type


def test_same_state_gives_the_same_scene_and_another_seed_another() -> None:
    first, again = (draw_scene(np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first.image, again.image)
    assert first.targets == again.targets
    assert not np.array_equal(first.image, draw_scene(np.random.default_rng(8)).image)


@pytest.mark.parametrize("kind", BACKGROUND_KINDS)
def test_every_background_is_finite_of_any_size_and_varies(kind: str) -> None:
    for seed in range(8):
        for size_hw in ((64, 80), (37, 129)):
            radiance = draw_background(np.random.default_rng(seed), size_hw, kind)
            assert radiance.shape == size_hw
            assert radiance.dtype == np.float32
            assert np.isfinite(radiance).all()
            assert radiance.std() > 0


def test_unknown_background_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown background 'snow'; known: clouds"):
        draw_background(np.random.default_rng(0), (64, 64), "snow")  # type: ignore[arg-type]


def test_power_of_fractal_noise_falls_with_the_slope_asked_for() -> None:
    noise = fractal_noise(np.random.default_rng(0), (512, 512), slope=2.0)
    assert noise.std() == pytest.approx(1.0, abs=1e-3)
    power = np.abs(np.fft.fft2(noise)) ** 2
    frequency = np.hypot(np.fft.fftfreq(512)[:, None], np.fft.fftfreq(512)[None])
    inner = (frequency > 0.02) & (frequency < 0.4)
    slope = np.polyfit(np.log(frequency[inner]), np.log(power[inner]), 1)[0]
    assert slope == pytest.approx(-2.0, abs=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size_hw": (16, 64)}, "at least 32 x 32"),
        ({"bits": 12}, "expected 8 or 16"),
        ({"scr_range": (5.0, 2.0)}, "0 < low < high"),
        ({"scr_range": (0.0, 2.0)}, "0 < low < high"),
        ({"target_count": -1}, "0 or more"),
        ({"empty_share": 1.5}, "0 to 1"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw_scene(np.random.default_rng(0), **arguments)


@pytest.mark.parametrize("bits", [8, 16])
def test_same_call_writes_the_same_bytes(tmp_path: Path, bits: int) -> None:
    for name in ("a", "b"):
        write_dataset(tmp_path / name, 3, seed=11, bits=bits, size_hw=(64, 64))
    write_dataset(tmp_path / "other", 3, seed=12, bits=bits, size_hw=(64, 64))
    first, again, other = (_folder_bytes(tmp_path / name) for name in ("a", "b", "other"))
    assert first == again
    assert first["images/synth_00000.png"] != other["images/synth_00000.png"]


def test_written_set_has_the_standard_layout_and_a_row_for_each_target(tmp_path: Path) -> None:
    write_dataset(tmp_path, 10, seed=1, size_hw=(96, 64))
    train, test = ((tmp_path / f"{split}.txt").read_text().split() for split in ("train", "test"))
    assert (len(train), len(test)) == (8, 2)
    text = (tmp_path / "targets.csv").read_text()
    assert text.splitlines()[0] == CSV_HEADER
    rows = list(csv.DictReader(text.splitlines()))
    for name in train + test:
        image = read_image(tmp_path / f"images/{name}.png")
        mask = read_mask(tmp_path / f"masks/{name}.png")
        assert image.shape == mask.shape == (96, 64)
        assert set(np.unique(mask)) <= {0, 255}
        found = find_targets(mask > 0, image=image)
        mine = [row for row in rows if row["image"] == name]
        assert sorted(round(t.scr, 3) for t in found) == sorted(float(row["scr"]) for row in mine)
    assert len(rows) == sum(len(find_targets(read_mask(p) > 0)) for p in (tmp_path / "masks").iterdir())


def test_longer_set_begins_with_the_shorter_one(tmp_path: Path) -> None:
    write_dataset(tmp_path / "short", 1, seed=3, size_hw=(64, 64))
    write_dataset(tmp_path / "long", 2, seed=3, size_hw=(64, 64))
    names = [tmp_path / f"{length}/images/synth_00000.png" for length in ("short", "long")]
    assert names[0].read_bytes() == names[1].read_bytes()
    assert (tmp_path / "short/train.txt").read_text() == "synth_00000\n"


def test_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ConfigError, match="not empty"):
        write_dataset(tmp_path, 1)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_examples_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project_dir: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (project_dir / "docs/synthetic.md").read_text(), re.S)
    assert len(blocks) == 2
    write_dataset(tmp_path / "datasets/NUDT-SIRST", 2, size_hw=(64, 48))  # stands for the real one
    monkeypatch.chdir(tmp_path)
    for number, block in enumerate(blocks):
        script = tmp_path / f"{number}.py"
        script.write_text(block)
        runpy.run_path(str(script))
    assert read_image(tmp_path / "sheet.png").shape == (6 * 256, 6 * 256)
