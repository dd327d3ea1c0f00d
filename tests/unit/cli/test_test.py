"""`samspl test`: output, files, exit status and refusals."""

import csv
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from samspl.backends import TorchBackend
from samspl.checkpoint import Checkpoint, build_model, read_checkpoint, write_checkpoint
from samspl.cli.main import main
from samspl.config import ModelConfig
from samspl.data.dataset import InfraredDataset, Pair, open_dataset
from samspl.data.synthetic import write_dataset
from samspl.evaluation import evaluate
from samspl.imaging import read_mask, write_image
from samspl.models.network import SAMSPL
from samspl.preprocess import Preprocess
from tests.deterministic import fill

TINY = ModelConfig(embed_dim=16, stages=(1, 2, 2), global_blocks=(4,), width=32, mlp_width=48)
CONTRACT = ["dataset", "split", "split_set", "split_sha256", "images", "threshold", "weights", "profiles"]
FIGURES = {"image_size", "targets", "hits", "iou", "niou", "f1", "precision", "recall", "pd", "fa"}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "scenes"
    write_dataset(folder, 15, seed=5, size_hw=(64, 96))
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "best.safetensors"
    preprocess = Preprocess(mean=(100.0,), std=(40.0,), image_size=64)
    record = {"validation_ids": ["another"]}
    # low enough for foreground: an untrained network is unsure everywhere
    write_checkpoint(path, Checkpoint(TINY, fill(SAMSPL(TINY)).state_dict(), preprocess, 0.3, record))
    return path


@pytest.fixture(scope="module")
def predictions(scenes: Path) -> Path:
    """Probabilities that find most targets and have some false alarms."""
    folder = scenes.parent / "predictions"
    rng = np.random.default_rng(0)
    for path in sorted((scenes / "masks").iterdir()):
        mask = read_mask(path) > 0
        prob = np.where(mask, rng.uniform(0.4, 1.0), 0.1 + 0.3 * rng.random(mask.shape)).astype(np.float32)
        prob[2, 2] = rng.random()
        write_image(folder / f"{path.stem}.tiff", prob)
    return folder


def test_table_states_what_the_figures_rest_on(scenes, weights, capsys) -> None:
    assert main(["test", "--dataset", str(scenes), "--weights", str(weights), "--device", "cpu", "-q"]) == 0
    out = capsys.readouterr().out
    ids = (scenes / "test.txt").read_text().split()
    checksum = hashlib.sha256("\n".join(ids).encode()).hexdigest()
    assert f"data set scenes, split test of root, checksum {checksum[:12]}, images 3, threshold 0.3" in out
    rows = {line.split("|")[1].strip(): line for line in out.splitlines() if line.startswith("| ")}
    assert "64 x 64" in rows["size"]
    assert "native" in rows["size"]
    for figure in ("IoU", "nIoU", "F1", "precision", "recall", "Pd", "Fa"):
        assert rows[figure].count("[") == 2, "both profiles have an interval"
    assert rows["Pd"].count("/") == 2
    assert {"targets", "false alarms per image"} <= rows.keys()
    assert "threshold on this" not in out


def test_json_is_the_contracts_object_and_agrees_with_the_library(scenes, weights, tmp_path, capsys) -> None:
    out = tmp_path / "new" / "result.json"
    words = ["--dataset", str(scenes), "--weights", str(weights)]
    assert main(["test", *words, "--json", str(out), "--device", "cpu", "-q", "--split", "train"]) == 0
    result = json.loads(out.read_text())
    assert list(result) == CONTRACT
    assert list(result["profiles"]) == ["published", "strict"]
    dataset = open_dataset(str(scenes), ".", "train")
    model = build_model(read_checkpoint(weights))
    with torch.inference_mode():
        expected = evaluate(
            model, map(dataset.read, range(12)), Preprocess((100.0,), (40.0,), image_size=64), 0.3
        )
    for name, profile in result["profiles"].items():
        assert profile.keys() >= FIGURES
        intervals = profile.pop("intervals")
        assert intervals.keys() == {"iou", "niou", "precision", "recall", "f1", "pd", "fa"}
        assert profile == expected.to_dict()["profiles"][name]
    assert expected.profiles["strict"].counts[:, 1].sum() > 0, "the network must predict something"


