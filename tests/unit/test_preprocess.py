"""From image values to network input."""

import json

import numpy as np
import pytest
from PIL import Image

from samspl.errors import ConfigError, ImageError
from samspl.preprocess import Geometry, Preprocess

RNG = np.random.default_rng(2)
FRAME8 = RNG.integers(0, 256, (20, 30), dtype=np.uint8)


def test_8_bit_values_are_taken_as_they_are() -> None:
    assert Preprocess().to_byte_range(FRAME8) is FRAME8


def test_fixed_normalisation_by_hand() -> None:
    prepared = Preprocess((100.0,), (50.0,))(np.array([[0, 100], [150, 255]], np.uint8))
    assert prepared.values.dtype == np.float32
    assert prepared.values.shape == (3, 32, 32)
    for channel in prepared.values:
        np.testing.assert_allclose(channel[:2, :2], [[-2, 0], [1, 3.1]], rtol=1e-6)


def test_each_channel_has_its_own_mean_and_std() -> None:
    values = Preprocess((0.0, 10.0, 20.0), (1.0, 2.0, 4.0)).to_channels(np.array([[30]], np.uint8))
    assert values.ravel().tolist() == [30.0, 10.0, 2.5]


def test_deep_frames_go_from_their_percentiles_to_0_and_255() -> None:
    frame = np.arange(1001, dtype=np.uint16).reshape(7, 143) * 50 + 1000  # 0.1 % lies at the second value
    mapped = Preprocess().to_byte_range(frame)
    assert mapped.dtype == np.float32
    np.testing.assert_allclose(mapped.ravel()[[1, 500, 999]], [0, 127.5, 255], atol=1e-4)
    assert mapped.min() < 0 < 255 < mapped.max()  # values beyond the percentiles lie outside


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32", "float64"])
def test_gain_and_offset_of_deep_frames_cancel(dtype: str) -> None:
    frame = RNG.integers(0, 4000, (40, 40))
    plain = Preprocess().to_byte_range(frame.astype(dtype))
    changed = Preprocess().to_byte_range((frame * 8 + 700).astype(dtype))
    np.testing.assert_allclose(plain, changed, atol=1e-3)


def test_frame_where_percentiles_meet_keeps_its_few_bright_pixels() -> None:
    frame = np.full((100, 100), 500, np.uint16)
    frame[3, 4] = 900  # one of 10000 pixels: beyond the 99.9 percentile
    mapped = Preprocess().to_byte_range(frame)
    assert mapped[3, 4] == 255
    assert mapped[0, 0] == 0


@pytest.mark.parametrize("normalise", ["fixed", "frame"])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_constant_frames_become_zeros(normalise: str, dtype: str) -> None:
    mapped = Preprocess(normalise=normalise).to_byte_range(np.full((5, 5), 777, dtype))
    assert (mapped == 0).all()


def test_frame_statistics_by_hand() -> None:
    mapped = Preprocess(normalise="frame").to_byte_range(np.array([[1, 3], [3, 1]], np.uint8))
    assert mapped.tolist() == [[-1.0, 1.0], [1.0, -1.0]]


def test_frame_statistics_make_gain_offset_and_type_not_matter() -> None:
    preprocess = Preprocess(image_size=64, normalise="frame")
    plain = preprocess(FRAME8).values
    for same in (
        FRAME8.astype(np.uint16) * 256,
        FRAME8.astype(np.float32),
        FRAME8.astype(np.float64) * 1e-3 + 5000,
        FRAME8.astype(np.int32) - 100,
    ):
        np.testing.assert_allclose(preprocess(same).values, plain, atol=1e-4)


def test_frame_statistics_do_not_use_mean_and_std_of_the_configuration() -> None:
    odd = Preprocess((50.0,), (3.0,), 32, "frame")(FRAME8).values
    np.testing.assert_array_equal(odd, Preprocess(image_size=32, normalise="frame")(FRAME8).values)


def test_resized_image_is_pillows_bilinear() -> None:
    prepared = Preprocess((100.0,), (20.0,), 64)(FRAME8)
    resized = np.array(Image.fromarray(FRAME8).resize((64, 64), Image.Resampling.BILINEAR), np.float32)
    np.testing.assert_array_equal(prepared.values, np.repeat(((resized - 100) / 20)[None], 3, axis=0))
    assert prepared.geometry == Geometry((20, 30), (64, 64), (64, 64))


@pytest.mark.parametrize(
    ("size_hw", "image_size", "content_hw", "input_hw"),
    [
        ((20, 30), None, (20, 30), (32, 32)),
        ((32, 64), None, (32, 64), (32, 64)),
        ((33, 96), None, (33, 96), (64, 96)),
        ((1, 1), None, (1, 1), (32, 32)),
        ((20, 30), 100, (100, 100), (128, 128)),
        ((1, 1), 32, (32, 32), (32, 32)),
    ],
)
def test_input_is_padded_right_and_bottom_to_multiples_of_32(
    size_hw: tuple[int, int], image_size: int | None, content_hw: tuple[int, int], input_hw: tuple[int, int]
) -> None:
    image = np.full(size_hw, 200, np.uint8)
    prepared = Preprocess((100.0,), (20.0,), image_size)(image)
    assert prepared.geometry == Geometry(size_hw, content_hw, input_hw)
    assert prepared.values.shape == (3, *input_hw)
    expected = np.full(input_hw, 5.0)
    if image_size is not None:  # padded after normalisation, as published: zeros stay zeros
        expected[content_hw[0] :], expected[:, content_hw[1] :] = 0, 0
    np.testing.assert_array_equal(prepared.values, np.repeat(expected[None], 3, axis=0))


