from pathlib import Path

import numpy as np
import pytest

from samspl.data.dataset import open_dataset
from samspl.errors import ConfigError, DatasetError, ImageError
from samspl.evaluation import EvaluationResult, evaluate_predictions
from samspl.imaging import write_image
from samspl.metrics import score
from samspl.predictions import DatasetPredictions, PredictionFiles, read_predictions


def masks_of_scenes(count: int = 5) -> list[np.ndarray]:
    """40 x 50, with one to three targets each."""
    rng = np.random.default_rng(0)
    masks = np.zeros((count, 40, 50), bool)
    for i, mask in enumerate(masks):
        for y, x in rng.integers(4, 32, (1 + i % 3, 2)):
            mask[y : y + 3, x : x + 3] = True
    return list(masks)


def write_folders(tmp_path: Path, masks: list[np.ndarray]) -> tuple[Path, Path]:
    for i, mask in enumerate(masks):
        write_image(tmp_path / "masks" / f"scene_{i}_pixels0.png", mask)
    return tmp_path / "predictions", tmp_path / "masks"


def score_folders(predictions: Path, masks: Path) -> EvaluationResult:
    return evaluate_predictions(read_predictions(predictions, masks))


def test_masks_and_probabilities_of_another_program_are_scored(tmp_path: Path) -> None:
    truth = masks_of_scenes()
    predictions, masks = write_folders(tmp_path, truth)
    rng = np.random.default_rng(1)
    maps = [np.where(gt, 0.8, rng.uniform(0, 0.45, gt.shape)).astype(np.float32) for gt in truth]
    maps[1][0, 0] = 0.9
    writers = [
        lambda path, prob: write_image(path.with_suffix(".tiff"), prob),
        lambda path, prob: write_image(path.with_suffix(".png"), prob > 0.5),
        lambda path, prob: write_image(path.with_suffix(".png"), np.rint(prob * 255).astype(np.uint8)),
        lambda path, prob: write_image(path.with_suffix(".png"), np.rint(prob * 65535).astype(np.uint16)),
        lambda path, prob: np.save(path.with_suffix(".npy"), prob),
    ]
    predictions.mkdir()
    for i, (write, prob) in enumerate(zip(writers, maps, strict=True)):
        write(predictions / f"scene_{i}", prob)
    result = score_folders(predictions, masks)
    assert result.profiles["strict"].scores == score([p > 0.5 for p in maps], truth)
    assert result.profiles["published"].image_size is None
    assert result.profiles["strict"].scores.false_alarms == 1


def test_masks_of_0_and_1_are_taken_on_both_sides(tmp_path: Path) -> None:
    mask = np.zeros((8, 8), np.uint8)
    mask[2, 2] = 1
    write_image(tmp_path / "masks" / "a.png", mask)
    write_image(tmp_path / "predictions" / "a.png", mask)
    assert score_folders(tmp_path / "predictions", tmp_path / "masks").profiles["strict"].scores.iou == 1.0


def test_missing_prediction_is_refused_and_named(tmp_path: Path) -> None:
    predictions, masks = write_folders(tmp_path, masks_of_scenes())
    write_image(predictions / "scene_0.png", masks_of_scenes()[0])
    with pytest.raises(DatasetError, match=r"4 of 5 masks have no prediction .*first: scene_1"):
        score_folders(predictions, masks)


def test_prediction_of_another_size_is_refused_and_named(tmp_path: Path) -> None:
    predictions, masks = write_folders(tmp_path, masks_of_scenes(1))
    write_image(predictions / "scene_0.png", np.zeros((40, 40), bool))
    with pytest.raises(DatasetError, match=r"scene_0\.png is 40x40, its mask .* 50x40"):
        score_folders(predictions, masks)


@pytest.mark.parametrize("bad", [1.2, -0.1, np.nan])
def test_probability_file_out_of_range_is_refused_and_named(tmp_path: Path, bad: float) -> None:
    predictions, masks = write_folders(tmp_path, masks_of_scenes(1))
    prob = np.zeros((40, 50), np.float32)
    prob[5, 5] = bad
    write_image(predictions / "scene_0.tiff", prob)
    with pytest.raises(DatasetError, match=r"scene_0\.tiff holds .* within 0\.\.1"):
        score_folders(predictions, masks)


def test_two_predictions_for_one_image_are_refused(tmp_path: Path) -> None:
    predictions, masks = write_folders(tmp_path, masks_of_scenes(1))
    write_image(predictions / "scene_0.png", masks_of_scenes()[0])
    write_image(predictions / "scene_0.tiff", masks_of_scenes()[0])
    with pytest.raises(DatasetError, match="stand for the same image"):
        score_folders(predictions, masks)


