"""Duplicates: copies and shifted frames are found, skies that merely look alike are not."""

import numpy as np

from samspl.data.duplicates import duplicate_groups, find_duplicates, fingerprint, group_duplicates
from samspl.data.synthetic import draw_scene


def _cloud(seed: int) -> np.ndarray:
    scene = draw_scene(np.random.default_rng(seed), (160, 160), target_count=0, background="clouds")
    return scene.image.astype(np.float32)


def test_exact_copies_form_one_group_with_correlation_one() -> None:
    first, other = _cloud(0), _cloud(1)
    prints = [fingerprint(image) for image in (first, other, first.copy(), first.copy())]
    pairs = find_duplicates(prints)
    assert [(p.first, p.second, p.is_exact, p.correlation) for p in pairs] == [
        (0, 2, True, 1),
        (0, 3, True, 1),
    ]
    assert group_duplicates(pairs, 4) == [(0, 2, 3)]


def test_same_values_in_another_type_or_shape_are_no_exact_copy() -> None:
    image = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    digests = {fingerprint(x).digest for x in (image, image.astype(np.int32), image.reshape(32, 128))}
    assert len(digests) == 3


def test_noise_gain_and_small_shift_leave_a_near_duplicate() -> None:
    scene = draw_scene(np.random.default_rng(4), (200, 200), target_count=0, background="buildings")
    image = scene.image.astype(np.float32)
    noisy = 0.7 * image + 20 + np.random.default_rng(0).normal(0, 1, image.shape)
    groups = duplicate_groups([image[:192, :192], noisy[:192, :192], image[4:196, 4:196], _cloud(3)])
    assert groups == [(0, 1, 2)]


def test_different_scenes_are_no_duplicates() -> None:
    images = [draw_scene(np.random.default_rng(seed), (96, 96)).image for seed in range(60)]
    assert duplicate_groups(images) == []


def test_plain_gradients_with_a_target_in_the_same_place_are_no_duplicates() -> None:
    rng = np.random.default_rng(0)
    ramp = np.linspace(50, 150, 128)[:, None] * np.ones((1, 128))
    images = [ramp + rng.normal(0, 2, ramp.shape) for _ in range(4)]
    for image in images:
        image[62:66, 62:66] = 250
    assert duplicate_groups(images) == []


def test_constant_images_are_near_nothing_but_exact_copies_of_each_other() -> None:
    flat = np.full((40, 40), 7, np.uint8)
    assert duplicate_groups([flat, flat + 1]) == []
    assert duplicate_groups([flat, _cloud(0), flat.copy()]) == [(0, 2)]


def test_no_image_and_one_pixel_are_accepted() -> None:
    assert duplicate_groups([]) == []
    assert duplicate_groups([np.zeros((1, 1), np.uint8), _cloud(0)]) == []


def test_pairs_are_joined_to_groups_transitively() -> None:
    rng = np.random.default_rng(1)
    image = rng.normal(0, 1, (64, 64))
    copies = [image.copy() for _ in range(12)]  # more copies than partners looked at
    for k, copy in enumerate(copies):
        copy += rng.normal(0, 0.01 * k, copy.shape)
    assert duplicate_groups(copies) == [tuple(range(12))]
