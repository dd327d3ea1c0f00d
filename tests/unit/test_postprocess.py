import numpy as np
import pytest
import torch

from samspl.postprocess import DEFAULT_THRESHOLD, crop_padding, logits_to_prob, prob_to_mask, to_source_size
from samspl.preprocess import Geometry, Preprocess


def test_probability_of_known_logits() -> None:
    prob = logits_to_prob(np.array([0.0, np.log(3.0), -np.log(3.0)]))
    np.testing.assert_allclose(prob, [0.5, 0.75, 0.25], atol=1e-7)
    assert prob.dtype == np.float32


@pytest.mark.parametrize("tiny", [1e-9, 1e-30, 1.4e-45, 5e-8])
def test_mask_at_half_is_exactly_where_the_logit_is_positive(tiny: float) -> None:
    logits = np.array([tiny, -tiny, 0.0, -0.0, 100.0, -100.0], np.float32)
    np.testing.assert_array_equal(prob_to_mask(logits_to_prob(logits)), logits > 0)


def test_mask_at_half_follows_the_sign_over_many_magnitudes() -> None:
    rng = np.random.default_rng(0)
    logits = (rng.choice([-1, 1], 20000) * 10 ** rng.uniform(-12, 2, 20000)).astype(np.float32)
    np.testing.assert_array_equal(prob_to_mask(logits_to_prob(logits), DEFAULT_THRESHOLD), logits > 0)


def test_probability_stays_within_its_range() -> None:
    prob = logits_to_prob(torch.tensor([-1e30, 1e30]))
    assert prob.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_tensors_of_any_precision_are_taken(dtype: torch.dtype) -> None:
    assert logits_to_prob(torch.tensor([[2.0]], dtype=dtype, requires_grad=True)).shape == (1, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_refused_and_counted(bad: float) -> None:
    with pytest.raises(ValueError, match="1 of 3 logits are NaN or infinite"):
        logits_to_prob(np.array([0.0, bad, 1.0]))


def test_probability_equal_to_the_threshold_is_background() -> None:
    prob = np.array([0.25, 0.3, 0.35], np.float32)
    assert prob_to_mask(prob, 0.3).tolist() == [False, False, True]


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        prob_to_mask(np.zeros((2, 2)), threshold)


def test_padding_is_cut_off_and_values_stay_where_sizes_are_equal() -> None:
    prob = np.arange(16, dtype=np.float32).reshape(4, 4) / 16
    back = to_source_size(prob, Geometry((3, 2), (3, 2), (4, 4)))
    np.testing.assert_array_equal(back, prob[:3, :2])


def test_doubling_interpolates_between_pixel_centres() -> None:
    geometry = Geometry(source_hw=(1, 4), content_hw=(1, 2), input_hw=(1, 2))
    back = to_source_size(np.array([[0.0, 1.0]], np.float32), geometry)
    np.testing.assert_allclose(back, [[0.0, 0.25, 0.75, 1.0]])


def test_shrinking_does_not_smooth() -> None:
    # the centre of the middle third lies between columns 5 and 6; antialias would mix in their neighbours
    prob = np.zeros((1, 12), np.float32)
    prob[0, 5:7] = 1.0
    back = to_source_size(prob, Geometry((1, 3), (1, 12), (1, 12)))
    np.testing.assert_allclose(back, [[0.0, 1.0, 0.0]])


def test_map_smaller_than_its_content_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 5x5"):
        crop_padding(np.zeros((4, 5)), (5, 5))


@pytest.mark.parametrize("image_size", [None, 64])
@pytest.mark.parametrize("shape", [(33, 50), (64, 64), (100, 20)])
def test_map_comes_back_at_the_size_of_the_image(shape: tuple[int, int], image_size: int | None) -> None:
    prepared = Preprocess(image_size=image_size)(np.zeros(shape, np.uint8))
    back = to_source_size(np.zeros(prepared.geometry.input_hw, np.float32), prepared.geometry)
    assert back.shape == shape
    assert back.dtype == np.float32
