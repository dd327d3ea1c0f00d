"""A narrow network in the runtimes, for tests of what is built on them."""

from pathlib import Path

from samspl.backends.facts import ExportFacts
from samspl.checkpoint import Checkpoint, write_checkpoint
from samspl.models.network import SAMSPL
from samspl.preprocess import Preprocess
from tests.deterministic import fill
from tests.unit.models.test_network import NARROW

PREPROCESS = Preprocess((110.0,), (40.0,), 32)
FACTS = ExportFacts(PREPROCESS, 0.4, 32, "fp32", NARROW, "0" * 64, "0.1")


def network() -> SAMSPL:
    return fill(SAMSPL(NARROW))


def write_weights(path: Path, preprocess: Preprocess | None = PREPROCESS) -> Path:
    write_checkpoint(path, Checkpoint(NARROW, network().state_dict(), preprocess, threshold=0.4))
    return path
