"""`samspl predict`: find targets in image and video files."""

import contextlib
import dataclasses
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser

from samspl.errors import ConfigError, SamsplError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from samspl.inference.job import Job, Plan
    from samspl.inference.outputs import Outcome
    from samspl.preprocess import Preprocess

logger = logging.getLogger(__name__)

NAME = "predict"
HELP = "find targets in images and videos"
EXAMPLE = "samspl predict frames/ --save mask,overlay,csv"

KINDS = ("mask", "overlay", "json", "csv", "prob", "coco", "geojson")
DEFAULT_KINDS = ("mask", "overlay", "json", "csv", "geojson")
BACKENDS = ("torch", "onnx", "openvino")
ENGINES = ("local", "ray")


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of ``samspl predict``."""
    parser.add_argument(
        "paths", type=str, nargs="+", help="images, videos, folders or patterns such as 'frames/*.png'"
    )
    parser.add_argument(
        "--weights",
        type=str,
        default="nano",
        help="bundled name, weights file, training folder or exported file",
    )
    parser.add_argument("--out", type=str, default="runs/predict", help="folder for the results")
    parser.add_argument(
        "--save",
        type=str | None,
        default=None,
        help=f"any of {','.join(KINDS)}; default: mask,overlay,json,csv, and geojson where a TIFF has map coordinates",
    )
    parser.add_argument("--threshold", type=float | None, default=None, help="default: the checkpoint's, 0.5")
    parser.add_argument("--min-area", type=int, default=1, help="smallest target, in pixels")
    parser.add_argument(
        "--tile", type=str, default="auto", help="side of the tiles that large frames are cut into, or auto"
    )
    parser.add_argument(
        "--backend", type=str, default="torch", help=f"what runs the network: {', '.join(BACKENDS)}"
    )
    parser.add_argument(
        "--engine", type=str, default="local", help="local, or ray: many processes or machines, see --workers"
    )
    parser.add_argument(
        "--dataset", type=str | None, default=None, help="whose preprocessing, for files without"
    )
    parser.add_argument("--recursive", action="store_true", help="look into folders of folders")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace results that are there; a broken-off run goes on"
    )


def run(args: Any) -> int:
    """Predict every frame; one bad file does not stop the others, and what is done already is not done again.

    Returns:
        0, or 1 if an image could not be used or a folder not be searched.
    Raises:
        ConfigError: for missing paths or values out of range, and where results would replace anything.
        SamsplError: if weights cannot be used or results not be written.
    """
    kinds = _kinds(args.save)
    _check_values(args)

    from samspl.cli.common import use_threads
    from samspl.inference.extras import require
    from samspl.inference.job import Job, make_plan
    from samspl.inference.outputs import Outputs

    if args.save is not None and "geojson" in kinds:
        require("rasterio", "geo", "--save geojson")
    use_threads(args)
    job = Job(
        weights=args.weights,
        device=args.device,
        backend=args.backend,
        threshold=args.threshold,
        preprocess=_missing_preprocess(args.weights, args.dataset) if args.dataset else None,
        min_area_px=args.min_area,
        tile=args.tile if args.tile == "auto" else int(args.tile),
    )
    plan = make_plan(job, args.paths, args.recursive, Outputs(Path(args.out), kinds), args.overwrite)
    if plan.is_nothing_left:
        _complain(plan.refused)
        print(f"{_summary(plan)}; all was done before, --overwrite does it again")
        return 1 if plan.refused else 0
    run_engine = _prepare_engine(args, job)
    with _Reporter(plan, args.quiet) as reporter:
        _execute(run_engine, plan, reporter)
    _complain(reporter.bad)
    notes = [f"{len(reporter.bad)} unusable"] if reporter.bad else []
    notes += [f"{plan.done_before} done before"] if plan.done_before else []
    print(_summary(plan) + (f" ({', '.join(notes)})" if notes else ""))
    return 1 if reporter.bad else 0


def _missing_preprocess(weights: str, dataset: str) -> "Preprocess | None":
    """A data set's preprocessing for weights that hold none; their own goes before, as in `samspl test`."""
    from samspl.backends.opening import EXPORTED_SUFFIXES
    from samspl.checkpoint import find_weights, read_checkpoint
    from samspl.data.specs import get_spec

    spec = get_spec(dataset)
    path = find_weights(weights)
    # exported files always hold one
    if path.suffix in EXPORTED_SUFFIXES or read_checkpoint(weights).preprocess is not None:
        logger.info("%s: preprocessing is the file's own, --dataset %s is not needed", path, dataset)
        return None
    logger.info("%s: preprocessing taken from %s", path, spec.name)
    return spec.preprocess()


