import csv
import json
from pathlib import Path

import numpy as np
import pytest

from samspl.errors import ConfigError, SamsplError
from samspl.report import (
    PREDICTION_COLUMNS,
    ImagePrediction,
    comparison_table,
    evaluation_table,
    predictions_to_coco,
    predictions_to_json,
    predictions_to_rows,
    read_result,
    require_writable,
    write_csv,
    write_json,
)
from samspl.targets import find_targets


def prediction(mask: np.ndarray, file: str = "a/b.png") -> ImagePrediction:
    targets = find_targets(mask, prob=np.where(mask, np.float32(0.75), np.float32(0)))
    return ImagePrediction(file, mask.shape, tuple(targets), mask)


def small_mask() -> np.ndarray:
    mask = np.zeros((3, 4), bool)
    mask[0:2, 1] = True
    mask[1, 2] = True
    return mask


RESULT = {
    "dataset": "NUAA-SIRST",
    "split": "test",
    "split_set": "img_idx",
    "split_sha256": "0123456789abcdef" * 4,
    "images": 214,
    "threshold": 0.5,
    "weights": "best.safetensors",
    "profiles": {
        "published": {
            "image_size": 256,
            "iou": 0.75125,
            "niou": 0.7,
            "f1": 0.858,
            "precision": 0.9,
            "recall": 0.82,
            "pd": 0.9,
            "fa": 12.34e-6,
            "hits": 270,
            "targets": 300,
            "false_alarms": 21,
            "empty_images": 1,
        },
        "strict": {
            "image_size": None,
            "iou": 0.7,
            "niou": None,
            "f1": 0.8,
            "precision": 0.9,
            "recall": 0.7,
            "pd": None,
            "fa": 2e-5,
            "hits": 0,
            "targets": 0,
            "false_alarms": 107,
            "empty_images": 1,
        },
    },
}


