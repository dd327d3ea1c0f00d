"""`samspl weights`: what weights there are, fetching SAM 2's, importing the authors', and what a file holds."""

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from samspl.cli.common import command_parser, existing
from samspl.errors import ConfigError

NAME = "weights"
HELP = "list, fetch, import and describe weights"
EXAMPLE = "samspl weights fetch sam2.1_hiera_tiny"


def add_arguments(parser: ArgumentParser) -> None:
    """Add the actions of ``samspl weights``, which its parent must know already."""
    actions = parser.add_subcommands(dest="action", required=False)

    listing = command_parser(
        "what the package has, what the cache has, what can be fetched", "samspl weights list"
    )
    actions.add_subcommand("list", listing, help="what can be fetched and what the cache has")

    fetch = command_parser("download a SAM 2.1 checkpoint into the cache and check it", EXAMPLE)
    fetch.add_argument("name", type=str, help="sam2.1_hiera_tiny, _small, _base_plus or _large")
    actions.add_subcommand("fetch", fetch, help="download a SAM 2.1 checkpoint")

    importing = command_parser(
        "turn the authors' weights into ours, with preprocessing inside",
        "samspl weights import NUDT.pt --dataset NUDT-SIRST --out nudt.safetensors",
    )
    importing.add_argument("file", type=str, help="weights of the authors, or of ours without preprocessing")
    importing.add_argument("--variant", type=str | None, default=None, help="if the shapes do not tell")
    importing.add_argument(
        "--dataset", type=str | None, default=None, help="whose published preprocessing to store"
    )
    importing.add_argument("--out", type=str, required=True, help="file to write, .safetensors")
    importing.add_argument("--overwrite", action="store_true", help="replace the file if it is there")
    actions.add_subcommand("import", importing, help="turn the authors' weights into ours")

    describe = command_parser("what a weights file holds", "samspl weights info best.safetensors")
    describe.add_argument("file", type=str, help="bundled name, weights file or training folder")
    actions.add_subcommand("info", describe, help="what a weights file holds")


def run(args: Any) -> int:
    """Do what was asked.

    Returns:
        0.
    Raises:
        ConfigError: for a missing path or an unknown name.
        CheckpointError: if a file cannot be used or had.
    """
    if args.action is None:
        raise ConfigError(f"samspl weights needs one of {', '.join(ACTIONS)}; as in: {EXAMPLE}")
    return ACTIONS[args.action](args[args.action])


def _list(args: Any) -> int:
    from samspl.assets import bundled_weights
    from samspl.models.download import SAM_CHECKPOINTS, cache_dir

    print("In the package, ready to use")
    for name, path in bundled_weights().items():
        print(f"  {name:<22} {path.stat().st_size / 1e6:.1f} MB   samspl weights info {name}")
    print(f"SAM 2.1 checkpoints (for training), cache {cache_dir()}")
    for name, checkpoint in SAM_CHECKPOINTS.items():
        path = cache_dir() / checkpoint.file
        print(f"  {name:<22} {'in the cache' if path.is_file() else f'samspl weights fetch {name}'}")
    return 0


def _fetch(args: Any) -> int:
    from samspl.models.download import fetch_sam_weights

    print(fetch_sam_weights(args.name, progress=not args.quiet))
    return 0


def _import(args: Any) -> int:
    import dataclasses

    from samspl.checkpoint import build_model, read_checkpoint, write_checkpoint
    from samspl.data.specs import get_spec

    out = Path(args.out)
    if out.suffix != ".safetensors":
        raise ConfigError(f"--out is {out}; our weights are .safetensors files")
    if out.exists() and not args.overwrite:
        raise ConfigError(f"{out} is there already; choose another --out or add --overwrite")
    checkpoint = read_checkpoint(existing(args.file, "weights"), args.variant)
    if args.dataset is not None:
        spec = get_spec(args.dataset)
        record = {**checkpoint.record, "dataset": spec.name, "imported_from": Path(args.file).name}
        checkpoint = dataclasses.replace(checkpoint, preprocess=spec.preprocess(), record=record)
    elif checkpoint.preprocess is None:
        raise ConfigError(f"{args.file} does not say how images are prepared; add --dataset NAME")
    model = build_model(checkpoint)  # refuses what does not fit
    write_checkpoint(out, dataclasses.replace(checkpoint, state=model.state_dict()))
    print(out)
    return 0


def _info(args: Any) -> int:
    from samspl.checkpoint import build_model, read_checkpoint
    from samspl.models.variants import VARIANTS

    checkpoint = read_checkpoint(args.file)
    model = build_model(checkpoint)
    known = next(
        (name for name, config in VARIANTS.items() if config == checkpoint.config), "own configuration"
    )
    print(f"source      {checkpoint.source}")
    print(f"variant     {known}")
    print(f"parameters  {sum(p.numel() for p in model.parameters()) / 1e6:.2f} M")
    print(f"threshold   {checkpoint.threshold:g}")
    for title, values in (
        ("config", checkpoint.config.to_dict()),
        (
            "preprocess",
            checkpoint.preprocess.to_dict() if checkpoint.preprocess else {"unknown": "name --dataset"},
        ),
        ("record", {k: _short(v) for k, v in checkpoint.record.items()}),
    ):
        for name, value in values.items():
            print(f"{title:<11} {name} = {value}")
    return 0


def _short(value: Any) -> Any:
    return f"{len(value)} entries" if isinstance(value, list) and len(value) > 4 else value


ACTIONS = {"list": _list, "fetch": _fetch, "import": _import, "info": _info}
