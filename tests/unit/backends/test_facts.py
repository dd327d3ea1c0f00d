"""What an exported file says of itself, there and back, and what damaged words lead to."""

import dataclasses
from pathlib import Path

import pytest

from samspl.backends.facts import FORMAT, ExportFacts
from samspl.errors import CheckpointError
from samspl.preprocess import Preprocess
from tests.unit.backends.exported import FACTS

PATH = Path("best.onnx")


@pytest.mark.parametrize(
    "preprocess", [Preprocess(normalise="frame"), Preprocess((1.0, 2.0, 3.0), (4.0,), 64)]
)
def test_facts_come_back_from_strings(preprocess):
    facts = dataclasses.replace(FACTS, preprocess=preprocess, precision="int8")
    strings = facts.to_strings()
    assert all(isinstance(value, str) for value in strings.values())
    assert ExportFacts.from_strings({**strings, "added by others": "x"}, PATH) == facts


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("format", None, "best.onnx is without samspl's metadata"),
        ("format", "samspl-export-9", "of the format samspl-export-9"),
        ("preprocess", None, "damaged"),
        ("preprocess", "[]", "damaged"),
        ("preprocess", "not json", "damaged"),
        ("preprocess", '{"sharpen": 1}', "unknown preprocessing field"),
        ("threshold", "1.5", "threshold is 1.5"),
        ("input_size", "33", "input_size is 33"),
        ("precision", "fp64", "precision is 'fp64'"),
        ("config", '{"width": 7}', "width is 7"),
    ],
)
def test_damaged_facts_name_the_file_and_what_is_wrong(key, value, words):
    strings = FACTS.to_strings()
    assert strings["format"] == FORMAT
    changed = {k: v for k, v in {**strings, key: value}.items() if v is not None}
    with pytest.raises(CheckpointError, match=words) as caught:
        ExportFacts.from_strings(changed, PATH)
    assert "best.onnx" in str(caught.value)
