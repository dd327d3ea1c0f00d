"""Numbers of the network itself, stored: a change of architecture or of arithmetic shows everywhere.

Made by ``python -m tests.unit.models.test_goldens`` from tensors that follow from their names; the network is checked
against the authors' and Meta's own code where `../shared` lies beside the project (`tests/reference/test_parity.py`).
"""

import json
from pathlib import Path

import pytest
import torch

from samspl.config import ModelConfig
from samspl.models.hiera import Hiera
from samspl.models.network import SAMSPL
from samspl.models.variants import TRUNKS, VARIANTS, variant_config
from tests.deterministic import fill, image
from tests.unit.models.test_network import SHAPES

FILE = Path(__file__).parents[2] / "fixtures" / "goldens.json"
TOLERANCE = 1e-3
CASES: dict[str, ModelConfig] = {
    **SHAPES,
    "spl_t": VARIANTS["spl_t"],
    "spl_t without self-prompt decoder": variant_config("spl_t", use_sam_decoder=False),
    "spl_s": VARIANTS["spl_s"],
}


def probe(maps: list[torch.Tensor]) -> list[list[float]]:
    """Sixteen values of each map, evenly spread."""
    return [m.flatten()[:: max(1, m.numel() // 16)][:16].tolist() for m in maps]


def network_numbers(name: str) -> list[list[float]]:
    with torch.no_grad():
        return probe(list(fill(SAMSPL(CASES[name]))(image(1, 64, 96, seed=7))))


def trunk_numbers(name: str) -> list[list[float]]:
    with torch.no_grad():
        return probe(fill(Hiera(TRUNKS[name]))(image(1, 64, 96, seed=8)))


@pytest.fixture(scope="module")
def goldens() -> dict:
    return json.loads(FILE.read_text())


@pytest.mark.parametrize("name", CASES)
def test_network_gives_the_stored_numbers(name, goldens):
    ours, stored = torch.tensor(network_numbers(name)), torch.tensor(goldens["networks"][name])
    assert (ours - stored).abs().max() <= TOLERANCE


@pytest.mark.parametrize("name", ["tiny", "base_plus"])
def test_trunk_gives_the_stored_numbers(name, goldens):
    ours, stored = torch.tensor(trunk_numbers(name)), torch.tensor(goldens["trunks"][name])
    assert (ours - stored).abs().max() <= TOLERANCE


if __name__ == "__main__":
    content = {
        "networks": {name: network_numbers(name) for name in CASES},
        "trunks": {name: trunk_numbers(name) for name in ("tiny", "base_plus")},
    }
    FILE.write_text(
        json.dumps(json.loads(json.dumps(content), parse_float=lambda x: round(float(x), 6))) + "\n"
    )