def cells_of(table: str) -> list[list[str]]:
    rows = [line for line in table.splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_predictions_json_has_one_object_an_image_even_without_targets() -> None:
    empty = prediction(np.zeros((3, 4), bool), "empty.png")
    first, second = predictions_to_json([prediction(small_mask()), empty])
    assert (first["file"], first["size"]) == ("a/b.png", [4, 3])
    assert first["targets"][0]["bbox_xyxy"] == [1, 0, 3, 2]
    assert second == {"file": "empty.png", "size": [4, 3], "targets": []}
    json.dumps(first, allow_nan=False)


def test_predictions_csv_has_one_row_a_target(tmp_path: Path) -> None:
    mask = small_mask()
    mask[2, 0] = False
    rows = predictions_to_rows([prediction(mask), prediction(np.zeros((3, 4), bool))])
    write_csv(tmp_path / "predictions.csv", rows, PREDICTION_COLUMNS)
    with (tmp_path / "predictions.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["file"], row["left"], row["bottom"], row["area_px"]) == ("a/b.png", "1", "2", "3")
    assert float(row["x"]) == pytest.approx(4 / 3)
    assert float(row["score"]) == 0.75
    assert row["scr"] == ""


def test_coco_run_lengths_go_down_the_columns_and_start_with_background() -> None:
    coco = predictions_to_coco([prediction(small_mask())])
    (annotation,) = coco["annotations"]
    # columns: 000 110 010 000
    assert annotation["segmentation"] == {"size": [3, 4], "counts": [3, 2, 2, 1, 4]}
    assert annotation["bbox"] == [1, 0, 2, 2]
    assert (annotation["area"], annotation["iscrowd"], annotation["score"]) == (3, 0, 0.75)
    assert coco["images"] == [{"id": 1, "file_name": "a/b.png", "width": 4, "height": 3}]
    assert [c["id"] for c in coco["categories"]] == [1]


@pytest.mark.parametrize("corner", [(0, 0), (2, 3)])
def test_coco_run_lengths_are_right_at_both_ends_of_the_image(corner: tuple[int, int]) -> None:
    mask = np.zeros((3, 4), bool)
    mask[corner] = True
    counts = predictions_to_coco([prediction(mask)])["annotations"][0]["segmentation"]["counts"]
    assert counts == ([0, 1, 11] if corner == (0, 0) else [11, 1])


def decode(counts: list[int], shape: tuple[int, int]) -> np.ndarray:
    values = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return values.reshape(shape[::-1]).T


def test_coco_masks_put_together_are_the_predicted_mask() -> None:
    mask = np.random.default_rng(0).random((30, 37)) < 0.15
    coco = predictions_to_coco([prediction(mask)])
    assert len(coco["annotations"]) > 20
    whole = np.zeros(mask.shape, int)
    for annotation in coco["annotations"]:
        own = decode(annotation["segmentation"]["counts"], mask.shape)
        assert own.sum() == annotation["area"]
        whole += own
    np.testing.assert_array_equal(whole, mask.astype(int))


def test_coco_is_read_by_pycocotools(tmp_path: Path) -> None:
    coco_module = pytest.importorskip(
        "pycocotools.coco", reason="needs pycocotools, which the package does not"
    )
    mask = np.random.default_rng(0).random((30, 37)) < 0.15
    write_json(tmp_path / "coco.json", predictions_to_coco([prediction(mask)]))
    read = coco_module.COCO(str(tmp_path / "coco.json"))
    decoded = [read.annToMask(annotation) for annotation in read.loadAnns(read.getAnnIds())]
    np.testing.assert_array_equal(np.sum(decoded, axis=0), mask.astype(int))


def test_coco_lists_only_the_targets_that_the_prediction_lists() -> None:
    mask = small_mask()
    mask[2, 0] = False
    mask = np.pad(mask, 3)
    mask[0, 0] = True
    large = tuple(find_targets(mask, min_area_px=2))
    coco = predictions_to_coco([ImagePrediction("a.png", mask.shape, large, mask)])
    assert [a["area"] for a in coco["annotations"]] == [3]


def test_coco_without_a_fitting_mask_is_refused() -> None:
    whole = prediction(small_mask())
    for mask in (None, np.zeros((2, 2), bool)):
        with pytest.raises(ValueError, match=r"a/b.png: COCO needs the mask"):
            predictions_to_coco([ImagePrediction(whole.file, whole.size_hw, whole.targets, mask)])
    other = ImagePrediction(whole.file, whole.size_hw, whole.targets, np.zeros((3, 4), bool))
    with pytest.raises(ValueError, match="holds no target at"):
        predictions_to_coco([other])


def test_evaluation_table_states_all_that_makes_figures_comparable() -> None:
    text = evaluation_table(RESULT)
    for fact in (
        "NUAA-SIRST",
        "test of img_idx",
        "0123456789ab",
        "images 214",
        "threshold 0.5",
        "best.safetensors",
    ):
        assert fact in text
    table = {row[0]: row[1:] for row in cells_of(text)}
    assert table["size"] == ["256 x 256", "native"]
    assert table["IoU"] == ["75.12 %", "70.00 %"]
    assert table["Pd"] == ["90.00 % (270/300)", "- (0/0)"]
    assert table["Fa"] == ["12.34e-6", "20.00e-6"]
    assert table["nIoU"] == ["70.00 %", "-"]
    assert table["false alarms per image"] == ["0.098", "0.500"]
    assert table["targets"] == ["300", "0"]


def test_evaluation_table_shows_intervals_where_given() -> None:
    figures = dict.fromkeys(("iou", "niou", "f1", "precision", "recall", "fa"), (None, None))
    text = evaluation_table(RESULT, {"published": figures | {"pd": (0.86, 0.93)}})
    table = {row[0]: row[1:] for row in cells_of(text)}
    assert table["Pd"] == ["90.00 % (270/300) [86.00 %, 93.00 %]", "- (0/0)"]
    assert table["IoU"][0] == "75.12 % [-, -]"


def test_comparison_has_a_row_for_each_result_and_profile() -> None:
    other = RESULT | {"profiles": {"strict": RESULT["profiles"]["strict"] | {"iou": 0.8}}}
    header, *rows = cells_of(comparison_table([("ours", RESULT), ("theirs|new", other)]))
    assert [row[:2] for row in rows[:2]] == [["ours", "published"], ["ours", "strict"]]
    assert rows[2][0] == "theirs\\"  # the bar inside the name is escaped
    assert rows[1][header.index("IoU")] == "70.00 %"
    assert "Not comparable" not in comparison_table([("ours", RESULT), ("theirs", other)])


def test_comparison_warns_of_results_that_do_not_compare() -> None:
    text = comparison_table([("a", RESULT), ("b", RESULT | {"split_sha256": "ff", "threshold": 0.4})])
    assert "differ in split." in text
    assert "differ in threshold." in text
    assert "differ in data set." not in text


def test_comparison_shows_false_alarms_per_image_and_intervals_that_are_known() -> None:
    known = {"iou": [0.7, 0.8], "pd": [0.85, 0.95], "fa": [1e-6, 2e-5], "niou": [None, None]}
    published = {**RESULT["profiles"]["published"], "intervals": known}
    older = {key: value for key, value in published.items() if key not in ("intervals", "false_alarms")}
    results = [
        (name, RESULT | {"profiles": {"published": p}}) for name, p in (("a", published), ("b", older))
    ]
    header, a, b = cells_of(comparison_table(results))
    at = {label: (a[i], b[i]) for i, label in enumerate(header)}
    assert at["IoU"] == ("75.12 % [70.00 %, 80.00 %]", "75.12 %")
    assert at["nIoU"] == ("70.00 % [-, -]", "70.00 %")
    assert at["Pd"] == ("90.00 % (270/300) [85.00 %, 95.00 %]", "90.00 % (270/300)")
    assert at["Fa"] == ("12.34e-6 [1.00e-6, 20.00e-6]", "12.34e-6")
    assert at["false alarms per image"] == ("0.098", "-")  # 21 in 214 images


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        comparison_table([])


def test_result_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    write_json(tmp_path / "new" / "result.json", RESULT)
    assert read_result(tmp_path / "new" / "result.json") == RESULT
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["result.json"]


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"images": 1, "threshold": 0.5, "profiles": {"strict": {}}}', "\x00"]
)
def test_file_that_is_no_result_is_refused_with_its_name(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content, encoding="utf-8")
    with pytest.raises(SamsplError, match=r"x\.json is no.*expected a file of `samspl test --json`"):
        read_result(tmp_path / "x.json")


