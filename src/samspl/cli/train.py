"""`samspl train`: train a network on one or more data sets."""

import dataclasses
import logging
import shlex
import sys
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ActionConfigFile, ArgumentParser  # type: ignore[attr-defined]

from samspl.config import nearest_name
from samspl.errors import ConfigError
from samspl.train_config import TrainConfig

NAME = "train"
HELP = "train a network"
EXAMPLE = (
    "samspl train --dataset NUDT-SIRST --data-path datasets --sam-weights sam2.1_hiera_tiny --epochs 300"
)


class RecipeFile(ActionConfigFile):
    """`--config FILE`, refusing unknown keys with the nearest known one."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        """Check the keys, then read as jsonargparse does."""
        known = [action.dest for action in parser._actions if action.dest not in ("help", self.dest)]
        if isinstance(values, str) and ":" not in Path(values).name:  # else YAML text, which is taken too
            if not Path(values).is_file():
                raise ConfigError(f"--config {values} is no file; give a recipe, such as those of configs/")
            _check_keys(Path(values), known)
        super().__call__(parser, namespace, values, option_string)  # type: ignore[no-untyped-call]


def _check_keys(path: Path, known: list[str]) -> None:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as err:
        raise ConfigError(
            f"{path} cannot be read as YAML ({' '.join(str(err).split())}); correct it"
        ) from err
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds no settings; expected lines such as 'lr: 0.01'")
    for key in content:
        name = str(key).partition(".")[0].replace("-", "_")
        if name not in known:
            raise ConfigError(f"{path}: unknown setting {key!r}; {nearest_name(str(key), known)}")


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of ``samspl train``; the defaults are the published recipe."""
    add = parser.add_argument
    add("--config", action=RecipeFile, help="YAML file with any of these options, such as those of configs/")
    add(
        "--dataset",
        type=str,
        required=True,
        help="known name, YAML file, folder or synthetic; several with commas",
    )
    add("--data-path", type=str, default=".", help="folder that holds the data sets' folders")
    add(
        "--sam-weights",
        type=str,
        required=True,
        help="SAM 2 checkpoint, fetched name, or none for a random trunk",
    )
    add("--save-dir", type=str | None, default=None, help="folder of the run; default: runs/train/DATASET")
    add("--resume", type=str | None, default=None, help="last, or a .ckpt file, to go on from")
    # the network
    add("--variant", type=str, default="spl_t", help="spl_t, spl_s, spl_b, spl_l or nano")
    add(
        "--model",
        type=dict[str, Any],
        default={},
        help="fields of the network that differ, as --model.width 128",
    )
    add("--init", type=str | None, default=None, help="SAM-SPL weights to start from")
    add("--freeze-trunk", type=bool | None, default=None, help="default: if SAM weights are given")
    # the data
    add("--image-size", type=int | None, default=None, help="multiple of 32; default: the data set's")
    add(
        "--normalise",
        type=str | None,
        default=None,
        help="fixed or frame; default: frame for several data sets",
    )
    add("--split-set", type=str | None, default=None, help="which split lists, such as img_idx")
    add("--sampling-weights", type=list[float] | str, default=[], help="share of each data set, as 2,1")
    add("--synthetic-count", type=int, default=2000, help="scenes of an epoch of data set synthetic")
    add("--synthetic-empty", type=float, default=0.1, help="share of these scenes without targets")
    add("--patch-size", type=int | None, default=None, help="side of training patches; default: whole images")
    add("--patch-positive", type=float, default=0.5, help="share of patches that are laid around a target")
    add("--augmentation", type=str, default="published", help="published or broad (with patches and frame)")
    add(
        "--variation",
        type=float | list[float] | str,
        default=1.0,
        help="how often broad scales, pastes and disturbs, 0..1; one, or one for each data set, as 0.1,0.5",
    )
    add(
        "--keep-orientation",
        type=list[str] | str,
        default=[],
        help="data sets that broad does not flip, with commas",
    )
    add("--crops", type=str | None, default=None, help="folder of target crops that broad lays into images")
    add("--native-size", action="store_true", help="validate and detect at the images' own size")
    # the optimisation
    add("--batch-size", type=int, default=12, help="images of a step, in each process")
    add("--accumulate", type=int, default=1, help="batches whose gradients make one step")
    add("--loss", type=str, default="bce", help="bce, soft_iou, pooled_iou, dice, sls, or a sum as bce+dice")
    add(
        "--loss-weights",
        type=list[float] | str,
        default=[1.0, 1.0, 1.0],
        help="of the maps of full, half and quarter resolution, as 1,0.5,0.25",
    )
    add("--optimizer", type=str, default="adan", help="adan, adamw or muon")
    add("--lr", type=float, default=1e-2, help="learning rate at the start of its cosine")
    add("--weight-decay", type=float, default=1e-4, help="proximal in adan, decoupled in adamw and muon")
    add("--warmup-epochs", type=int, default=0, help="epochs over which the learning rate rises first")
    add("--epochs", type=int, default=300, help="passes over the training images")
    add("--clip-norm", type=float, default=0.0, help="largest norm of the gradients; 0: any")
    add("--ema-decay", type=float, default=0.0, help="of the running mean of weights, as 0.999; 0: none")
    add("--seed", type=int, default=2727, help="of weights, order and augmentation")
    add("--precision", type=str, default="fp32", help="fp32 or bf16")
    add("--channels-last", action="store_true", help="accepted; weights and maps lie so in any case")
    add("--compile", action="store_true", help="compile the network")
    # selection and records
    add(
        "--select-on",
        type=str,
        default="val",
        help="val, or test as published: the best epoch is chosen by it",
    )
    add("--test-split", type=str | None, default=None, help="split of the table at the end, or none")
    add("--save-every", type=int, default=200, help="steps between checkpoints within an epoch")
    add("--use-ddp", action="store_true", help="accepted for the published command; torchrun alone decides")