def test_batches_give_the_same_figures(scenes, weights, tmp_path, capsys, monkeypatch) -> None:
    words = ["test", "--dataset", str(scenes), "--weights", str(weights), "--device", "cpu", "-q"]
    seen: list[int] = []
    predict = TorchBackend.__call__

    def spy(self: TorchBackend, images: torch.Tensor) -> np.ndarray:
        seen.append(len(images))
        return predict(self, images)

    monkeypatch.setattr(TorchBackend, "__call__", spy)
    for size in ("1", "2"):
        assert main([*words, "--batch_size", size, "--json", str(tmp_path / size)]) == 0
    assert seen == [1, 1, 1, 2, 1]
    assert json.loads((tmp_path / "1").read_text()) == json.loads((tmp_path / "2").read_text())


def test_report_is_written_for_one_profile_too(scenes, weights, tmp_path, capsys) -> None:
    words = ["test", "--dataset", str(scenes), "--weights", str(weights), "--device", "cpu", "-q"]
    assert (
        main([*words, "--report", str(tmp_path / "r"), "--profile", "published", "--image-size", "32"]) == 0
    )
    assert f"report: {tmp_path / 'r' / 'index.html'}" in capsys.readouterr().out
    page = (tmp_path / "r" / "index.html").read_text()
    assert "32 x 32" in page
    assert "Which targets are found" not in page, "that is known under the strict profile alone"
    with (tmp_path / "r" / "images.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    assert not any(column.startswith("strict") for column in rows[0])


def test_best_threshold_is_named_on_validation_images_alone(scenes, weights, tmp_path, capsys) -> None:
    words = ["test", "--dataset", str(scenes), "--weights", str(weights), "--device", "cpu", "-q"]
    assert main([*words, "--split", "val", "--report", str(tmp_path)]) == 0
    said = capsys.readouterr()
    page = (tmp_path / "index.html").read_text()
    for text in (said.out, page):
        assert "on this validation split" in text or "no foreground at all" in text
    assert "trained with another validation part" in said.err
    assert main([*words, "--split", "test", "--report", str(tmp_path)]) == 0
    assert "on this validation split" not in (tmp_path / "index.html").read_text()
    assert "another validation part" not in capsys.readouterr().err


def test_overlays_of_all_images_are_written(scenes, weights, tmp_path, capsys) -> None:
    words = ["test", "--dataset", str(scenes), "--weights", str(weights), "--device", "cpu", "-q"]
    assert main([*words, "--overlays", str(tmp_path)]) == 0
    ids = (scenes / "test.txt").read_text().split()
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(ids)


def score(predictions: Path, masks: Path, *more: str) -> int:
    return main(["test", "--predictions", str(predictions), "--masks", str(masks), "-q", *more])


def test_predictions_of_another_program_are_scored(scenes, predictions, tmp_path, capsys) -> None:
    more = ("--images", str(scenes / "images"), "--report", str(tmp_path), "--json", str(tmp_path / "j"))
    assert score(predictions, scenes / "masks", *more) == 0
    result = json.loads((tmp_path / "j").read_text())
    assert (result["images"], result["dataset"], result["threshold"]) == (15, None, 0.5)
    assert result["weights"] == str(predictions)
    assert result["profiles"]["strict"]["hits"] > 0
    assert result["profiles"]["strict"]["false_alarms"] > 0
    page = (tmp_path / "index.html").read_text()
    assert "By signal-to-clutter ratio" in page
    assert page.count("<figure><img") > 3
    assert score(predictions, scenes / "masks", "--report", str(tmp_path)) == 0
    assert "By signal-to-clutter ratio" not in (tmp_path / "index.html").read_text()


def test_list_chooses_predictions_and_gives_the_checksum_of_the_split(scenes, predictions, tmp_path) -> None:
    result = tmp_path / "j"
    assert (
        score(predictions, scenes / "masks", "--split", str(scenes / "test.txt"), "--json", str(result)) == 0
    )
    values = json.loads(result.read_text())
    assert values["images"] == 3
    assert values["split_sha256"] == open_dataset(str(scenes), ".", "test").split.sha256


def test_predictions_for_a_data_set_follow_its_split_and_rules(scenes, predictions, tmp_path, capsys) -> None:
    words = ["test", "--predictions", str(predictions), "--dataset", str(scenes), "-q"]
    assert main([*words, "--json", str(tmp_path / "j"), "--report", str(tmp_path)]) == 0
    values = json.loads((tmp_path / "j").read_text())
    assert (values["dataset"], values["split"], values["split_set"]) == ("scenes", "test", "root")
    more = ("--split", str(scenes / "test.txt"), "--json", str(tmp_path / "by_folder"))
    assert score(predictions, scenes / "masks", *more) == 0
    by_folder = json.loads((tmp_path / "by_folder").read_text())
    assert values["profiles"] == by_folder["profiles"]
    assert values["split_sha256"] == by_folder["split_sha256"]
    assert "By signal-to-clutter ratio" in (tmp_path / "index.html").read_text()
    assert main([*words, "--split", "val"]) == 0
    assert "on this validation split" in capsys.readouterr().out


def test_threshold_and_profile_are_obeyed(scenes, predictions, tmp_path, capsys) -> None:
    pds = []
    for threshold in ("0.45", "0.95"):
        out = str(tmp_path / threshold)
        more = ("--threshold", threshold, "--profile", "strict", "--json", out)
        assert score(predictions, scenes / "masks", *more) == 0
        profiles = json.loads(Path(out).read_text())["profiles"]
        assert list(profiles) == ["strict"]
        pds.append(profiles["strict"]["pd"])
    assert pds[0] > pds[1]


def test_no_target_at_all_is_null_and_not_zero(tmp_path, capsys) -> None:
    for folder in ("predictions", "masks"):
        write_image(tmp_path / folder / "a.png", np.zeros((32, 32), bool))
    out = tmp_path / "r" / "result.json"
    assert (
        score(
            tmp_path / "predictions", tmp_path / "masks", "--json", str(out), "--report", str(tmp_path / "r")
        )
        == 0
    )
    assert "- (0/0)" in capsys.readouterr().out
    strict = json.loads(out.read_text())["profiles"]["strict"]
    assert (strict["pd"], strict["iou"], strict["niou"], strict["fa"]) == (None, None, None, 0.0)


def test_comparison_tells_equal_file_names_apart(scenes, predictions, tmp_path, capsys) -> None:
    for run in ("a", "b"):
        assert score(predictions, scenes / "masks", "--json", str(tmp_path / run / "result.json")) == 0
    capsys.readouterr()
    files = [str(tmp_path / run / "result.json") for run in ("a", "b")]
    assert main(["test", "--compare", *files]) == 0
    out = capsys.readouterr().out
    assert all(file in out for file in files)
    assert "Not comparable" not in out
    assert main(["test", "--compare", files[0]]) == 0
    assert "| result |" in capsys.readouterr().out


def failure(capsys: pytest.CaptureFixture[str], status: int) -> str:
    said = capsys.readouterr()
    assert status in (1, 2)
    assert said.err.count("samspl: error:") == 1
    assert "Traceback" not in said.err
    assert "defect of samspl" not in said.err
    return f"{status}: {said.err}"


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (lambda d: write_image(d / "p/a.png", np.zeros((32, 31), bool)), "a.png is 31x32, its mask"),
        (lambda d: (d / "p/a.png").unlink(), "1 of 2 masks have no prediction"),
        (lambda d: (d / "p/a.png").write_bytes(b""), "a.png: the file is empty"),
        (lambda d: [(d / "m" / f"{n}.png").unlink() for n in "ab"], "holds no mask files"),
        (lambda d: (d / "list.txt").write_text(""), "holds no ids"),
        (lambda d: (d / "list.txt").write_text("other\n"), "1 of 1 images of the list have no mask"),
    ],
)
def test_prediction_files_that_cannot_be_scored_are_refused(tmp_path, capsys, break_it, sentence) -> None:
    for folder in "pm":
        for name in "ab":
            write_image(tmp_path / folder / f"{name}.png", np.eye(32, dtype=bool))
    (tmp_path / "list.txt").write_text("a\nb\n")
    words = (tmp_path / "p", tmp_path / "m", "--split", str(tmp_path / "list.txt"))
    assert score(*words) == 0
    break_it(tmp_path)
    capsys.readouterr()
    text = failure(capsys, score(*words))
    assert text.startswith("1:")
    assert sentence in text


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (["--data-path", "gone", "--dataset", "NUAA-SIRST"], 2, "data path gone does not exist"),
        (["--data-path", "{folder}", "--dataset", "NUAA-SIRST"], 2, "holds no folder NUAA-SIRST"),
        (["--split", "tets"], 2, "split is 'tets'; expected train, val, test"),
        (["--split", "gone.txt"], 2, "split list gone.txt does not exist"),
        (["--split-set", "img_idx"], 2, "no split set 'img_idx', which was asked for"),
        (["--split", "{folder}/empty.txt"], 1, "holds no ids"),
        (["--split", "{folder}/other.txt"], 1, "1 of 1 images listed in"),
    ],
)
@pytest.mark.parametrize("source", ["weights", "predictions"])
def test_wrong_options_end_with_two_and_wrong_content_with_one(
    scenes, weights, predictions, tmp_path, capsys, source, words, status, sentence
) -> None:
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "other.txt").write_text("other\n")
    words = [word.format(folder=tmp_path) for word in words]
    what = str(weights if source == "weights" else predictions)
    words = ["--dataset", str(scenes), *words, f"--{source}", what, "--device", "cpu", "-q"]
    text = failure(capsys, main(["test", *words]))
    assert text.startswith(f"{status}:")
    assert sentence in text


