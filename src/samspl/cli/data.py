"""`samspl data`: what data sets are known, the data doctor, split lists, and synthetic scenes."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser

from samspl.cli.common import command_parser, progress_bar
from samspl.errors import ConfigError

if TYPE_CHECKING:
    from samspl.data.specs import DatasetSpec

NAME = "data"
HELP = "describe, check, split and draw data sets"
EXAMPLE = "samspl data check datasets/NUDT-SIRST --json report.json"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the four actions to the parser of ``samspl data``, which its parent must know already.

    (jsonargparse adds levels of subcommands from the top down.)
    """
    actions = parser.add_subcommands(dest="action", required=False)

    info = command_parser("what is known of a data set, or of all", "samspl data info NUAA-SIRST")
    info.add_argument("name", nargs="?", type=str, help="name, YAML specification or folder; all if left out")
    actions.add_subcommand("info", info, help="what is known of a data set")

    check = command_parser("read everything and report what is wrong", EXAMPLE)
    check.add_argument("dir", type=str, help="the data set's folder, or its YAML specification")
    check.add_argument("--json", type=str | None, help="file to write the whole report to")
    actions.add_subcommand("check", check, help="find what is wrong with a data set")

    split = command_parser(
        "write train.txt and test.txt", "samspl data split datasets/mine --test 0.2 --seed 1"
    )
    split.add_argument("dir", type=str, help="the data set's folder, or its YAML specification")
    split.add_argument("--test", type=float, default=0.2, help="part of the images to test on")
    split.add_argument("--seed", type=int, default=2727, help="of the choice")
    split.add_argument("--overwrite", action="store_true", help="replace lists that are there")
    actions.add_subcommand("split", split, help="make split lists")

    synth = command_parser(
        "draw synthetic scenes with exact masks", "samspl data synth --out scenes --count 100"
    )
    synth.add_argument("--out", type=str, required=True, help="new folder for images/, masks/ and lists")
    synth.add_argument("--count", type=int, required=True, help="number of scenes")
    synth.add_argument("--seed", type=int, default=0, help="same seed, same bytes")
    synth.add_argument("--bits", type=int, default=8, help="8 or 16 bits a pixel")
    synth.add_argument("--size", type=int, default=256, help="height and width in pixels")
    synth.add_argument("--scr", type=str, default="1.5,12", help="lowest,highest signal-to-clutter ratio")
    actions.add_subcommand("synth", synth, help="draw synthetic scenes")


def run(args: Any) -> int:
    """Do what was asked.

    Args:
        args: Namespace of the parser above; ``action`` names the part that holds its arguments.
    Returns:
        Exit status: 0, or 1 if the check found what stops training.
    Raises:
        ConfigError: for a missing path, a value out of range, or a report that cannot be written.
        SamsplError: if the work failed.
    """
    if args.action is None:
        raise ConfigError(f"samspl data needs one of {', '.join(ACTIONS)}; as in: {EXAMPLE}")
    own = args[args.action]
    return ACTIONS[args.action](own, own.quiet)


def _info(args: Any, quiet: bool) -> int:
    from samspl.data.specs import get_spec, list_specs

    if args.name is None:
        print(f"{'name':<16} {'size':>5}  {'augmentation':<16} source")
        for spec in list_specs():
            print(f"{spec.name:<16} {spec.image_size:>5}  {spec.augmentation:<16} {spec.source_url or '-'}")
        return 0
    spec = get_spec(args.name)
    mask_rule = (
        "resized bilinearly, every positive value is target"
        if spec.mask_resize == "bilinear_positive"
        else f"target from {spec.mask_threshold} on, resized by nearest neighbour"
    )
    rows = {
        "name": ", ".join((spec.name, *spec.aliases)),
        "images": ", ".join(spec.images),
        "masks": f"{', '.join(spec.masks)}; {mask_rule}",
        "image size": f"{spec.image_size} x {spec.image_size}",
        "mean, std": f"{_numbers(spec.mean)} and {_numbers(spec.std)} in 0..255",
        "augmentation": spec.augmentation,
        "split set": spec.split_set or "the first that is found",
        "source": spec.source_url or "-",
        "cite": spec.citation or "-",
    }
    for name, value in rows.items():
        print(f"{name:<13} {value}")
    for defect in spec.defects:
        print(f"{'known defect':<13} {', '.join(defect.ids)}: {defect.sentence}")
    return 0


def _check(args: Any, quiet: bool) -> int:
    from samspl.data.check import check_dataset
    from samspl.report import require_writable, write_json

    root, spec = _dataset(args.dir)
    if args.json:
        require_writable(Path(args.json), "--json")
    report = check_dataset(root, spec, progress_bar(quiet), args.threads)
    if args.json:
        write_json(Path(args.json), report.to_dict())
    print(report.to_text())
    return 1 if report.fatal else 0


def _split(args: Any, quiet: bool) -> int:
    from samspl.data.make_split import make_split, write_split

    root, spec = _dataset(args.dir)
    if not 0 < args.test < 1:
        raise ConfigError(f"--test is {args.test}; expected more than 0 and less than 1, as 0.2")
    train, test = make_split(root, spec, args.test, _seed(args.seed), progress_bar(quiet))
    write_split(root, train, test, args.overwrite)
    print(f"{root / 'train.txt'}: {len(train)} images, {root / 'test.txt'}: {len(test)} images")
    return 0


def _synth(args: Any, quiet: bool) -> int:
    from samspl.data.synthetic import write_dataset

    try:
        low, high = (float(part) for part in args.scr.split(","))
    except ValueError as err:
        raise ConfigError(f"--scr is {args.scr!r}; expected lowest,highest, as 1.5,12") from err
    progress = progress_bar(quiet)
    try:
        write_dataset(
            Path(args.out),
            args.count,
            _seed(args.seed),
            args.bits,
            (low, high),
            (args.size, args.size),
            progress=lambda numbers: progress(numbers, args.count),
        )
    except ValueError as err:  # count, bits and range are checked there, in words that fit here
        raise ConfigError(str(err)) from err
    print(f"{args.out}: {args.count} scenes, targets.csv lists their targets")
    return 0


def _dataset(text: str) -> "tuple[Path, DatasetSpec]":
    """Folder and specification; a YAML specification that names its root may stand for the folder."""
    from samspl.data.specs import get_spec

    path = Path(text)
    is_yaml = path.suffix.lower() in (".yaml", ".yml")
    if not is_yaml and not path.is_dir():
        raise ConfigError(f"{path} is no folder; give the data set's folder, which holds images/ and masks/")
    spec = get_spec(path)
    root = spec.root or path.parent
    if not root.is_dir():
        raise ConfigError(f"root {root} of {path} is no folder; correct it")
    return root, spec


def _seed(seed: int) -> int:
    if seed < 0:
        raise ConfigError(f"--seed is {seed}; expected 0 or more")
    return seed


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.2f}" for value in values)


ACTIONS: dict[str, Callable[[Any, bool], int]] = {
    "info": _info,
    "check": _check,
    "split": _split,
    "synth": _synth,
}