def _prepare_engine(args: Any, job: "Job") -> "Callable[[Plan, _Reporter], None]":
    """What runs a plan; refuses weights that cannot be used, before anything is shown or written."""
    if args.engine == "ray":
        from samspl.inference.ray_engine import connect, run_ray

        connect()
        dataclasses.replace(job, device="cpu").detector()
        return lambda plan, reporter: run_ray(
            job, plan.todo, plan.outputs, reporter, plan.known, args.workers, args.threads
        )
    from samspl.inference.local_engine import run_local

    detector = job.detector()
    return lambda plan, reporter: run_local(detector, plan.todo, plan.outputs, reporter, plan.known)


def _execute(run_engine: "Callable[[Plan, _Reporter], None]", plan: "Plan", reporter: "_Reporter") -> None:
    """Do what is left to do; the tables are written whatever happens."""
    plan.start()
    try:
        run_engine(plan, reporter)
    except BaseException:
        with contextlib.suppress(SamsplError):  # the first error is the one to tell
            plan.finish(is_end=False)
        raise
    plan.finish(is_end=True)


class _Reporter:
    """Notes in the journal what happens, and shows it."""

    def __init__(self, plan: "Plan", quiet: bool) -> None:
        from tqdm import tqdm

        self.plan = plan
        self.bad = list(plan.refused)
        self._seen: set[str] = set()
        self._total = len(plan.todo)
        self._bar = tqdm(total=self._total, unit="image", file=sys.stderr, disable=quiet)

    def __call__(self, outcome: "Outcome") -> None:
        from samspl.inference.outputs import FrameDone
        from samspl.inference.sources import BadFrame

        self.plan.note(outcome)
        if isinstance(outcome, BadFrame):
            self.bad.append(outcome.sentence)
        elif not isinstance(outcome, FrameDone):
            return
        name, count = outcome.file.name, outcome.count if isinstance(outcome, FrameDone) else 1
        if name not in self._seen:
            self._total += (count or 1) - 1 - len(self.plan.known.get(name, ()))
        elif count is None:
            self._total += 1
        self._bar.total = self._total
        self._seen.add(name)
        self._bar.update()

    def __enter__(self) -> "_Reporter":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def _complain(sentences: "Sequence[str]") -> None:
    for sentence in sentences:
        print(f"samspl: error: {sentence}", file=sys.stderr)


def _summary(plan: "Plan") -> str:
    records = plan.records()
    count = sum(len(record["targets"]) for record in records)
    return f"{count} targets in {len(records)} images -> {plan.outputs.folder}"


def _check_values(args: Any) -> None:
    """Raises ConfigError for values out of range."""
    if args.threshold is not None and not 0 < args.threshold < 1:
        raise ConfigError(f"--threshold is {args.threshold}; expected a probability between 0 and 1")
    if args.min_area < 1:
        raise ConfigError(f"--min-area is {args.min_area}; expected at least 1 pixel")
    if args.tile != "auto" and not (
        args.tile.isdecimal() and int(args.tile) > 0 and int(args.tile) % 32 == 0
    ):
        raise ConfigError(f"--tile is {args.tile!r}; expected auto or a multiple of 32")
    for option, value, known in (("--backend", args.backend, BACKENDS), ("--engine", args.engine, ENGINES)):
        if value not in known:
            raise ConfigError(f"{option} is {value!r}; expected one of {', '.join(known)}")


def _kinds(text: str | None) -> tuple[str, ...]:
    if text is None:
        return DEFAULT_KINDS
    kinds = [kind.strip() for kind in text.split(",") if kind.strip()]
    unknown = [kind for kind in kinds if kind not in KINDS]
    if not kinds or unknown:
        wrong = f"holds {unknown[0]!r}" if unknown else "is empty"
        raise ConfigError(f"--save {wrong}; expected any of {','.join(KINDS)}")
    return tuple(dict.fromkeys(kinds))
