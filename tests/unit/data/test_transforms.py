"""The published augmentations, against Pillow doing every step on the whole image."""

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps

from samspl.data.transforms import Blur, Compose, Flips, Mirror, Resize, ScaleCrop, TargetPatch

IMAGE = np.array([[1, 2], [3, 4]], np.uint8)
MASK = np.array([[True, False], [False, False]])


def scene(size_hw: tuple[int, int], dtype: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise in 0..255 (the hardest case for resampling) and a random mask."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 256, size_hw).astype(dtype), rng.random(size_hw) < 0.1


def seed_where(condition: Callable[[np.random.Generator], bool]) -> int:
    """The first seed whose generator fulfils a condition."""
    return next(seed for seed in range(1000) if condition(np.random.default_rng(seed)))


def plain_scale_crop(image: np.ndarray, mask: np.ndarray, size: int, rng: np.random.Generator):
    """Scale, pad and crop with Pillow on the whole image, as published."""
    height, width = image.shape
    long_side = int(rng.integers(size // 2, 2 * size, endpoint=True))
    scale = long_side / max(height, width)
    wh = (max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5)))
    left = int(rng.integers(0, max(wh[0] - size, 0), endpoint=True))
    top = int(rng.integers(0, max(wh[1] - size, 0), endpoint=True))
    results = []
    for array, method in ((image, Image.Resampling.BILINEAR), (mask, Image.Resampling.NEAREST)):
        values = np.where(array, 255, 0).astype(np.uint8) if array.dtype == bool else array
        # rows first, columns then: the order of Pillow before 13
        whole = Image.fromarray(values).resize((wh[0], height), method).resize(wh, method)
        padded = ImageOps.expand(whole, (0, 0, max(size - wh[0], 0), max(size - wh[1], 0)), 0)
        results.append(np.array(padded.crop((left, top, left + size, top + size))))
    return results[0], results[1] > 0


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "bool"])
def test_flips_and_transpose_by_hand(dtype: str) -> None:
    expected = {
        (False, False, False): [[1, 2], [3, 4]],
        (True, False, False): [[2, 1], [4, 3]],
        (False, True, False): [[3, 4], [1, 2]],
        (False, False, True): [[1, 3], [2, 4]],
        (True, True, True): [[4, 2], [3, 1]],
    }
    image = IMAGE.astype(dtype)
    for draws, values in expected.items():
        seed = seed_where(lambda rng, draws=draws: tuple(rng.random(3) < 0.5) == draws)
        flipped, mask = Flips()(image, IMAGE == 1, np.random.default_rng(seed))
        np.testing.assert_array_equal(flipped, np.array(values).astype(dtype))
        np.testing.assert_array_equal(mask, np.array(values) == 1)
        assert flipped.dtype == dtype


def test_each_flip_has_probability_one_half() -> None:
    rng = np.random.default_rng(0)
    results = [tuple(Flips()(IMAGE, MASK, rng)[0].ravel().tolist()) for _ in range(4000)]
    counts = {result: results.count(result) for result in set(results)}
    assert len(counts) == 8
    assert all(abs(count - 500) < 5 * np.sqrt(500 * 7 / 8) for count in counts.values())


def test_mirror_turns_left_and_right_half_of_the_time() -> None:
    rng = np.random.default_rng(0)
    results = [Mirror()(IMAGE, MASK, rng) for _ in range(1000)]
    turned = [image.tolist() == [[2, 1], [4, 3]] for image, _ in results]
    assert all(mask.tolist()[0] == [not t, t] for t, (_, mask) in zip(turned, results, strict=True))
    assert abs(sum(turned) - 500) < 80


