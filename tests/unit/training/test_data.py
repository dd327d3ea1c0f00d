"""Preprocessing and batches that a run settles on."""

from pathlib import Path

import pytest

from samspl.config import ModelConfig
from samspl.data.broad import SensorVariation
from samspl.data.dataset import InfraredDataset
from samspl.data.specs import DatasetSpec
from samspl.data.transforms import Flips
from samspl.errors import ConfigError
from samspl.models.network import SAMSPL
from samspl.preprocess import Preprocess
from samspl.train_config import TrainConfig
from samspl.training.data import check_batch, check_stride, choose_preprocess, open_parts
from tests.unit.training.tiny import NARROW_MODEL, tiny_config, write_images

A, B = DatasetSpec("a", mean=(10.0,), std=(2.0,)), DatasetSpec("b", image_size=512)


def config(**changes: object) -> TrainConfig:
    return tiny_config(Path("mine"), Path("run"), **{"image_size": None, **changes})


def test_one_data_set_gives_its_own_preprocessing() -> None:
    assert choose_preprocess(config(), [A]) == Preprocess((10.0,), (2.0,), 256)
    assert choose_preprocess(config(image_size=64), [A]).image_size == 64
    assert choose_preprocess(config(normalise="frame"), [A]).normalise == "frame"


def test_several_data_sets_are_normalised_by_frame_and_need_one_size() -> None:
    assert choose_preprocess(config(image_size=64), [A, B]).normalise == "frame"
    with pytest.raises(ConfigError, match=r"image sizes are \[256, 512\]; choose one with --image-size"):
        choose_preprocess(config(), [A, B])
    with pytest.raises(ConfigError, match="share no mean and std"):
        choose_preprocess(config(image_size=64, normalise="fixed"), [A, B])


def test_weights_to_start_from_say_how_frames_are_normalised() -> None:
    assert choose_preprocess(config(), [A], "frame").normalise == "frame"
    assert choose_preprocess(config(normalise="fixed"), [A], "frame").normalise == "fixed"
    assert choose_preprocess(config(), [A], "fixed").normalise == "fixed"


def test_batch_must_be_filled_by_all_processes_together(monkeypatch: pytest.MonkeyPatch) -> None:
    check_batch(config(batch_size=4), 4)
    with pytest.raises(ConfigError, match="batch_size 4 needs 4 training images, of which there are 3"):
        check_batch(config(batch_size=4), 3)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="needs 8 training images"):
        check_batch(config(batch_size=4), 7)


@pytest.mark.parametrize(
    ("batch_size", "count", "image_size", "patch_size", "is_refused"),
    [(4, 9, 32, None, True), (4, 10, 32, None, False), (4, 9, 64, None, False), (1, 9, 64, 32, True)],
)
def test_single_image_of_a_single_deep_pixel_is_refused(
    batch_size: int, count: int, image_size: int, patch_size: int | None, is_refused: bool
) -> None:
    model = SAMSPL(
        ModelConfig.from_dict({**NARROW_MODEL, "stages": [1, 2, 2, 2], "window_sizes": [8, 4, 14, 7]})
    )
    asked = config(batch_size=batch_size, patch_size=patch_size)
    if not is_refused:
        return check_stride(asked, model, count, image_size)
    with pytest.raises(ConfigError, match="maps of 1x1 at stride 32"):
        check_stride(asked, model, count, image_size)


def test_parts_divide_the_train_list(tmp_path: Path) -> None:
    root = write_images(tmp_path / "mine", 20)
    (part,), preprocess = open_parts(tiny_config(root, tmp_path / "run"))
    assert isinstance(part.val, InfraredDataset)
    assert len(part.train) == 18
    assert len(part.val) == 2
    assert not set(part.train_split.ids) & set(part.val.ids)
    assert preprocess.image_size == 32
    (published,), _ = open_parts(tiny_config(root, tmp_path / "run", select_on="test"))
    assert (len(published.train), len(published.val), published.val.split.name) == (20, 4, "test")


def test_each_data_set_has_its_own_orientation_and_variation(tmp_path: Path) -> None:
    one, other = (str(write_images(tmp_path / name, 10)) for name in ("one", "other"))
    asked = tiny_config(
        Path(one),
        tmp_path / "run",
        dataset=f"{one},{other}",
        augmentation="broad",
        patch_size=32,
        keep_orientation=(one,),
        variation=(0.25, 0.5),
    )
    parts, _ = open_parts(asked)
    kinds = [{type(t): t for t in part.train.augmentation.transforms} for part in parts]
    assert [Flips in kind for kind in kinds] == [False, True]
    assert [kind[SensorVariation].variation for kind in kinds] == [0.25, 0.5]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_drawn_scenes_hold_targets_as_often_as_the_run_asks(share: float) -> None:
    drawn = config(dataset="synthetic", synthetic_count=6, synthetic_empty=share, image_size=64)
    parts, _ = open_parts(drawn)
    empty = [not parts[0].train[index].gt_mask.any() for index in range(6)]
    assert empty == [share == 1.0] * 6


def test_synthetic_scenes_have_no_test_list() -> None:
    with pytest.raises(ConfigError, match="synthetic has no test list"):
        open_parts(config(dataset="synthetic", select_on="test"))
