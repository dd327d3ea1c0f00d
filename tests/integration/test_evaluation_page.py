"""docs/evaluation.md: its commands and scripts run as they stand, and give what the page says."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from samspl.cli.main import main
from samspl.imaging import read_image

PAGE = Path(__file__).parents[2] / "docs" / "evaluation.md"


def blocks() -> list[tuple[str, str]]:
    """Language (empty for output) and content of each fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)


def numbers(text: str) -> list[float]:
    return [float(n) for n in re.findall(r"(?<![\w.])\d+(?:\.\d+)?", text)]


def test_commands_and_scripts_run_and_say_what_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    said, outputs = "", 0
    for language, content in blocks():
        if language == "sh":
            for line in content.splitlines():
                program, *words = shlex.split(line)
                assert program == "samspl"
                assert main([*words, "-q"]) == 0, line
            said = capsys.readouterr().out
        elif language == "python":
            exec(compile(content, str(PAGE), "exec"), {"__name__": "page"})
            said = capsys.readouterr().out
        elif content.startswith("torchrun"):
            continue  # two processes are tested in test_evaluation_distributed.py
        else:
            outputs += 1
            expected = [re.sub(r"[\s-]+", " ", line) for line in content.splitlines()]
            got = [re.sub(r"[\s-]+", " ", line) for line in said.strip().splitlines()]
            assert [re.sub(r"[\d.]+|[0-9a-f]{12}", "#", line) for line in got] == [
                re.sub(r"[\d.]+|[0-9a-f]{12}", "#", line) for line in expected
            ]
            # other versions of numpy and Pillow may draw a few pixels otherwise
            for own, written in zip(got, expected, strict=True):
                if "checksum" not in own:
                    assert numbers(own) == pytest.approx(numbers(written), rel=0.1, abs=2), own
    assert outputs == 2
    drawn = sorted(path.name for path in (tmp_path / "docs/images").iterdir())
    assert drawn == ["evaluation_area.png", "evaluation_greedy.png", "evaluation_resize.png"]
    for name in drawn:
        kept = PAGE.parent / "images" / name
        assert kept.stat().st_size < 60_000
        assert f"images/{name}" in PAGE.read_text(encoding="utf-8")
        difference = np.abs(read_image(kept).astype(int) - read_image(tmp_path / "docs/images" / name))
        assert difference.mean() < 3, name


def test_page_names_every_file_of_the_report_folder(tmp_path: Path) -> None:
    from samspl.evaluation import report

    source = Path(report.__file__).read_text(encoding="utf-8")
    written = set(re.findall(r'folder / "([\w.]+)"', source))
    assert written == {"index.html", "images.csv", "targets.csv", "curve.csv"}
    assert all(f"| `{name}` |" in PAGE.read_text(encoding="utf-8") for name in written)
