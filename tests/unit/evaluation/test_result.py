import numpy as np
import pytest
import torch

from samspl.errors import DatasetError
from samspl.evaluation import evaluate
from samspl.evaluation.result import EvaluationResult, merge_results
from samspl.predictions import PredictedSample
from samspl.preprocess import Preprocess


def bright_pixels(images: torch.Tensor) -> torch.Tensor:
    return (images[:, :1] - 128.0) / 10.0


def samples(count: int = 7) -> list[PredictedSample]:
    """Noise with up to three bright 3 x 3 targets; some missed, some false alarms of one pixel."""
    rng = np.random.default_rng(3)
    made = []
    for i in range(count):
        image, mask = rng.integers(10, 120, (40, 48)).astype(np.uint8), np.zeros((40, 48), bool)
        for k in range(i % 4):
            y, x = rng.integers(4, 32, 2)
            mask[y : y + 3, x : x + 3] = True
            image[y : y + 3, x : x + 3] = 220 if k != 1 else 100
        image[0, : 2 * (i % 3) : 2] = 200
        made.append(PredictedSample(f"scene_{i}", image, mask, image / np.float32(255)))
    return made


def whole(chosen: list[PredictedSample]) -> EvaluationResult:
    return evaluate(bright_pixels, chosen, Preprocess(image_size=64), curve_thresholds=(0.2, 0.5, 0.9))


def assert_same(a: EvaluationResult, b: EvaluationResult) -> None:
    assert a.to_dict() == b.to_dict()
    assert a.image_rows() == b.image_rows()
    assert a.target_rows() == b.target_rows()
    assert a.curve.to_dict() == b.curve.to_dict()
    for name, result in a.profiles.items():
        assert result.image_size == b.profiles[name].image_size
        assert result.intervals() == b.profiles[name].intervals()


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
def test_shares_of_a_list_put_together_are_the_whole(processes: int) -> None:
    parts = [whole(samples()[rank::processes]) for rank in range(processes)]
    assert_same(merge_results(parts), whole(samples()))


def test_process_without_an_image_is_left_out() -> None:
    assert_same(merge_results([whole(samples(2)[:1]), whole(samples(2)[1:]), None]), whole(samples(2)))


def test_parts_that_are_no_shares_of_one_list_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[1, 6\] images"):
        merge_results([whole(samples()[:1]), whole(samples()[1:])])
    with pytest.raises(DatasetError, match="no image to evaluate"):
        merge_results([None, None])


def test_image_rows_hold_both_profiles_and_an_empty_cell_for_no_figure() -> None:
    rows = whole(samples(3)).image_rows()
    assert list(rows[0]) == ["image"] + [
        f"{profile}_{key}"
        for profile in ("published", "strict")
        for key in ("iou", "hits", "targets", "false_alarms", "false_px")
    ]
    assert (rows[0]["image"], rows[0]["strict_iou"], rows[0]["strict_targets"]) == ("scene_0", None, 0)
    assert rows[1]["strict_false_alarms"] == 1


def test_target_rows_say_where_each_target_is_and_whether_it_was_hit() -> None:
    mask = np.zeros((32, 32), bool)
    mask[2:4, 10:12] = mask[20, 5] = True
    image = np.where(mask, np.uint8(200), np.uint8(10))
    image[20, 5] = 20
    image[7, 10] = 15  # around the first alone
    (hit, miss) = evaluate(
        bright_pixels, [PredictedSample("a", image, mask, image / np.float32(255))], Preprocess()
    ).target_rows()
    assert (hit["image"], hit["x"], hit["y"], hit["area_px"], hit["hit"]) == ("a", 10.5, 2.5, 4, 1)
    assert (miss["x"], miss["y"], miss["area_px"], miss["hit"]) == (5.0, 20.0, 1, 0)
    assert miss["scr"] is None  # all around are equal
    assert hit["scr"] > 10