def test_missing_result_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(SamsplError, match=r"gone\.json"):
        read_result(tmp_path / "gone.json")


def test_nan_is_never_written_as_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"pd": float("nan")})
    assert not (tmp_path / "x.json").exists()


def test_folder_that_cannot_be_made_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SamsplError, match="cannot be written"):
        write_json(tmp_path / "file" / "x.json", {})


def test_place_to_write_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    for path, is_folder in ((tmp_path / "new" / "a.json", False), (tmp_path / "new" / "report", True)):
        require_writable(path, "--out", is_folder)
    require_writable(tmp_path, "--out", is_folder=True)
    (tmp_path / "old.json").write_text("old")
    require_writable(tmp_path / "old.json", "--json")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("old.json", "old")]


def test_place_where_nothing_can_be_written_is_refused_with_its_option(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--json .* is a folder; give the path of a file"):
        require_writable(tmp_path, "--json")
    with pytest.raises(ConfigError, match="--report .*file is a file; give the path of a folder"):
        require_writable(tmp_path / "file", "--report", is_folder=True)
    with pytest.raises(ConfigError, match=r"--json .*a\.json cannot be written \(.*file: Not a directory\)"):
        require_writable(tmp_path / "file" / "below" / "a.json", "--json")


def test_folder_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(**_: object) -> None:  # the superuser, who may run this, is denied nothing
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", deny)
    with pytest.raises(ConfigError, match=r"--json .*a\.json cannot be written \(.*Permission denied\)"):
        require_writable(tmp_path / "a.json", "--json")
