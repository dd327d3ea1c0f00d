"""`samspl weights`: list, fetch, import and info as a user sees them."""

import pytest
import torch

from samspl.assets import bundled_weights
from samspl.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from samspl.cli.main import main
from samspl.models import download
from samspl.models.network import SAMSPL
from samspl.models.variants import VARIANTS
from samspl.preprocess import Preprocess
from tests.deterministic import fill
from tests.unit.models.test_network import NARROW


@pytest.fixture
def bare_state(tmp_path):
    path = tmp_path / "spl_t.pt"
    torch.save(fill(SAMSPL(VARIANTS["spl_t"])).state_dict(), path)
    return path


def test_list_says_what_the_cache_has(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SAMSPL_CACHE", str(tmp_path))
    (tmp_path / "sam2.1_hiera_small.pt").write_bytes(b"x")
    assert main(["weights", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = next(number for number, line in enumerate(lines) if str(tmp_path) in line)
    packaged, lines = lines[1:start], lines[start:]
    assert [line.split()[0] for line in packaged] == list(bundled_weights())
    assert [line.split()[0] for line in lines[1:]] == list(download.SAM_CHECKPOINTS)
    assert "in the cache" in lines[2]
    assert "samspl weights fetch sam2.1_hiera_tiny" in lines[1]


def test_fetch_offline_is_status_1_and_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SAMSPL_CACHE", str(tmp_path))
    monkeypatch.setenv("SAMSPL_OFFLINE", "1")
    assert main(["weights", "fetch", "sam2.1_hiera_tiny"]) == 1
    assert "put it at" in capsys.readouterr().err


def test_import_stores_the_published_preprocessing(bare_state, tmp_path, capsys):
    out = tmp_path / "nudt.safetensors"
    words = ["weights", "import", str(bare_state), "--out", str(out), "-q"]
    assert main(words) == 2
    assert "add --dataset NAME" in capsys.readouterr().err
    assert main([*words, "--dataset", "nudt-sirst"]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    checkpoint = read_checkpoint(out)
    assert checkpoint.preprocess == Preprocess((107.80905,), (33.02275,), 256)
    assert checkpoint.record["imported_from"] == "spl_t.pt"
    assert main([*words, "--dataset", "nudt-sirst"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main([*words, "--dataset", "nuaa-sirst", "--overwrite"]) == 0
    assert len(read_checkpoint(out).preprocess.mean) == 3


@pytest.mark.parametrize(
    ("changes", "status", "sentence"),
    [
        (["--variant", "spl_s"], 1, "missing"),
        (["--variant", "nonsense"], 2, "known: nano"),
        (["--dataset", "nonsense"], 2, "nonsense"),
        (["--out", "file.pt"], 2, ".safetensors files"),
    ],
)
def test_import_refuses_what_does_not_fit(bare_state, tmp_path, capsys, changes, status, sentence):
    words = [
        "weights",
        "import",
        str(bare_state),
        "--dataset",
        "NUDT-SIRST",
        "--out",
        str(tmp_path / "o.safetensors"),
    ]
    assert main([*words, *changes]) == status
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "o.safetensors").exists()


def test_info_describes_a_file(tmp_path, capsys):
    path = tmp_path / "best.safetensors"
    state = fill(SAMSPL(NARROW)).state_dict()
    write_checkpoint(path, Checkpoint(NARROW, state, Preprocess(), 0.4, {"validation_ids": list("abcdefg")}))
    assert main(["weights", "info", str(tmp_path), "-q"]) == 0
    text = capsys.readouterr().out
    assert "threshold   0.4" in text
    assert "config      width = 32" in text
    assert "validation_ids = 7 entries" in text


def test_damaged_file_is_status_1(tmp_path, capsys):
    (tmp_path / "w.pt").write_bytes(b"garbage")
    assert main(["weights", "info", str(tmp_path / "w.pt")]) == 1
    assert "no checkpoint" in capsys.readouterr().err