def test_nudt_resize_takes_every_positive_mask_value() -> None:
    mask = np.zeros((4, 4), bool)
    mask[1, 1] = True
    grey = np.where(mask, 255, 0).astype(np.uint8)
    expected = np.array(Image.fromarray(grey).resize((7, 7), Image.Resampling.BILINEAR)) > 0
    image, resized = Resize(7, "bilinear_positive")(grey, mask, np.random.default_rng(0))
    np.testing.assert_array_equal(resized, expected)
    assert resized.sum() > Resize(7, "nearest")(grey, mask, np.random.default_rng(0))[1].sum() > 0
    assert image.shape == (7, 7)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("size_hw", [(64, 64), (61, 97), (150, 40), (9, 300), (1, 1), (1, 500)])
def test_scale_crop_equals_pillow_on_the_whole_image(size_hw: tuple[int, int], dtype: str) -> None:
    tolerance = 2 if dtype == "uint8" else 1e-3 * 255
    shares = []
    for seed in range(20):
        image, mask = scene(size_hw, dtype, seed)
        values = image if dtype == "uint8" else image.astype(np.float32)
        plain_image, plain_mask = plain_scale_crop(values, mask, 64, np.random.default_rng(seed))
        crop, crop_mask = ScaleCrop(64)(image, mask, np.random.default_rng(seed))
        assert crop.shape == crop_mask.shape == (64, 64)
        assert crop.dtype == values.dtype
        np.testing.assert_allclose(crop.astype(float), plain_image.astype(float), atol=tolerance, rtol=0)
        shares.append((np.abs(crop.astype(float) - plain_image) >= 1).mean())
        np.testing.assert_array_equal(crop_mask, plain_mask)
    assert np.median(shares) < 0.05  # small sizes: many values lie halfway between two grey levels


def test_scale_crop_at_the_published_size_equals_pillow() -> None:
    shares = []
    for seed in range(10):
        image, mask = scene((512, 512), "uint8", seed)
        plain_image, plain_mask = plain_scale_crop(image, mask, 512, np.random.default_rng(seed))
        crop, crop_mask = ScaleCrop(512)(image, mask, np.random.default_rng(seed))
        difference = np.abs(crop.astype(int) - plain_image)
        shares.append((difference > 0).mean())
        assert difference.max() <= 2
        assert (difference > 1).mean() < 1e-4
        np.testing.assert_array_equal(crop_mask, plain_mask)
    assert np.median(shares) < 0.01


def test_small_scales_are_padded_with_zeros_right_and_bottom() -> None:
    seed = seed_where(lambda rng: rng.integers(8, 32, endpoint=True) == 8)  # half of 16
    image, mask = ScaleCrop(16)(
        np.full((16, 16), 7, np.uint8), np.ones((16, 16), bool), np.random.default_rng(seed)
    )
    expected = np.zeros((16, 16), bool)
    expected[:8, :8] = True
    np.testing.assert_array_equal(mask, expected)
    np.testing.assert_array_equal(image, np.where(expected, 7, 0))


def test_long_side_is_uniform_over_half_to_twice_the_size() -> None:
    ones = np.ones((8, 16), bool)
    rng = np.random.default_rng(0)
    widths = [int(ScaleCrop(32)(ones.astype(np.uint8), ones, rng)[1][0].sum()) for _ in range(2000)]
    assert min(widths) == 16  # half the size
    # widths below the size are seen whole: 16 of the 49 lengths 16..64
    assert abs(np.mean(np.array(widths) < 32) - 16 / 49) < 0.05


def test_blur_of_8_bit_images_is_pillows() -> None:
    image, mask = scene((40, 30), "uint8", 0)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        applies, radius = rng.random() < 0.5, rng.random()
        plain = (
            np.array(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius))) if applies else image
        )
        blurred, same_mask = Blur()(image, mask, np.random.default_rng(seed))
        np.testing.assert_array_equal(blurred, plain)
        assert same_mask is mask


def test_blur_of_deep_images_is_the_unrounded_filter_of_8_bit_images() -> None:
    image, mask = scene((60, 60), "uint8", 0)
    applied = 0
    for seed in range(20):
        narrow = Blur()(image, mask, np.random.default_rng(seed))[0]
        deep = Blur()(image.astype(np.uint16) * 100, mask, np.random.default_rng(seed))[0]
        difference = deep / 100 - narrow
        assert np.abs(difference).max() < 3  # Pillow rounds six times, by half a grey level at most
        assert abs(difference.mean()) < 0.1
        applied += deep.dtype == np.float32
    assert applied > 3


