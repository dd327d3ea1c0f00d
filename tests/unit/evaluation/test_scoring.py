import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from samspl.errors import DatasetError, SamsplError
from samspl.evaluation import evaluate
from samspl.preprocess import Preprocess


@dataclass(frozen=True)
class Scene:
    id: str
    image: np.ndarray
    mask: np.ndarray


def scenes(count: int = 5, shapes: tuple[tuple[int, int], ...] = ((40, 50), (64, 64))) -> list[Scene]:
    """Dark noise with bright 3 x 3 targets, one to three an image; every fifth has none."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(count):
        shape = shapes[i % len(shapes)]
        image, mask = rng.integers(10, 60, shape).astype(np.uint8), np.zeros(shape, bool)
        for _ in range(0 if i % 5 == 4 else 1 + i % 3):
            y, x = rng.integers(4, shape[0] - 8), rng.integers(4, shape[1] - 8)
            mask[y : y + 3, x : x + 3] = True
        image[mask] = 220
        made.append(Scene(f"scene_{i}", image, mask))
    return made


def bright_pixels(images: torch.Tensor) -> torch.Tensor:
    """A predictor that needs no weights: grey value above 128."""
    return (images[:, :1] - 128.0) / 10.0


NATIVE = Preprocess()


def test_perfect_predictor_scores_one_in_both_profiles() -> None:
    result = evaluate(bright_pixels, scenes(), NATIVE)
    for profile in ("published", "strict"):
        scores = result.profiles[profile].scores
        assert (scores.iou, scores.pd, scores.fa) == (1.0, 1.0, 0.0)
        assert scores.images == 5
    assert result.profiles["strict"].scores.niou == 1.0
    assert result.profiles["published"].scores.niou == pytest.approx(4 / 5)  # the empty image counts 0
    assert result.profiles["strict"].scores.empty_images == 1


def test_published_profile_scores_at_the_evaluation_size_and_strict_at_the_native_size() -> None:
    result = evaluate(bright_pixels, scenes(), Preprocess(image_size=96))
    published, strict = result.profiles["published"], result.profiles["strict"]
    assert (published.image_size, strict.image_size) == (96, None)
    assert published.counts[:, -1].tolist() == [96 * 96] * 5
    assert strict.counts[:, -1].tolist() == [s.mask.size for s in scenes()]


def test_padding_is_scored_in_neither_profile() -> None:
    def padding_is_bright(images: torch.Tensor) -> torch.Tensor:
        logits = torch.full_like(images[:, :1], -1.0)
        logits[:, :, 40:] = 1.0
        logits[:, :, :, 50:] = 1.0
        return logits

    sample = Scene("one", np.zeros((40, 50), np.uint8), np.zeros((40, 50), bool))  # padded to 64 x 64
    result = evaluate(padding_is_bright, [sample], NATIVE)
    assert [r.scores.fa for r in result.profiles.values()] == [0.0, 0.0]


def test_batches_give_the_same_as_single_images_and_never_mix_sizes() -> None:
    seen: list[tuple[int, ...]] = []

    def spy(images: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(images.shape))
        return bright_pixels(images)

    shapes = ((64, 64), (64, 64), (64, 64), (32, 40))
    single = evaluate(spy, scenes(7, shapes), NATIVE)
    assert [shape[0] for shape in seen] == [1] * 7
    seen.clear()
    batched = evaluate(spy, scenes(7, shapes), NATIVE, batch_size=2)
    assert seen == [(2, 3, 64, 64), (1, 3, 64, 64), (1, 3, 32, 64), (2, 3, 64, 64), (1, 3, 64, 64)]
    assert batched.to_dict() == single.to_dict()
    assert batched.profiles["strict"].ids == tuple(f"scene_{i}" for i in range(7))


def test_networks_own_tuple_counts_by_its_first_map_and_arrays_are_taken() -> None:
    expected = evaluate(bright_pixels, scenes(), NATIVE).to_dict()
    of_tuple = evaluate(lambda x: (bright_pixels(x), torch.zeros(1)), scenes(), NATIVE)
    of_array = evaluate(lambda x: bright_pixels(x).numpy(), scenes(), NATIVE)
    assert of_tuple.to_dict() == of_array.to_dict() == expected


def test_predictor_runs_without_gradients() -> None:
    weight = torch.nn.Parameter(torch.ones(()))

    def predict(images: torch.Tensor) -> torch.Tensor:
        logits = bright_pixels(images) * weight
        assert not logits.requires_grad
        return logits

    evaluate(predict, scenes(1), NATIVE)


def test_nudt_masks_grow_when_resized_bilinearly() -> None:
    sample = scenes(1, ((64, 64),))
    nearest = evaluate(bright_pixels, sample, Preprocess(image_size=96))
    grown = evaluate(bright_pixels, sample, Preprocess(image_size=96), mask_resize="bilinear_positive")
    gt_px = 2  # third of the counted fields
    assert grown.profiles["published"].counts[0, gt_px] > nearest.profiles["published"].counts[0, gt_px]
    assert (grown.profiles["strict"].counts == nearest.profiles["strict"].counts).all()


def test_threshold_decides_what_is_foreground() -> None:
    def hardly_sure(images: torch.Tensor) -> torch.Tensor:
        return torch.where(images[:, :1] > 128, 1.0, -9.0)  # probability 0.73

    assert evaluate(hardly_sure, scenes(), NATIVE).profiles["strict"].scores.pd == 1.0
    result = evaluate(hardly_sure, scenes(), NATIVE, threshold=0.75)
    assert result.profiles["strict"].scores.pd == 0.0
    assert result.to_dict()["threshold"] == 0.75


def test_rows_name_each_image_and_add_up_to_the_scores() -> None:
    samples = scenes()
    samples[0].image[0, 0] = 250  # a false alarm of one pixel
    strict = evaluate(bright_pixels, samples, NATIVE).profiles["strict"]
    rows = strict.rows()
    assert [row.id for row in rows] == [s.id for s in samples]
    assert (rows[0].false_alarms, rows[0].false_px) == (1, 1)
    assert rows[4].iou is None
    assert sum(row.hits for row in rows) == strict.scores.hits
    assert sum(row.targets for row in rows) == strict.scores.targets


def test_targets_carry_size_and_contrast_for_the_breakdowns() -> None:
    result = evaluate(bright_pixels, scenes(), NATIVE)
    total = result.profiles["strict"].scores.targets
    assert len(result.targets.area_px) == total
    by_size = result.targets.pd_by_size()
    assert sum(b.targets for b in by_size) == total
    assert [b.pd for b in by_size if b.targets] == [1.0]
    assert sum(b.targets for b in result.targets.pd_by_scr()) == total
    assert (result.targets.scr > 3).all()


def test_curve_and_intervals_come_on_demand() -> None:
    assert evaluate(bright_pixels, scenes(), NATIVE).curve is None
    result = evaluate(bright_pixels, scenes(), NATIVE, curve_thresholds=(0.3, 0.5))
    assert result.curve.figures["pd"].tolist() == [1.0, 1.0]
    assert result.profiles["strict"].intervals()["pd"] == (1.0, 1.0)


def test_hook_gets_sample_probabilities_and_mask_at_native_size() -> None:
    seen = []
    samples = scenes()
    steps = []
    evaluate(
        bright_pixels,
        samples,
        Preprocess(image_size=64),
        on_image=lambda sample, prob, mask: seen.append((sample.id, prob, mask)),
        progress=steps.append,
    )
    assert steps == [1, 2, 3, 4, 5]
    for (name, prob, mask), sample in zip(seen, samples, strict=True):
        assert name == sample.id
        assert prob.shape == mask.shape == sample.mask.shape
        assert (prob.dtype, mask.dtype) == (np.float32, bool)


def test_json_object_has_the_keys_of_the_contract_and_no_nan() -> None:
    result = evaluate(bright_pixels, scenes(), NATIVE)
    values = result.to_dict("NUAA-SIRST", "test", "img_idx", "abc", "best.safetensors")
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert list(values)[:5] == ["dataset", "split", "split_set", "split_sha256", "images"]
    assert values["split_sha256"] == "abc"
    needed = ["image_size", "targets", "hits", "iou", "niou", "f1", "precision", "recall", "pd", "fa"]
    for profile in ("published", "strict"):
        assert set(needed) <= values["profiles"][profile].keys()


def test_no_target_at_all_is_null_not_zero() -> None:
    sample = Scene("empty", np.zeros((32, 32), np.uint8), np.zeros((32, 32), bool))
    values = evaluate(bright_pixels, [sample], NATIVE).to_dict()
    assert values["profiles"]["strict"]["pd"] is None
    assert values["profiles"]["strict"]["niou"] is None
    assert values["profiles"]["published"]["niou"] == 0.0


def test_one_profile_alone_can_be_asked_for() -> None:
    result = evaluate(bright_pixels, scenes(), NATIVE, profiles=("published",))
    assert list(result.profiles) == ["published"]
    assert len(result.targets.area_px) == 0


def test_empty_data_set_is_refused() -> None:
    with pytest.raises(DatasetError, match="no image to evaluate"):
        evaluate(bright_pixels, [], NATIVE)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_refused_with_the_images_name(bad: float) -> None:
    def broken(images: torch.Tensor) -> torch.Tensor:
        logits = bright_pixels(images)
        logits[:, :, 3, 3] = bad
        return logits

    with pytest.raises(SamsplError, match="scene_0: 1 of 4096 logits are NaN or infinite"):
        evaluate(broken, scenes(), NATIVE)


def test_logits_of_the_wrong_shape_are_refused() -> None:
    with pytest.raises(SamsplError, match=r"expected logits of \(1, 1, 64, 64\)"):
        evaluate(lambda x: x, scenes(), NATIVE)


def test_mask_of_another_size_than_its_image_is_refused_with_its_name() -> None:
    sample = Scene("odd", np.zeros((32, 32), np.uint8), np.zeros((32, 31), bool))
    with pytest.raises(DatasetError, match="odd: the image has shape"):
        evaluate(bright_pixels, [sample], NATIVE)


@pytest.mark.parametrize(
    "arguments",
    [
        {"batch_size": 0},
        {"threshold": 1.0},
        {"profiles": ()},
        {"profiles": ("loose",)},
        {"mask_resize": "cubic"},
        {"curve_thresholds": (0.9, 0.1)},
    ],
)
def test_arguments_out_of_range_are_refused_before_any_work(arguments: dict) -> None:
    def never(_: torch.Tensor) -> torch.Tensor:
        raise AssertionError("predicted in spite of a bad argument")

    with pytest.raises(ValueError, match="expected"):
        evaluate(never, scenes(), NATIVE, **arguments)