def test_list_of_prediction_files_that_is_missing_ends_with_two(scenes, predictions, capsys) -> None:
    text = failure(capsys, score(predictions, scenes / "masks", "--split", "gone.txt"))
    assert text.startswith("2:")
    assert "gone.txt does not exist" in text


@pytest.mark.parametrize("bad", [1.5, -0.5, float("nan"), float("inf")])
def test_probabilities_out_of_range_are_refused(tmp_path, capsys, bad) -> None:
    prob = np.zeros((32, 32), np.float32)
    prob[3, 3] = bad
    write_image(tmp_path / "p" / "a.tiff", prob)
    write_image(tmp_path / "m" / "a.png", np.eye(32, dtype=bool))
    text = failure(capsys, score(tmp_path / "p", tmp_path / "m"))
    assert "a.tiff holds values from" in text
    assert "within 0..1" in text


def test_network_that_gives_nan_is_refused_with_the_image(scenes, tmp_path, capsys) -> None:
    state = fill(SAMSPL(TINY)).state_dict()
    state = {key: torch.full_like(t, float("nan")) if "bias" in key else t for key, t in state.items()}
    path = tmp_path / "nan.safetensors"
    write_checkpoint(path, Checkpoint(TINY, state, Preprocess(image_size=32)))
    words = ["--dataset", str(scenes), "--weights", str(path), "--device", "cpu", "-q"]
    text = failure(capsys, main(["test", *words]))
    assert text.startswith("1:")
    assert "logits are NaN or infinite" in text
    assert (scenes / "test.txt").read_text().split()[0] in text


