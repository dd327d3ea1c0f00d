"""`samspl train`: options, recipes and their mistakes."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from samspl.cli.main import build_parser, main
from samspl.cli.train import to_config
from samspl.data.specs import get_spec
from samspl.data.synthetic_set import SYNTHETIC
from samspl.models.network import SAMSPL
from samspl.models.variants import VARIANTS, variant_config
from samspl.train_config import TrainConfig
from tests.unit.training.tiny import NARROW_MODEL, write_images

RECIPES = sorted((Path(__file__).parents[3] / "configs").glob("*.yaml"))
NEEDED = ["--dataset", "mine", "--sam-weights", "none"]
BROAD = "augmentation: broad\npatch_size: 64\nnormalise: frame\nsam_weights: none\n"


def parse(*words: str) -> TrainConfig:
    return to_config(build_parser().parse_args(["train", *words])["train"])


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_describes_a_run_that_can_be_built(recipe: Path) -> None:
    config = parse("--dataset", "mine", "--config", str(recipe))  # the demo's recipe leaves the data set open
    for name in config.datasets:
        assert name in ("mine", SYNTHETIC) or get_spec(name).name == name
    with torch.device("meta"):
        SAMSPL(variant_config(config.variant, **config.model))
    if config.sam_weights is not None:
        trunk = {"spl_t": "tiny", "spl_s": "small", "spl_b": "base_plus", "spl_l": "large"}[config.variant]
        assert config.sam_weights == f"sam2.1_hiera_{trunk}"


def test_there_is_a_recipe_for_every_data_set_and_published_variant() -> None:
    sets = ("NUDT-SIRST", "IRSTD-1k", "IRSTDID-SKY", "NUDT-SIRST-Sea", "NUAA-SIRST", "SIRST-UAVB")
    assert {f"{name}_{variant}" for name in sets for variant in VARIANTS if variant != "nano"} <= {
        path.stem for path in RECIPES
    }


def test_defaults_of_the_command_are_those_of_the_configuration() -> None:
    expected = TrainConfig(dataset="mine", data_path=".", sam_weights=None, save_dir="runs/train/mine")
    assert parse(*NEEDED) == expected


def test_recipe_is_read_and_words_after_it_win(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "dataset: mine\nsam_weights: none\nlr: 0.5\nepochs: 7\nmodel: {width: 64, mlp_width: 32}\n"
    )
    config = parse("--config", str(recipe), "--lr", "0.25", "--model.width", "128")
    assert (config.lr, config.epochs, config.model) == (0.25, 7, {"width": 128, "mlp_width": 32})


def test_published_spellings_are_taken() -> None:
    words = ["--batch_size", "3", "--image_size", "64", "--save_dir", "x", "--use_ddp", *NEEDED]
    from samspl.cli.common import published_spellings

    config = parse(*published_spellings(words))
    assert (config.batch_size, config.image_size, config.save_dir) == (3, 64, "x")


def test_weights_of_data_sets_are_a_list_in_yaml_and_numbers_with_commas_in_words(tmp_path: Path) -> None:
    assert parse(
        "--sam-weights", "none", "--dataset", "a,b", "--sampling-weights", "2,1"
    ).sampling_weights == (2, 1)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("dataset: a,b\nsam_weights: none\nsampling_weights: [3, 1]\n")
    assert parse("--config", str(recipe)).sampling_weights == (3, 1)


def test_weights_of_the_maps_come_the_same_way_and_are_1_each_as_published() -> None:
    assert parse(*NEEDED).loss_weights == (1, 1, 1)
    assert parse(*NEEDED, "--loss-weights", "1,0.5,0").loss_weights == (1, 0.5, 0)


def test_variation_and_orientation_are_of_all_data_sets_or_of_each(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(BROAD + "dataset: a,b\nvariation: 0.25\nkeep_orientation: b\n")
    config = parse("--config", str(recipe))
    assert [config.variation_of(name) for name in "ab"] == [0.25, 0.25]
    assert config.keep_orientation == ("b",)
    config = parse("--config", str(recipe), "--variation", "0,0.5", "--keep-orientation", "a, b")
    assert [config.variation_of(name) for name in "ab"] == [0, 0.5]
    assert config.keep_orientation == ("a", "b")


def test_settings_of_a_run_are_a_recipe_again(tmp_path: Path) -> None:
    import yaml

    words = [*NEEDED, "--sampling-weights", "2", "--freeze-trunk", "true", "--model.width", "64"]
    config = parse(*words, "--patch-size", "32")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.to_dict()))
    assert parse("--config", str(tmp_path / "config.yaml")) == config


def test_print_config_gives_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *NEEDED, "--lr", "0.125", "--print_config"]) == 0
    out = capsys.readouterr().out
    assert "lr: 0.125" in out
    assert "weight_decay: 0.0001" in out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("bach_size: 3", "unknown setting 'bach_size'; did you mean 'batch_size'?"),
        (
            "model: {widht: 3}\ndataset: x\nsam_weights: none",
            "unknown model field 'widht'; did you mean 'width'?",
        ),
        ("- 3", "holds no settings"),
        ("lr: [", "cannot be read as YAML"),
        ("lr: fast", "lr"),
        ("lr: 0\ndataset: x\nsam_weights: none", "lr is 0"),
        ("loss: dise\ndataset: x\nsam_weights: none", "did you mean 'dice'?"),
        ("dataset: a,a\nsam_weights: none", "expected one name, or different names"),
        ("dataset: a,b\nsampling_weights: [1]\nsam_weights: none", "expected one for each"),
        ("loss_weights: [0, 1, 1]\ndataset: x\nsam_weights: none", "the first above 0"),
        ("loss_weights: [1, 1]\ndataset: x\nsam_weights: none", "expected three numbers"),
        ("keep_orientation: x\ndataset: x\nsam_weights: none", "set augmentation to broad, too"),
        ("variation: 0.3\ndataset: x\nsam_weights: none", "set augmentation to broad, too"),
        (
            "variation: 2\naugmentation: broad\npatch_size: 64\nnormalise: frame\ndataset: x\nsam_weights: none",
            "share between 0 and 1",
        ),
        (BROAD + "variation: [0, 1]\ndataset: a,b,c\n", "one for each of the 3 data sets"),
        (
            BROAD + "keep_orientation: NUDT-SIST\ndataset: NUDT-SIRST\n",
            "keep_orientation names 'NUDT-SIST', which is not in dataset; did you mean 'NUDT-SIRST'?",
        ),
        ("optimizer: moun\ndataset: x\nsam_weights: none", "did you mean 'muon'?"),
        ("warmup_epochs: 300\ndataset: x\nsam_weights: none", "leaves nothing of epochs 300"),
        ("synthetic_empty: 1.5\ndataset: synthetic\nsam_weights: none", "share between 0 and 1"),
        ("image_size: 100\ndataset: x\nsam_weights: none", "positive multiple of 32"),
    ],
)
def test_mistakes_are_wrong_usage_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    data = write_images(tmp_path / "x", 4)
    assert main(["train", "--config", str(tmp_path / "recipe.yaml"), "--data-path", str(data.parent)]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


def test_command_trains_and_prints_the_table_and_the_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import yaml

    root = write_images(tmp_path / "mine", 8)
    (tmp_path / "recipe.yaml").write_text(
        yaml.safe_dump({"model": NARROW_MODEL, "epochs": 1, "batch_size": 4})
    )
    words = ["--config", str(tmp_path / "recipe.yaml"), "--dataset", str(root), "--sam-weights", "none"]
    words += ["--image-size", "32", "--device", "cpu", "--save-dir", str(tmp_path / "run")]
    assert main(["train", *words, "--select-on", "test"]) == 0
    out, err = capsys.readouterr()
    assert "split test of root" in out
    assert "| nIoU " in out
    assert "ON THE TEST SPLIT" in out
    assert out.splitlines()[-1] == str(tmp_path / "run" / "best.safetensors")
    assert "image/s" in err  # the bar
    assert "loss=" in err
    assert (
        main(["test", "--dataset", str(root), "--weights", str(tmp_path / "run"), "--device", "cpu", "-q"])
        == 0
    )


def test_asking_for_help_loads_no_torch() -> None:
    code = "import sys; from samspl.cli.main import main; main(['train', '--help']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
