"""The command line as a whole: help, spellings, errors as one sentence, exit status."""

import json
import subprocess
import sys

import pytest

from samspl import __version__
from samspl.cli import main as main_module
from samspl.cli.common import published_spellings
from samspl.cli.main import COMMANDS, main


@pytest.mark.parametrize("module", COMMANDS, ids=lambda module: module.NAME)
def test_every_command_helps_with_an_example(module, capsys):
    assert main([module.NAME, "--help"]) == 0
    assert module.EXAMPLE.split()[:2] == ["samspl", module.NAME]
    assert module.EXAMPLE in " ".join(capsys.readouterr().out.split())


def test_help_needs_neither_torch_nor_numpy():
    code = (
        "import sys; from samspl.cli.main import main; main(['--help']);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'scipy', 'PIL')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"samspl {__version__}"


def test_no_command_prints_help_and_is_wrong_usage(capsys):
    assert main([]) == 2
    assert "usage: samspl" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["info", "--nonsense"],
        ["predict"],
        ["weights"],
        ["weights", "fetch", "nonsense"],
        ["weights", "info", "absent.pt"],
        ["info", "--device", "nonsense"],
        ["info", "--threads", "0"],
        ["info", "--threads", "many"],
        ["info", "--gpu", "0", "--device", "cpu"],
        ["data", "check", "absent"],
    ],
)
def test_wrong_usage_is_one_sentence_and_status_2(words, capsys):
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("samspl: error: ")
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err


def test_interruption_is_status_130(monkeypatch, capsys):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setattr("samspl.cli.info.run", interrupted)
    assert main(["info"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_defect_asks_for_a_report_and_debug_shows_the_traceback(monkeypatch, capsys):
    def broken(args):
        raise KeyError("x")

    monkeypatch.setattr("samspl.cli.info.run", broken)
    assert main(["info"]) == 1
    assert "a defect of samspl; run again with --debug" in capsys.readouterr().err
    with pytest.raises(KeyError):
        main(["info", "--debug"])


def test_published_spellings_become_ours():
    words = [
        "train",
        "--batch_size",
        "12",
        "--image_size=256",
        "--model.mlp_width=8",
        "--print_config",
        "some_file",
    ]
    assert published_spellings(words) == [
        "train",
        "--batch-size",
        "12",
        "--image-size=256",
        "--model.mlp_width=8",
        "--print_config",
        "some_file",
    ]


def test_info_is_for_people_and_programs(capsys):
    assert main(["info"]) == 0
    assert "torch" in capsys.readouterr().out
    assert main(["info", "--json", "--threads", "1"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["samspl"] == __version__
    assert facts["threads"] == 1


def test_module_is_the_same_command():
    done = subprocess.run([sys.executable, "-m", "samspl", "--version"], capture_output=True, text=True)
    assert done.stdout.strip() == f"samspl {__version__}"
    assert main_module.INTERRUPTED == 130


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["export", "--format", "onnx"], "missing --weights"),
        (["train", "--dataset", "x"], "missing --sam-weights"),
        (["predict", "--weights", "w"], "missing PATHS"),
        (["predict", "x", "--weights", "w", "--threshold", "abc"], "--threshold is 'abc'; expected a number"),
        (["info", "--threads", "many"], "--threads is 'many'; expected a whole number"),
    ],
)
def test_wrong_arguments_are_named_as_they_are_typed(words, sentence, capsys):
    assert main(words) == 2
    assert sentence in capsys.readouterr().err


def test_unreadable_file_is_no_defect(monkeypatch, capsys):
    def refused(args):
        raise PermissionError(13, "Permission denied", "secret/file")

    monkeypatch.setattr("samspl.cli.info.run", refused)
    assert main(["info"]) == 1
    assert "secret/file: Permission denied; check the path" in capsys.readouterr().err


def test_completion_script_knows_commands_and_their_options(capsys):
    assert main(["--print_completion", "shtab-bash"]) == 0
    script = capsys.readouterr().out
    assert "complete" in script
    assert "--threshold" in script
