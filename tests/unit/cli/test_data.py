"""`samspl data`: output, files and exit status of its four actions."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from jsonargparse import ArgumentParser

from samspl.cli import data
from samspl.cli.main import main
from samspl.errors import ConfigError


def _run(*arguments: str) -> int:
    parser, own = ArgumentParser(exit_on_error=False), ArgumentParser(exit_on_error=False)
    parser.add_subcommands(dest="command").add_subcommand(data.NAME, own)
    data.add_arguments(own)
    return data.run(parser.parse_args([data.NAME, *arguments])[data.NAME])


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    out = tmp_path / "scenes"
    assert _run("synth", "--out", str(out), "--count", "6", "--seed", "4", "-q") == 0
    return out


def test_info_lists_all_and_describes_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("info") == 0
    assert "IRSTDID-SKY" in capsys.readouterr().out
    assert _run("info", "nudt-sea") == 0
    out = capsys.readouterr().out
    assert "NUDT-SIRST-Sea" in out
    assert "known defect" in out
    with pytest.raises(ConfigError, match="did you mean 'NUAA-SIRST'"):
        _run("info", "NUAA-SIRT")


def test_synth_then_check_is_clean_and_quiet(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    report = scenes.parent / "new" / "report.json"
    assert _run("check", str(scenes), "--json", str(report), "-q") == 0
    captured = capsys.readouterr()
    assert "6 images" in captured.out
    assert captured.err == ""
    assert json.loads(report.read_text())["images"] == 6


def test_check_shows_progress_on_standard_error(scenes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert _run("check", str(scenes)) == 0
    assert "6/6" in capsys.readouterr().err


def test_check_gives_status_one_for_what_stops_training(
    scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (scenes / "images/synth_00000.png").write_bytes(b"")
    assert _run("check", str(scenes), "-q") == 1
    out = capsys.readouterr().out
    assert "synth_00000.png" in out
    assert "training cannot start" in out


def test_check_reads_with_the_threads_asked_for(scenes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pools = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, workers: int) -> None:
            pools.append(workers)
            super().__init__(workers)

    monkeypatch.setattr("samspl.data.check.ThreadPoolExecutor", Pool)
    assert _run("check", str(scenes), "--threads", "3", "-q") == 0
    assert pools == [3]


def test_check_refuses_a_report_that_cannot_be_written_before_it_reads(
    scenes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (scenes / "file").write_text("")
    (scenes / "images/synth_00000.png").write_bytes(b"")
    capsys.readouterr()
    for path in (scenes / "file" / "report.json", scenes):
        assert main(["data", "check", str(scenes), "--json", str(path), "-q"]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert f"--json {path}" in said.err


def test_split_writes_lists_once(scenes: Path) -> None:
    with pytest.raises(ConfigError, match="--overwrite"):
        _run("split", str(scenes), "-q")
    assert _run("split", str(scenes), "--test", "0.5", "--overwrite", "-q") == 0
    assert len((scenes / "test.txt").read_text().split()) == 3


def test_synth_of_16_bits_repeats_its_bytes(tmp_path: Path) -> None:
    for name in "ab":
        out = str(tmp_path / name)
        assert _run("synth", "--out", out, "--count", "2", "--bits", "16", "--scr", "3,6", "-q") == 0
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*.*")]
    assert len(files) == 7
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("check", "absent"), "absent is no folder"),
        (("split", "absent"), "absent is no folder"),
        (("split", ".", "--test", "2"), "--test is 2.0"),
        (("split", ".", "--seed", "-1"), "--seed is -1"),
        (("synth", "--out", "x", "--count", "0"), "count is 0"),
        (("synth", "--out", "x", "--count", "1", "--bits", "12"), "bits is 12"),
        (("synth", "--out", "x", "--count", "1", "--scr", "high"), "--scr is 'high'"),
        (("synth", "--out", "x", "--count", "1", "--scr", "5,2"), "scr_range is"),
        (("synth", "--out", "x", "--count", "1", "--seed", "-3"), "--seed is -3"),
    ],
)
def test_wrong_usage_is_a_config_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        _run(*arguments)
    assert list(tmp_path.iterdir()) == []


def test_example_in_the_help_is_accepted_by_the_parser() -> None:
    parser, own = ArgumentParser(exit_on_error=False), ArgumentParser(exit_on_error=False)
    parser.add_subcommands(dest="command").add_subcommand(data.NAME, own)
    data.add_arguments(own)
    args = parser.parse_args(data.EXAMPLE.split()[1:])
    assert args["data"]["check"].json == "report.json"


def test_yaml_specification_stands_for_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "scenes"
    assert _run("synth", "--out", str(out), "--count", "5", "-q") == 0
    (out / "masks").rename(out / "labels")
    yaml = tmp_path / "mine.yaml"
    yaml.write_text("root: scenes\nmasks: ['labels/{id}.png']\n")
    assert _run("check", str(yaml), "-q") == 0
    assert "mine: 5 images" in capsys.readouterr().out
    assert _run("check", str(out), "-q") == 1  # the standard layout has no labels/