def test_blur_of_one_bright_pixel_by_hand() -> None:
    seed = seed_where(lambda rng: rng.random() < 0.5)
    rng = np.random.default_rng(seed)
    rng.random()
    variance = rng.random() ** 2 / 3
    image = np.zeros((9, 9), np.float32)
    image[4, 4] = 1000
    blurred, _ = Blur()(image, image > 0, np.random.default_rng(seed))
    assert blurred[4, 1] / blurred[4, 4] == pytest.approx(
        (variance / 2) ** 3 / ((1 - variance) ** 3 + 6 * (1 - variance) * (variance / 2) ** 2), rel=1e-3
    )
    assert blurred.sum() == pytest.approx(1000, rel=1e-5)


@pytest.mark.parametrize("transform", [Flips(), Mirror(), ScaleCrop(20), Blur(), Resize(20, "nearest")])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_inputs_stay_as_they_are_and_one_seed_gives_one_result(transform, dtype: str) -> None:
    image, mask = scene((20, 30), dtype, 1)
    kept = image.copy(), mask.copy()
    image.setflags(write=False)
    mask.setflags(write=False)
    for seed in range(8):
        first = transform(image, mask, np.random.default_rng(seed))
        again = transform(image, mask, np.random.default_rng(seed))
        np.testing.assert_array_equal(first[0], again[0])
        np.testing.assert_array_equal(first[1], again[1])
        assert first[1].dtype == np.bool_
    np.testing.assert_array_equal(image, kept[0])
    np.testing.assert_array_equal(mask, kept[1])


def test_compose_hands_one_generator_from_step_to_step() -> None:
    image, mask = scene((30, 30), "uint8", 2)
    steps = (Mirror(), ScaleCrop(32), Blur())
    rng = np.random.default_rng(5)
    by_hand = image, mask
    for step in steps:
        by_hand = step(*by_hand, rng)
    composed = Compose(steps)(image, mask, np.random.default_rng(5))
    np.testing.assert_array_equal(composed[0], by_hand[0])
    np.testing.assert_array_equal(composed[1], by_hand[1])


def test_patch_around_a_target_holds_its_pixel_wherever_it_lies() -> None:
    cut = TargetPatch(8, positive_share=1.0)
    for y, x in ((0, 0), (19, 29), (0, 29), (10, 13)):
        mask = np.zeros((20, 30), bool)
        mask[y, x] = True
        image = np.arange(600).reshape(20, 30)
        places = set()
        for seed in range(40):
            patch, patch_mask = cut(image, mask, np.random.default_rng(seed))
            assert patch.shape == patch_mask.shape == (8, 8)
            assert patch_mask.sum() == 1
            assert patch[patch_mask] == image[y, x]
            places.add(int(patch[0, 0]))
        assert len(places) > 1 or (y, x) != (10, 13)


def test_share_of_patches_with_targets_is_as_asked() -> None:
    mask = np.zeros((64, 64), bool)
    mask[40, 7] = True
    image = np.zeros((64, 64), np.uint8)
    rng = np.random.default_rng(0)
    for share in (0.0, 0.5, 1.0):
        cut = TargetPatch(8, share)
        found = np.mean([cut(image, mask, rng)[1].any() for _ in range(400)])
        by_chance = (8 / 57) ** 2  # about: a patch anywhere
        assert found == pytest.approx(share + (1 - share) * by_chance, abs=0.06)


def test_patch_of_a_small_image_is_padded_and_without_target_lies_anywhere() -> None:
    image, mask = np.full((4, 20), 9, np.uint8), np.zeros((4, 20), bool)
    patch, patch_mask = TargetPatch(8, 1.0)(image, mask, np.random.default_rng(0))
    assert patch[:4].tolist() == [[9] * 8] * 4
    assert not patch[4:].any()
    assert not patch_mask.any()