def test_mask_of_another_size_than_its_image_is_refused(weights, tmp_path, capsys) -> None:
    data = tmp_path / "data"
    write_dataset(data, 2, size_hw=(32, 32))
    (name,) = (data / "test.txt").read_text().split()
    write_image(data / "masks" / f"{name}.png", np.zeros((32, 40), bool))
    words = ["--dataset", str(data), "--weights", str(weights), "--device", "cpu", "-q"]
    text = failure(capsys, main(["test", *words]))
    assert f"{name}.png is 40x32" in text
    (data / "test.txt").write_text("\n")
    assert "holds no ids" in failure(capsys, main(["test", *words]))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "needs --dataset and --weights"),
        (["--dataset", "NUAA-SIRST"], "needs --dataset and --weights"),
        (["--predictions", "{here}"], "goes with --masks or with --dataset"),
        (
            ["--predictions", "{here}", "--masks", "{here}", "--weights", "w"],
            "exclude each other",
        ),
        (["--predictions", "{here}", "--masks", "{here}/none"], "none does not exist"),
        (
            ["--predictions", "{here}", "--masks", "{here}", "--split", "val"],
            "--split val is part of a data set",
        ),
        (["--predictions", "{here}", "--dataset", "x", "--images", "{here}"], "data sets bring their own"),
        (["--dataset", "x", "--weights", "w", "--images", "{here}"], "--images goes with --predictions"),
        (["--dataset", "x", "--weights", "w", "--profile", "loose"], "known: both, published, strict"),
        (["--dataset", "x", "--weights", "w", "--threshold", "0"], "between 0 and 1"),
        (["--dataset", "x", "--weights", "w", "--batch-size", "0"], "at least 1"),
        (["--compare", "{here}/none.json"], "none.json does not exist"),
        (["--compare", "{here}/a.json", "--report", "r"], "leave out --report"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, capsys, words, sentence) -> None:
    (tmp_path / "a.json").write_text("{}")
    text = failure(capsys, main(["test", *(word.format(here=tmp_path) for word in words)]))
    assert text.startswith("2:")
    assert sentence in text


