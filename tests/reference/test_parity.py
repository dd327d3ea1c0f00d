"""The network against the authors' and Meta's own code, whose outputs lie in `../shared/fixtures/parity`.

Run with ``pytest tests/reference/test_parity.py -rP`` to see the largest differences.
"""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from samspl.models.hiera import Hiera
from samspl.models.network import SAMSPL
from samspl.models.variants import TRUNKS, VARIANTS
from samspl.models.weights import from_authors, infer_config, load_exactly, sam_trunk_state

TOLERANCE = 1e-3


class Parity:
    """The folder of reference outputs and its recipe for tensors."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        spec = importlib.util.spec_from_file_location("parity_recipe", folder / "recipe.py")
        self.recipe = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.recipe)

    def state(self, keys: str) -> dict[str, torch.Tensor]:
        shapes = json.loads((self.folder / keys).read_text())
        return {k: torch.from_numpy(np.asarray(self.recipe.fill(k, tuple(s)))) for k, s in shapes.items()}

    def input(self, stem: str, seed: int) -> torch.Tensor:
        batch, height, width = map(int, stem.rsplit("_", 1)[1].split("x"))
        return torch.from_numpy(self.recipe.image(batch, height, width, seed))


@pytest.fixture(scope="module")
def parity(shared_dir) -> Parity:
    return Parity(shared_dir / "fixtures" / "parity")


def compare(stem: str, ours: list[torch.Tensor], parity: Parity) -> None:
    stored = np.load(parity.folder / f"{stem}.npz")
    assert len(stored.files) == len(ours)
    for name, one in zip(sorted(stored.files), ours, strict=True):
        difference = float(np.abs(one.numpy() - stored[name]).max())
        print(
            f"{stem} {name}: largest difference {difference:.1e}, standard deviation {stored[name].std():.2f}"
        )
        assert difference <= TOLERANCE


def stems(kind: str) -> list[str]:
    folder = Path(__file__).resolve().parents[3] / "shared" / "fixtures" / "parity"
    return sorted(path.stem for path in folder.glob(f"{kind}_*.npz")) or [f"{kind} (absent)"]


def released(variant: str, parity: Parity) -> SAMSPL:
    state, _ = from_authors(parity.state(f"ref_keys_{variant}.json"))
    model = SAMSPL(VARIANTS[f"spl_{variant}"]).eval()
    load_exactly(model, state, "reference")
    return model


@pytest.mark.parametrize("stem", stems("ref_out"))
def test_logits_equal_the_authors_code(stem, parity):
    model = released(stem.split("_")[2], parity)
    with torch.no_grad():
        compare(stem, list(model(parity.input(stem, seed=0))), parity)


@pytest.mark.parametrize("stem", stems("ref_feats"))
def test_features_equal_the_authors_code(stem, parity):
    model = released(stem.split("_")[2], parity)
    with torch.no_grad():
        compare(stem, model.encoder(parity.input(stem, seed=1)), parity)


@pytest.mark.parametrize("stem", stems("sam2_trunk_out"))
def test_trunk_equals_metas_code(stem, parity):
    name = stem.removeprefix("sam2_trunk_out_").rsplit("_", 1)[0]
    trunk = Hiera(TRUNKS[name]).eval()
    state, _ = sam_trunk_state(parity.state(f"sam2_trunk_keys_{name}.json"), TRUNKS[name])
    load_exactly(trunk, state, "reference")
    with torch.no_grad():
        compare(stem, trunk(parity.input(stem, seed=2)), parity)


@pytest.mark.parametrize("variant", ["t", "s", "l"])
def test_every_released_key_finds_its_place(variant, parity):
    state, ignored = from_authors(parity.state(f"ref_keys_{variant}.json"))
    assert len(ignored) == 2
    config = infer_config(state)
    assert config == VARIANTS[f"spl_{variant}"]
    with torch.device("meta"):
        own = SAMSPL(config).state_dict()
    assert {k: tuple(t.shape) for k, t in own.items()} == {k: tuple(t.shape) for k, t in state.items()}


@pytest.mark.parametrize("name", ["tiny", "base_plus"])
def test_every_key_of_metas_trunk_finds_its_place(name, parity):
    state, ignored = sam_trunk_state(parity.state(f"sam2_trunk_keys_{name}.json"), TRUNKS[name])
    with torch.device("meta"):
        own = Hiera(TRUNKS[name]).state_dict()
    assert ignored == ()
    assert {k: tuple(t.shape) for k, t in own.items()} == {k: tuple(t.shape) for k, t in state.items()}