def test_folder_that_is_missing_or_empty_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="holds no mask files"):
        score_folders(tmp_path / "empty", tmp_path / "empty")
    with pytest.raises(ConfigError, match="is no folder"):
        score_folders(tmp_path / "empty", tmp_path / "nowhere")


def test_list_chooses_masks_and_their_order(tmp_path: Path) -> None:
    truth = masks_of_scenes()
    predictions, masks = write_folders(tmp_path, truth)
    for i in (1, 3):
        write_image(predictions / f"scene_{i}.png", truth[i])
    files = PredictionFiles(predictions, masks, ids=("scene_3", "scene_1"))
    assert (len(files), files.ids) == (2, ("scene_3", "scene_1"))
    np.testing.assert_array_equal(files.read(0).mask, truth[3])
    with pytest.raises(DatasetError, match=r"1 of 2 images of the list have no mask .*first: other"):
        PredictionFiles(predictions, masks, ids=("scene_1", "other"))


def test_contrast_is_known_only_with_images(tmp_path: Path) -> None:
    truth = masks_of_scenes(2)
    predictions, masks = write_folders(tmp_path, truth)
    rng = np.random.default_rng(0)
    for i, mask in enumerate(truth):
        prob = np.where(mask, 0.9, rng.uniform(0, 0.4, mask.shape)).astype(np.float32)
        write_image(predictions / f"scene_{i}.tiff", prob)
        noise = rng.integers(10, 60, mask.shape)
        write_image(tmp_path / "images" / f"scene_{i}.png", np.where(mask, 200, noise).astype(np.uint8))
    assert np.isnan(score_folders(predictions, masks).targets.scr).all()
    with_images = evaluate_predictions(read_predictions(predictions, masks, tmp_path / "images"))
    assert (with_images.targets.scr > 3).all()
    (tmp_path / "images" / "scene_1.png").unlink()
    with pytest.raises(DatasetError, match=r"1 of 2 masks have no image .*first: scene_1"):
        read_predictions(predictions, masks, tmp_path / "images")


def test_files_are_read_one_by_one(tmp_path: Path) -> None:
    predictions, masks = write_folders(tmp_path, masks_of_scenes(2))
    write_image(predictions / "scene_0.png", masks_of_scenes(2)[0])
    (predictions / "scene_1.png").write_bytes(b"broken")
    samples = read_predictions(predictions, masks)
    assert next(samples).id == "scene_0"
    with pytest.raises(ImageError, match=r"scene_1\.png"):
        next(samples)


def test_mask_that_a_data_set_mends_can_be_scored(tmp_path: Path) -> None:
    data = tmp_path / "NUAA-SIRST"  # its Misc_111 has a mask of another size, as published
    (data / "img_idx").mkdir(parents=True)
    (data / "img_idx" / "test_NUAA-SIRST.txt").write_text("Misc_111\n")
    write_image(data / "images" / "Misc_111.png", np.zeros((20, 30), np.uint8))
    mask = np.zeros((40, 60), bool)
    mask[10:14, 20:26] = True
    write_image(data / "masks" / "Misc_111_pixels0.png", mask)
    write_image(tmp_path / "p" / "Misc_111.png", mask[::2, ::2])
    (sample,) = map(
        DatasetPredictions(tmp_path / "p", open_dataset("NUAA-SIRST", tmp_path, "test")).read, (0,)
    )
    assert sample.mask.sum() == 6
    np.testing.assert_array_equal(sample.prob > 0.5, sample.mask)
    assert sample.has_image
    (tmp_path / "p" / "Misc_111.png").unlink()
    with pytest.raises(DatasetError, match=r"1 of 1 images have no prediction .*first: Misc_111"):
        DatasetPredictions(tmp_path / "p", open_dataset("NUAA-SIRST", tmp_path, "test"))


def test_files_in_folders_of_folders_are_told_apart(tmp_path: Path) -> None:
    for i, folder in enumerate("ab"):
        write_image(tmp_path / "m" / folder / "x.png", np.eye(8, dtype=bool))
        write_image(tmp_path / "p" / folder / "x.png", np.eye(8, k=i, dtype=bool))
    assert [s.id for s in read_predictions(tmp_path / "p", tmp_path / "m")] == ["a/x", "b/x"]
    with pytest.raises(DatasetError, match="first: x"):
        PredictionFiles(tmp_path / "p" / "a", tmp_path / "m" / "a", ids=["x"], images_dir=tmp_path / "m")


