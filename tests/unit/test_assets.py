"""What the package carries."""

from samspl.assets import bundled_weights, sample_scenes
from samspl.checkpoint import find_weights, read_checkpoint
from samspl.imaging import read_image


def test_bundled_names_go_before_files_and_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, path in bundled_weights().items():
        (tmp_path / name).mkdir()
        assert find_weights(name) == path


def test_bundled_weights_know_their_preprocessing_and_have_a_card(project_dir):
    assert "nano" in bundled_weights()
    for name in bundled_weights():
        assert read_checkpoint(name).preprocess is not None
        assert name in (project_dir / f"docs/{name}.md").read_text()


def test_sample_scenes_of_both_depths_are_read():
    types = {read_image(path).dtype.name for path in sample_scenes()}
    assert types == {"uint8", "uint16"}
