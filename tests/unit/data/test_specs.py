"""What is known about the data sets."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from samspl.data.specs import DatasetSpec, get_spec, list_specs
from samspl.errors import ConfigError

SPECS = list_specs()


def test_the_six_data_sets_of_the_protocol_are_known() -> None:
    assert [(spec.name, spec.image_size, spec.augmentation) for spec in SPECS] == [
        ("NUDT-SIRST", 256, "flip"),
        ("IRSTD-1k", 512, "scale_crop_paste"),
        ("IRSTDID-SKY", 480, "scale_crop"),
        ("NUDT-SIRST-Sea", 1024, "scale_crop_paste"),
        ("NUAA-SIRST", 256, "scale_crop"),
        ("SIRST-UAVB", 480, "scale_crop"),
    ]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_every_name_and_alias_is_found_in_any_case(spec: DatasetSpec) -> None:
    for name in (spec.name, *spec.aliases):
        assert get_spec(name.upper()) is get_spec(name.lower()) is spec


def test_no_two_data_sets_share_a_name() -> None:
    names = [name.lower() for spec in SPECS for name in (spec.name, *spec.aliases)]
    assert len(names) == len(set(names))


def test_the_sea_set_answers_to_both_its_names() -> None:
    assert get_spec("nudt-SEA").name == get_spec("nudt-sirst-sea").name == "NUDT-SIRST-Sea"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("NUDT-SIRST", 140.0, (140 - 107.80905) / 33.02275),
        ("IRSTD-1k", 140.0, (140 / 255 - 0.28450726) / 0.22880708),
        ("NUDT-SIRST-Sea", 140.0, (140 / 255 - 0.1583) / 0.0885),
    ],
)
def test_normalisation_is_that_of_the_protocol(name: str, value: float, expected: float) -> None:
    values = get_spec(name).preprocess().to_channels(np.full((1, 1), value, np.float32))
    np.testing.assert_allclose(values.ravel(), [expected] * 3, rtol=1e-5)


@pytest.mark.parametrize("name", ["NUAA-SIRST", "IRSTDID-SKY", "SIRST-UAVB"])
def test_the_others_are_normalised_by_imagenet(name: str) -> None:
    values = get_spec(name).preprocess().to_channels(np.full((1, 1), 51, np.uint8))
    expected = (0.2 - np.array([0.485, 0.456, 0.406])) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(values.ravel(), expected, rtol=1e-5)


def test_preprocess_takes_the_published_size_or_the_one_given() -> None:
    assert get_spec("IRSTD-1k").preprocess().image_size == 512
    assert get_spec("IRSTD-1k").preprocess(64).image_size == 64
    assert get_spec("IRSTD-1k").preprocess(64).normalise == "fixed"


def test_only_the_nudt_path_takes_every_positive_mask_value() -> None:
    grey = np.array([[0, 1, 126, 127, 255]], np.uint8)
    assert get_spec("NUDT-SIRST").binarise(grey).tolist() == [[False, True, True, True, True]]
    for spec in SPECS[1:]:
        assert spec.binarise(grey).tolist() == [[False, False, False, True, True]]


def test_known_defects_are_found_by_id() -> None:
    defect = get_spec("NUAA").known_defect("Misc_111")
    assert defect is not None
    assert "592x400" in defect.sentence
    assert get_spec("NUAA").known_defect("Misc_11") is None
    assert get_spec("NUDT-sea").known_defect("48-11-05") is not None


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_every_data_set_names_what_to_cite(spec: DatasetSpec) -> None:
    assert spec.citation
    assert spec.source_url.startswith("https://") or spec.name == "SIRST-UAVB"  # the protocol names no source


@pytest.mark.parametrize(("name", "meant"), [("NUDT-SRIST", "NUDT-SIRST"), ("irstd-1", "IRSTD-1k")])
def test_unknown_name_is_answered_with_the_nearest_and_all_known(name: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"'{name}'.*did you mean '{meant}'.*SIRST-UAVB"):
        get_spec(name)


def test_empty_name_is_not_the_working_folder() -> None:
    with pytest.raises(ConfigError, match="unknown data set"):
        get_spec("")


def test_folder_in_the_standard_layout_is_a_data_set(tmp_path: Path) -> None:
    (tmp_path / "my frames").mkdir()
    spec = get_spec(tmp_path / "my frames")
    assert (spec.name, spec.root, spec.image_size) == ("my frames", tmp_path / "my frames", 256)
    assert spec.preprocess().mean == get_spec("NUAA").preprocess().mean


def test_folder_named_as_a_known_data_set_is_that_data_set(tmp_path: Path) -> None:
    (tmp_path / "nudt-sirst").mkdir()
    spec = get_spec(str(tmp_path / "nudt-sirst"))
    assert (spec.name, spec.mask_resize, spec.root) == (
        "NUDT-SIRST",
        "bilinear_positive",
        tmp_path / "nudt-sirst",
    )


def test_yaml_file_describes_a_data_set(tmp_path: Path) -> None:
    (tmp_path / "port.yaml").write_text(
        "images: ['frames/{id}.tif']\n"
        "masks: ['labels/{id}_gt.*', 'labels/{id}.*']\n"
        "image_size: 320\nmean: 90\nstd: [30.5]\nmask_threshold: 1\naugmentation: flip\nroot: harbour\n"
        "defects: [{ids: [7, b], sentence: mask too large}]\n"
    )
    spec = get_spec(tmp_path / "port.yaml")
    assert (spec.name, spec.image_size, spec.mean, spec.std) == ("port", 320, (90.0,), (30.5,))
    assert spec.root == tmp_path / "harbour"
    assert spec.masks == ("labels/{id}_gt.*", "labels/{id}.*")
    assert spec.known_defect("7") is not None
    assert spec.binarise(np.array([[0, 1]], np.uint8)).tolist() == [[False, True]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("image_sizes: 3", "unknown field 'image_sizes'; did you mean 'image_size'"),
        ("image_size: big", "image_size is 'big'"),
        ("image_size: 8", "image_size is 8"),
        ("std: 0", "std is"),
        ("mean: [1, 2]", "mean has 2 values"),
        ("augmentation: rotate", "augmentation is 'rotate'; known: flip"),
        ("mask_resize: cubic", "mask_resize is 'cubic'"),
        ("mask_threshold: 0", "mask_threshold is 0"),
        ("images: 'images/{id}.png'", "expected a list"),
        ("images: ['../other/{id}.png']", "below the data set's folder"),
        ("images: ['/data/{id}.png']", "below the data set's folder"),
        ("masks: ['masks/mask.png']", "{id} and a suffix"),
        ("masks: ['masks/{id}']", "{id} and a suffix"),
        ("masks: []", "masks of .* is empty"),
        ("defects: [{ids: [a]}]", "sentence"),
        ("just a word", "holds no fields"),
        ("a: [1", "cannot be read as YAML"),
    ],
)
def test_wrong_yaml_is_refused_with_the_file_and_the_reason(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigError, match=rf"(?s)mine(\.yaml)?.*{reason}|{reason}.*mine") as caught:
        get_spec(tmp_path / "mine.yaml")
    assert "mine.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_yaml_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml does not exist"):
        get_spec(tmp_path / "gone.yaml")


def test_no_module_but_this_one_names_a_data_set(project_dir: Path) -> None:
    quoted = [f'"{name}"'.lower() for spec in SPECS for name in (spec.name, *spec.aliases)]
    for path in (project_dir / "src" / "samspl" / "data").glob("*.py"):
        text = path.read_text().lower()
        assert path.name == "specs.py" or not any(name in text for name in quoted), path


def test_specifications_are_read_without_torch(project_dir: Path) -> None:
    program = "import sys, samspl.data.dataset; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": str(project_dir / "src")})