def write_predictions(folder: Path, *arrays: np.ndarray) -> PredictionFiles:
    """Each as NPY, which keeps every type, beside a true mask of a single pixel."""
    (folder / "p").mkdir()
    for i, values in enumerate(arrays):
        write_image(folder / "m" / f"{i}.png", np.eye(*values.shape, dtype=bool))
        np.save(folder / "p" / f"{i}.npy", values)
    return PredictionFiles(folder / "p", folder / "m")


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "uint32", "int64"])
@pytest.mark.parametrize("value", [1, 127, 255])
def test_masks_of_any_integer_type_and_value_are_masks(
    tmp_path: Path, dtype: np.typing.DTypeLike, value: int
) -> None:
    truth = np.eye(8, dtype=bool)
    if value > np.iinfo(dtype).max:
        value = int(np.iinfo(dtype).max)
    files = write_predictions(tmp_path, (truth * value).astype(dtype), np.zeros((8, 8), dtype))
    np.testing.assert_array_equal(files.read(0).prob, truth)
    assert not files.read(1).prob.any()
    scores = score_folders(tmp_path / "p", tmp_path / "m").profiles["strict"].scores
    assert (scores.precision, scores.recall) == (1.0, 0.5)  # the second mask is missed


@pytest.mark.parametrize("name", ["a.png", "a.tiff"])
def test_mask_of_0_and_255_in_a_16_bit_image_file_is_a_mask(tmp_path: Path, name: str) -> None:
    mask = np.eye(8, dtype=bool)
    write_image(tmp_path / "m" / "a.png", mask)
    write_image(tmp_path / "p" / name, (mask * 255).astype(np.uint16))
    assert score_folders(tmp_path / "p", tmp_path / "m").profiles["strict"].scores.iou == 1.0


def test_quiet_probability_map_beside_a_loud_one_stays_quiet(tmp_path: Path) -> None:
    quiet = np.eye(8, dtype=np.uint8)
    loud = np.arange(64, dtype=np.uint8).reshape(8, 8) * 4
    for i, order in enumerate(((quiet, loud), (loud, quiet))):
        (tmp_path / str(i)).mkdir()
        files = write_predictions(tmp_path / str(i), *order)
        largest = sorted(float(files.read(k).prob.max()) for k in range(2))
        assert largest == pytest.approx([1 / 255, 252 / 255])


def test_files_that_are_not_scored_count_for_what_values_mean(tmp_path: Path) -> None:
    write_predictions(tmp_path, np.eye(8, dtype=np.uint8), np.arange(64, dtype=np.uint8).reshape(8, 8))
    files = PredictionFiles(tmp_path / "p", tmp_path / "m", ids=["0"])
    assert files.read(0).prob.max() == pytest.approx(1 / 255)


def test_16_bit_probabilities_are_divided_by_65535_in_quiet_files_too(tmp_path: Path) -> None:
    files = write_predictions(
        tmp_path, np.arange(64, dtype=np.uint16).reshape(8, 8), np.full((8, 8), 52428, np.uint16)
    )
    assert files.read(0).prob.max() == pytest.approx(63 / 65535)
    assert files.read(1).prob.min() == pytest.approx(0.8)


def test_a_constant_map_without_zero_is_no_mask(tmp_path: Path) -> None:
    files = write_predictions(tmp_path, np.full((8, 8), 51, np.uint8))
    np.testing.assert_allclose(files.read(0).prob, 0.2)


def test_masks_of_different_values_are_refused(tmp_path: Path) -> None:
    files = write_predictions(tmp_path, np.eye(8, dtype=np.uint8), np.eye(8, dtype=np.uint8) * 255)
    with pytest.raises(DatasetError, match=r"0\.npy holds 0 and 1 alone, .*1\.npy 0 and 255.*same value"):
        files.read(0)


@pytest.mark.parametrize(
    ("dtype", "factor", "words"),
    [("uint16", 1, "no value above 63"), ("int32", 1000, "more values than"), ("int16", 100, "more values")],
)
def test_integers_of_unknown_scale_are_refused(tmp_path: Path, dtype: str, factor: int, words: str) -> None:
    files = write_predictions(tmp_path, (np.arange(64).reshape(8, 8) * factor).astype(dtype))
    with pytest.raises(DatasetError, match=rf"0\.npy .*{dtype} files.*{words}.*float files"):
        files.read(0)
