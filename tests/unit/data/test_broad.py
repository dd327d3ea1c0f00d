"""Augmentation for breadth: what is cut, laid in and varied."""

import numpy as np
import pytest

from samspl.data.broad import LEAST_CONTRAST, PasteTargets, ScaledPatch, SensorVariation, broad_augmentation
from samspl.data.copy_paste import TargetCrop
from samspl.targets import find_components

DOT = TargetCrop(
    np.array([[0, 0, 0], [0, 9, 0], [0, 0, 0]], np.float32), np.eye(3, dtype=bool) & (np.arange(3) == 1)
)


def frame(size_hw: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Noise of unit deviation."""
    return np.random.default_rng(seed).standard_normal(size_hw).astype(np.float32)


def dot_mask(size_hw: tuple[int, int], row: int, column: int) -> np.ndarray:
    mask = np.zeros(size_hw, bool)
    mask[row, column] = True
    return mask


@pytest.mark.parametrize("size_hw", [(100, 80), (20, 300), (8, 8)])
def test_patch_has_its_size_whatever_the_frame(size_hw):
    patch = ScaledPatch(32, 0.5)
    for seed in range(20):
        image, mask = patch(frame(size_hw), dot_mask(size_hw, 5, 5), np.random.default_rng(seed))
        assert image.shape == mask.shape == (32, 32)
        assert mask.dtype == bool


def test_patch_of_a_smaller_frame_is_padded_as_a_detector_pads_it():
    image = np.array([[1, 2], [3, 4]], np.float32)
    shown, mask = ScaledPatch(4, 0, variation=0)(image, image == 4, np.random.default_rng(0))
    assert shown.tolist() == [[1, 2, 2, 2], [3, 4, 4, 4], [3, 4, 4, 4], [3, 4, 4, 4]]
    assert mask.sum() == 1


def test_patch_around_a_target_holds_it_where_it_is_not_scaled_away():
    mask = np.zeros((100, 100), bool)
    mask[60:64, 70:74] = True
    image = np.where(mask, 7.0, 0.0).astype(np.float32)
    for seed in range(50):
        shown, shown_mask = ScaledPatch(32, 1.0)(image, mask, np.random.default_rng(seed))
        assert shown_mask.any()
        # bilinear and nearest resize keep image and mask within a pixel of each other
        assert shown[shown_mask].mean() > 2


def test_unscaled_patch_is_a_part_of_the_frame():
    image = np.arange(64 * 64, dtype=np.float32).reshape(64, 64)
    parts = [ScaledPatch(16, 0)(image, image < 0, np.random.default_rng(seed))[0] for seed in range(40)]
    unscaled = [
        part for part in parts if np.allclose(np.diff(part, axis=1), 1) and part[1, 0] - part[0, 0] == 64
    ]
    assert 19 < len(unscaled) < 37  # seven of ten of them


def test_negative_patches_lie_anywhere():
    image = np.zeros((200, 200), np.float32)
    shown = [
        ScaledPatch(32, 0.0)(image, dot_mask((200, 200), 3, 3), np.random.default_rng(s))[1].any()
        for s in range(60)
    ]
    assert sum(shown) < 10


def test_pasted_targets_are_bright_and_in_the_mask():
    paste = PasteTargets([DOT])
    changed = 0
    for seed in range(60):
        before = frame((64, 64), seed)
        image, mask = paste(before, np.zeros((64, 64), bool), np.random.default_rng(seed))
        if image is before:
            assert not mask.any()
            continue
        changed += 1
        assert 1 <= find_components(mask).area_px.size <= 3
        assert (image - before)[
            mask
        ].min() >= 0.9 * LEAST_CONTRAST * 0.7  # of surroundings with deviation about 1
    assert 8 < changed < 30


def test_nothing_is_pasted_over_a_target():
    full = np.ones((64, 64), bool)
    for seed in range(20):
        image, mask = PasteTargets([DOT])(frame((64, 64)), full, np.random.default_rng(seed))
        assert mask.all()
        np.testing.assert_array_equal(image, frame((64, 64)))


def test_no_edge_of_the_box_shows():
    dot = dot_mask((9, 9), 4, 4)
    flat = TargetCrop(np.where(dot, 59, 50).astype(np.float32), dot)
    for seed in range(20):
        before = np.zeros((64, 64), np.float32)
        image, mask = PasteTargets([flat])(before, np.zeros((64, 64), bool), np.random.default_rng(seed))
        assert np.array_equal(image > 0, mask)


def test_inputs_are_not_changed():
    image, mask = frame((64, 64)), dot_mask((64, 64), 9, 9)
    copies = image.copy(), mask.copy()
    for seed in range(20):
        broad_augmentation(32, 0.8, [DOT])(image, mask, np.random.default_rng(seed))
    np.testing.assert_array_equal(image, copies[0])
    np.testing.assert_array_equal(mask, copies[1])


def test_same_seed_gives_the_same_sample_and_another_seed_another():
    augment = broad_augmentation(32, 0.8, [DOT])
    one, again, other = (
        augment(frame((64, 64)), dot_mask((64, 64), 9, 9), np.random.default_rng(s))[0] for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_sensor_keeps_the_mask_and_changes_gain_and_offset():
    mask = dot_mask((64, 64), 9, 9)
    gains, offsets = [], []
    for seed in range(200):
        image, same = SensorVariation()(frame((64, 64)), mask, np.random.default_rng(seed))
        assert same is mask
        assert image.dtype == np.float32
        gains.append(np.log(image.std()))
        offsets.append(image.mean())
    assert 0.15 < np.std(gains) < 0.45
    assert 0.1 < np.std(offsets) < 0.3


def test_sensor_noise_is_fine_or_grainy():
    flat = np.zeros((64, 64), np.float32)
    neighbours = []
    for seed in range(300):
        noise = SensorVariation()(flat, flat > 0, np.random.default_rng(seed))[0]
        noise = noise - noise.mean(0)  # without the column pattern
        if noise.std() > 1e-3:
            neighbours.append(np.corrcoef(noise[1:].ravel(), noise[:-1].ravel())[0, 1])
    assert 30 < len(neighbours) < 90  # one in five
    assert min(neighbours) < 0.1
    assert max(neighbours) > 0.6


def test_pasting_without_crops_is_refused():
    with pytest.raises(ValueError, match="at least one target"):
        PasteTargets([])


def test_orientation_is_kept_on_request():
    image = np.add.outer(2 * np.arange(64), np.arange(64)).astype(
        np.float32
    )  # brighter to the right and down
    for seed in range(20):
        rng = np.random.default_rng(seed)
        shown, _ = broad_augmentation(32, 0.0, flips=False)(image, image < 0, rng)
        assert np.diff(shown.mean(0)).mean() > 0
        assert np.diff(shown.mean(1)).mean() > np.diff(shown.mean(0)).mean()  # not transposed either
    flipped = [
        broad_augmentation(32, 0.0)(image, image < 0, np.random.default_rng(seed))[0] for seed in range(20)
    ]
    assert any(np.diff(shown.mean(0)).mean() < 0 for shown in flipped)


def test_without_variation_a_sample_is_a_part_of_the_frame_but_for_gain_and_offset():
    image = frame((64, 64))
    windows = np.lib.stride_tricks.sliding_window_view(image, (32, 32))
    centred = windows - windows.mean((2, 3), keepdims=True)
    deviations = windows.std((2, 3))
    for seed in range(40):
        augment = broad_augmentation(32, 0.5, [DOT], flips=False, variation=0.0)
        shown, mask = augment(image, image > 2.5, np.random.default_rng(seed))
        correlation = (centred * (shown - shown.mean())).mean((2, 3)) / deviations / shown.std()
        top, left = np.unravel_index(correlation.argmax(), correlation.shape)
        assert correlation.max() > 1 - 1e-5
        np.testing.assert_array_equal(mask, image[top : top + 32, left : left + 32] > 2.5)


def test_variation_says_how_many_samples_are_changed():
    def changed(variation: float) -> int:
        count = 0
        for seed in range(200):
            image = frame((32, 32))
            _, mask = PasteTargets([DOT], variation)(
                image, np.zeros((32, 32), bool), np.random.default_rng(seed)
            )
            count += mask.any()
        return count

    assert changed(0.0) == 0
    assert 5 < changed(0.3) < 35 < changed(1.0) < 90