def test_native_frames_are_padded_with_their_last_row_and_column() -> None:
    values = Preprocess((100.0,), (50.0,))(FRAME8).values[0]
    expected = (np.pad(FRAME8.astype(np.float32), ((0, 12), (0, 2)), "edge") - 100) / 50
    np.testing.assert_array_equal(values, expected)
    assert (values[20:] == values[19]).all()


@pytest.mark.parametrize(("image_size", "padding"), [(None, 3.0), (32, 0.0)])
def test_network_of_fixed_input_gets_the_rest_padded(image_size: int | None, padding: float) -> None:
    prepared = Preprocess(image_size=image_size)(np.full((20, 30), 3, np.uint8), 96)
    assert prepared.values.shape == (3, 96, 96)
    assert prepared.geometry.input_hw == (96, 96)
    assert (prepared.values[:, 40:] == padding).all()
    with pytest.raises(ValueError, match="input is 64x32; the network takes 32x32"):
        Preprocess()(np.zeros((33, 20), np.uint8), 32)


def test_parts_of_a_frame_are_mapped_by_the_statistics_of_the_whole() -> None:
    frame = RNG.integers(0, 4000, (40, 50)).astype(np.uint16)
    for preprocess in (Preprocess(), Preprocess(normalise="frame")):
        values = preprocess.measure(frame)
        assert values is not None
        whole = preprocess.to_byte_range(frame)
        np.testing.assert_array_equal(values.apply(frame[7:31, 12:]), whole[7:31, 12:])
    assert Preprocess().measure(FRAME8) is None


def test_statistics_of_a_frame_of_many_bands_are_numpys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samspl.preprocess._BAND_PX", 100)  # two rows at a time
    frame = RNG.normal(5000, 3, (61, 47)).astype(np.float32)
    exact = frame.astype(np.float64)
    values = Preprocess(normalise="frame").to_byte_range(frame)
    np.testing.assert_allclose(values, (exact - exact.mean()) / exact.std(), rtol=1e-6, atol=1e-6)


def test_input_image_is_not_changed() -> None:
    for image in (FRAME8, FRAME8.astype(np.float32)):
        kept = image.copy()
        for normalise in ("fixed", "frame"):
            Preprocess((9.0,), (2.0,), None, normalise)(image)
        np.testing.assert_array_equal(image, kept)


def test_pixels_that_are_not_finite_are_counted_and_the_first_is_named() -> None:
    frame = np.ones((5, 7), np.float32)
    frame[2, 3], frame[4, 0] = np.nan, np.inf
    with pytest.raises(ImageError, match="2 of 35 pixels, the first at x 3, y 2"):
        Preprocess()(frame)


@pytest.mark.parametrize("normalise", ["fixed", "frame"])
@pytest.mark.filterwarnings("error")
def test_values_too_large_to_be_told_apart_are_refused(normalise: str) -> None:
    frame = np.ones((40, 40))
    frame[3, 3], frame[4, 4] = 1e300, 2.0
    with pytest.raises(ImageError, match="values up to 1e\\+300"):
        Preprocess(normalise=normalise)(frame)


@pytest.mark.parametrize("normalise", ["fixed", "frame"])
@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (np.zeros((3, 4, 5)), "shape"),
        (np.zeros((0, 4)), "shape"),
        (np.zeros(4), "shape"),
        (np.array([[1.0, np.nan]]), "NaN or infinite"),
        (np.array([[1.0, np.inf]], np.float32), "NaN or infinite"),
    ],
)
def test_image_that_makes_no_sense_is_refused(normalise: str, image: np.ndarray, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        Preprocess(normalise=normalise)(image)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"mean": (1.0, 2.0)}, "mean has 2 values"),
        ({"std": ()}, "std has 0 values"),
        ({"std": (1.0, 0.0, 1.0)}, "must be positive"),
        ({"image_size": 0}, "image_size is 0"),
        ({"normalise": "minmax"}, "normalise is 'minmax'"),
        ({"means": (1.0,)}, "unknown preprocessing field 'means'; did you mean 'mean'"),
    ],
)
def test_wrong_settings_are_refused_by_name(values: dict, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        Preprocess.from_dict(values)


@pytest.mark.parametrize(
    "preprocess",
    [Preprocess(), Preprocess((1.5, 2.5, 3.5), (4.0,), 96), Preprocess(image_size=64, normalise="frame")],
)
def test_settings_survive_json(preprocess: Preprocess) -> None:
    assert Preprocess.from_dict(json.loads(json.dumps(preprocess.to_dict()))) == preprocess