def test_file_that_is_no_result_is_refused(tmp_path, capsys) -> None:
    (tmp_path / "a.json").write_text("{}")
    text = failure(capsys, main(["test", "--compare", str(tmp_path / "a.json")]))
    assert text.startswith("1:")
    assert "a.json is no evaluation result" in text


def test_workers_read_the_images_and_change_nothing(scenes, weights, tmp_path, monkeypatch) -> None:
    readers = tmp_path / "readers"
    read = InfraredDataset.read

    def read_and_sign(self: InfraredDataset, index: int) -> Pair:
        with readers.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return read(self, index)

    monkeypatch.setattr(InfraredDataset, "read", read_and_sign)
    words = ["--dataset", str(scenes), "--weights", str(weights), "--device", "cpu", "-q"]
    for workers in ("0", "2"):
        out = str(tmp_path / f"{workers}.json")
        assert main(["test", *words, "--workers", workers, "--json", out]) == 0
    first, *others = readers.read_text().split()
    assert first == str(os.getpid())
    assert len(set(others[2:])) == 2
    assert first not in others[2:]
    assert (tmp_path / "0.json").read_bytes() == (tmp_path / "2.json").read_bytes()


def test_damaged_image_that_a_worker_reads_is_refused_by_name(weights, tmp_path, capsys) -> None:
    write_dataset(tmp_path / "data", 2, size_hw=(32, 32))
    (name,) = (tmp_path / "data" / "test.txt").read_text().split()
    (tmp_path / "data" / "images" / f"{name}.png").write_bytes(b"")
    words = ["--dataset", str(tmp_path / "data"), "--weights", str(weights), "--device", "cpu", "-q"]
    text = failure(capsys, main(["test", *words, "--workers", "1"]))
    assert text.startswith("1:")
    assert f"{name}.png: the file is empty" in text


@pytest.mark.parametrize("option", ["--json", "--report", "--overlays"])
@pytest.mark.parametrize("source", ["weights", "predictions"])
def test_output_that_cannot_be_written_is_refused_before_anything_is_read(
    scenes, weights, predictions, tmp_path, capsys, monkeypatch, option, source
) -> None:
    def read_nothing(path: Path) -> np.ndarray:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr("samspl.data.dataset.read_image", read_nothing)
    (tmp_path / "file").write_text("")
    what = str(weights if source == "weights" else predictions)
    out = str(tmp_path / "file" / "out")
    text = failure(capsys, main(["test", "--dataset", str(scenes), f"--{source}", what, option, out, "-q"]))
    assert text.startswith("2:")
    assert f"{option} {out} cannot be written" in text