def to_config(args: Any) -> TrainConfig:
    """The run that the parsed options describe.

    Raises:
        ConfigError: for values that are out of range or contradict.
    """
    fields = {f.name for f in dataclasses.fields(TrainConfig)}
    values = {name: value for name, value in vars(args).items() if name in fields}
    values["sam_weights"] = None if args.sam_weights.lower() == "none" else args.sam_weights
    names = "+".join(Path(name.strip()).stem for name in args.dataset.split(","))
    values["save_dir"] = args.save_dir or f"runs/train/{names}"
    values["model"] = dict(args.model)
    for name in ("sampling_weights", "loss_weights", "variation"):
        values[name] = _numbers(name, getattr(args, name))
    kept = args.keep_orientation
    values["keep_orientation"] = [n.strip() for n in kept.split(",")] if isinstance(kept, str) else kept
    return TrainConfig(**values)


def _numbers(name: str, value: Any) -> list[float]:
    if not isinstance(value, str):
        return list(value) if isinstance(value, list) else [value]
    try:
        return [float(word) for word in value.split(",") if word.strip()]
    except ValueError as err:
        option = f"--{name.replace('_', '-')}"
        raise ConfigError(f"{option} is {value!r}; expected numbers with commas, as 2,1") from err


def run(args: Any) -> int:
    """Train, print the scores of the best weights and say where they are."""
    from samspl.cli.common import use_threads

    config = to_config(args)
    try:
        from samspl.training.checkpoints import can_resume
        from samspl.training.records import is_first_process
        from samspl.training.run import train
    except ModuleNotFoundError as err:
        raise ConfigError(f"training needs the package {err.name}; run: pip install 'samspl[train]'") from err
    from samspl.report import evaluation_table

    use_threads(args)
    if not is_first_process():  # of several, one speaks
        logging.getLogger("samspl").setLevel(logging.ERROR)
    try:
        result = train(config, progress=not args.quiet)
    except KeyboardInterrupt:
        if is_first_process() and can_resume(Path(config.save_dir)):
            recipe = shlex.quote(str(Path(config.save_dir) / "config.yaml"))
            print(f"go on with: samspl train --config {recipe} --resume last", file=sys.stderr)
        raise
    if is_first_process():
        for evaluation in result.evaluations:
            print(evaluation_table(evaluation))
        if result.selected_on == "test":
            print(
                "The best epoch was chosen ON THE TEST SPLIT, as published: its figures there are no fair test."
            )
        print(result.best)
    return 0
