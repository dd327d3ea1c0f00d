import csv
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from samspl.evaluation import evaluate_predictions
from samspl.evaluation.report import WorstImages, threshold_advice, worst_of, write_report
from samspl.metrics.curves import DEFAULT_THRESHOLDS, Curve, CurveCounts
from samspl.predictions import PredictedSample


def sample(name: str, misses: int = 0, false_alarms: int = 0, extra_px: int = 0) -> PredictedSample:
    """40 x 40 with three targets of 2 x 2: some missed, some false alarms, some pixels too many on the last."""
    mask, prob = np.zeros((40, 40), bool), np.full((40, 40), 0.1, np.float32)
    for k in range(3):
        mask[4:6, 4 + 8 * k : 6 + 8 * k] = True
        prob[4:6, 4 + 8 * k : 6 + 8 * k] = 0.1 if k < misses else 0.9
    prob[30, 4 : 4 + 4 * false_alarms : 4] = 0.8
    prob[6, 20 : 20 + extra_px] = 0.7
    return PredictedSample(name, np.zeros((40, 40), np.uint8), mask, prob)


def shown(samples: list[PredictedSample], places: range, keep: int = 3) -> WorstImages:
    worst = WorstImages(places, keep)
    for one in samples:
        worst(one, one.prob, one.prob > 0.5)
    return worst


def test_worst_images_come_by_misses_and_false_alarms_then_by_iou() -> None:
    samples = [
        sample("perfect"),
        sample("loose", extra_px=1),
        sample("looser", extra_px=2),
        sample("two_false", false_alarms=2),
        sample("one_miss", misses=1),
        sample("both", misses=1, false_alarms=2),
    ]
    worst = shown(samples, range(6)).draw()
    assert [image.picture.name for image in worst] == ["both", "two_false", "one_miss"]
    assert worst[0].picture.caption == "2 hits, 1 miss, 2 false alarms, IoU 57.1 %"
    assert Image.open(io.BytesIO(worst[0].picture.png)).format == "PNG"
    assert [i.picture.name for i in shown(samples, range(6), keep=9).draw()][3:] == ["looser", "loose"]


def test_images_shared_by_processes_give_the_same_worst() -> None:
    samples = [sample(f"scene_{i}", misses=i % 3, false_alarms=i % 2) for i in range(11)]
    whole = worst_of([shown(samples, range(11)).draw()], keep=3)
    shares = [shown(samples[rank::2], range(rank, 11, 2)).draw() for rank in range(2)]
    assert worst_of(shares, keep=3) == whole
    assert [picture.name for picture in whole] == ["scene_5", "scene_2", "scene_8"]


def test_threshold_is_chosen_on_validation_images_alone() -> None:
    counts = np.zeros((3, len(CurveCounts._fields)), np.int64)
    counts[:, :3] = [[8, 20, 10], [9, 10, 10], [2, 2, 10]]
    curve = Curve(np.array([0.2, 0.4, 0.6]), counts, 1)
    advice = threshold_advice(curve, is_validation=True)
    assert "Best threshold on this validation split: 0.4" in advice
    assert "was not used on the test split" in advice
    assert "selection on the images that are scored" in threshold_advice(curve, is_validation=False)
    nothing = Curve(np.array([0.5]), np.zeros((1, len(CurveCounts._fields)), np.int64), 1)
    assert "no foreground at all" in threshold_advice(nothing, is_validation=True)


def write(folder: Path, samples: list[PredictedSample], **more: object) -> tuple[str, dict[str, list[dict]]]:
    result = evaluate_predictions(samples, curve_thresholds=DEFAULT_THRESHOLDS)
    intervals = {name: profile.intervals() for name, profile in result.profiles.items()}
    write_report(folder, result.to_dict("SET", "test", None, "ab" * 32, "preds"), intervals, result, **more)
    tables = {}
    for path in folder.glob("*.csv"):
        with path.open(newline="") as file:
            tables[path.name] = list(csv.DictReader(file))
    return (folder / "index.html").read_text(), tables


def test_report_folder_holds_a_page_and_the_tables_behind_it(tmp_path: Path) -> None:
    samples = [sample("a", misses=1), sample("b,c", false_alarms=1), sample("d")]
    page, tables = write(tmp_path / "new" / "report", samples)
    assert "preds on SET, test" in page
    assert "ab" * 32 in page
    assert "Choose it on a validation split" in page
    assert "88.89 % (8/9)" in page
    assert [row["image"] for row in tables["images.csv"]] == ["a", "b,c", "d"]
    assert [row["strict_false_alarms"] for row in tables["images.csv"]] == ["0", "1", "0"]
    assert sum(int(row["hit"]) for row in tables["targets.csv"]) == 8
    assert len(tables["targets.csv"]) == 9
    assert [row["thresholds"] for row in tables["curve.csv"]] == [f"{t:g}" for t in DEFAULT_THRESHOLDS]
    at_half = next(row for row in tables["curve.csv"] if row["thresholds"] == "0.5")
    assert float(at_half["pd"]) == pytest.approx(8 / 9)


def test_report_without_any_target_is_written_too(tmp_path: Path) -> None:
    empty = PredictedSample("e", np.zeros((32, 32), np.uint8), np.zeros((32, 32), bool), np.zeros((32, 32)))
    page, tables = write(tmp_path, [empty], is_validation=True)
    assert "- (0/0)" in page
    assert "no foreground at all" in page
    assert tables["targets.csv"] == []


def test_report_needs_a_curve(tmp_path: Path) -> None:
    result = evaluate_predictions([sample("a")])
    with pytest.raises(ValueError, match="no curve"):
        write_report(tmp_path, result.to_dict(), {}, result)
