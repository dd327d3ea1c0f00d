"""Mistyped words get the nearest known one, in one sentence."""

import pytest

from samspl.cli.main import COMMANDS, build_parser, main
from samspl.cli.mistakes import mistyped


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            "predict x --wieghts w",
            "unknown flag --wieghts; did you mean --weights? see samspl predict --help",
        ),
        (
            "predict x --wieghts=w",
            "unknown flag --wieghts; did you mean --weights? see samspl predict --help",
        ),
        # another flag is missing because this one is mistyped
        ("train --datset x --lr 1", "unknown flag --datset; did you mean --dataset? see samspl train --help"),
        ("train -lr 3", "unknown flag -lr; did you mean --lr? see samspl train --help"),
        (
            "train --batchsize 3",
            "unknown flag --batchsize; did you mean --batch-size? see samspl train --help",
        ),
        ("train --epoch 3", "unknown flag --epoch; did you mean --epochs? see samspl train --help"),
        ("data check x --jsn y", "unknown flag --jsn; did you mean --json? see samspl data check --help"),
        ("info --xyzzy", "unknown flag --xyzzy; see samspl info --help"),
        ("data chekc x", "unknown action 'chekc'; did you mean 'check'?"),
        ("tarin --lr 1", "unknown command 'tarin'; did you mean 'train'?"),
    ],
)
def test_mistyped_word_gets_the_nearest_known_one(
    line: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(line.split()) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"samspl: error: {sentence}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("module", COMMANDS, ids=lambda module: module.NAME)
def test_every_command_names_its_nearest_flag(module, capsys: pytest.CaptureFixture[str]) -> None:
    words = [module.NAME, *([next(iter(module.ACTIONS))] if hasattr(module, "ACTIONS") else [])]
    assert main([*words, "--verbos"]) == 2
    assert "unknown flag --verbos; did you mean --verbose?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "train --dataset x --sam-weights none --lr -3 --model.width 64 -vq",
        "predict -- --wieghts",
        "data check some-dir --json=--odd",
        "info",
        "",
    ],
)
def test_known_words_and_values_are_no_mistakes(line: str) -> None:
    assert mistyped(build_parser(), line.split()) is None


def test_published_spelling_of_a_mistyped_flag_is_known_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--bacth_size", "3"]) == 2
    assert "did you mean --batch-size?" in capsys.readouterr().err
