"""Frames through detectors on many processes or machines: a Ray Data pipeline with a pool of actors.

The unit of work is a file. Actors read it, run the network and write its results, so that only records travel; with
several machines, images, weights and results lie on a disk that all of them reach by the same paths. A worker that
dies is started anew and its file done again; a file that keeps killing workers is reported.
"""

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from samspl.errors import ConfigError, ImageError, SamsplError
from samspl.inference.extras import require
from samspl.inference.job import Job
from samspl.inference.outputs import FileBegun, FileDone, FrameDone, Outcome, Outputs
from samspl.inference.sources import BadFrame, SourceFile

TRIES = 3
"""How often a file may end its worker before it is reported; Ray alone would try for ever."""
TRIES_FOLDER = ".samspl-tries"
"""Among the results, while the run lasts: a byte for each time that a file was begun."""
MAX_BLOCKS = 4000
"""Parts that the list of files is cut into; a worker takes one at a time."""


def connect() -> Any:
    """Ray, connected to the cluster that `RAY_ADDRESS` names or that runs here, else to a new one of this machine.

    Raises:
        ConfigError: without Ray.
        SamsplError: if it cannot be started, or the cluster not be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = require("ray", "bulk", "--engine ray")
    data = require("ray.data", "bulk", "--engine ray")
    if not ray.is_initialized():
        try:
            ray.init(include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
        except Exception as err:  # Ray raises nearly anything here
            raise SamsplError(
                f"Ray could not be started or reached ({err}); check RAY_ADDRESS, or start it"
            ) from err
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    data.DataContext.get_current().enable_progress_bars = False
    return ray


class _Worker:
    """One detector; lives in an actor and takes a file at a time."""

    def __init__(self, job: Job, outputs: Outputs, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.detector, self.outputs = job.detector(), outputs
        self.tries = outputs.folder / TRIES_FOLDER

    def __call__(self, batch: Mapping[str, np.ndarray]) -> dict[str, list[str]]:
        from samspl.inference.local_engine import run_local

        said: list[str] = []
        for text in batch["file"]:
            entry = json.loads(text)
            file = SourceFile(Path(entry["path"]), entry["name"])
            known = {file.name: {name: FrameDone(file, record) for name, record in entry["known"].items()}}
            try:
                if self._count_try(entry["number"]) > TRIES:
                    sentence = f"{file.path} ended its worker {TRIES} times; run it alone to see why"
                    said.extend(_to_text(BadFrame(file, sentence)))
                else:
                    run_local(self.detector, [file], self.outputs, lambda o: said.extend(_to_text(o)), known)
            except (SamsplError, OSError) as err:  # of writing: the others would fail, too
                said.append(json.dumps({"stop": str(err)}))
        return {"said": said}

    def _count_try(self, number: int) -> int:
        """How often a file was begun, this time included."""
        self.tries.mkdir(parents=True, exist_ok=True)
        with (self.tries / str(number)).open("ab") as file:
            file.write(b".")
            return file.tell()


def _to_text(outcome: Outcome) -> Iterator[str]:
    entry: dict[str, Any] = {"of": outcome.file.name}
    match outcome:
        case FrameDone(_, record, written, count):
            yield json.dumps({**entry, "record": record, "written": written, "count": count})
        case FileDone(_, written):
            yield json.dumps({**entry, "end": written})
        case BadFrame(_, sentence):
            yield json.dumps({**entry, "bad": sentence})
        case FileBegun():
            pass  # noted before the work was given away


def _from_text(text: str, files: Mapping[str, SourceFile]) -> Outcome:
    entry = json.loads(text)
    if "stop" in entry:
        raise SamsplError(entry["stop"])
    file = files[entry["of"]]
    if "bad" in entry:
        return BadFrame(file, entry["bad"])
    if "end" in entry:
        return FileDone(file, tuple(entry["end"]))
    return FrameDone(file, entry["record"], tuple(entry["written"]), entry["count"])


def _resources(ray: Any, device: str, files: int, workers: int, threads: int | None) -> tuple[int, int, int]:
    """Number of actors, and of CPUs and GPUs of each."""
    there = ray.cluster_resources()
    cpus, gpus = int(there.get("CPU", 1)), int(there.get("GPU", 0))
    per_actor = threads or 1
    uses_gpu = device.startswith("cuda") or (device == "auto" and gpus > 0)
    if uses_gpu and not gpus:
        raise ConfigError(f"--device {device} was asked for, but no machine of the Ray cluster offers a GPU")
    most = min(cpus // per_actor, gpus) if uses_gpu else cpus // per_actor
    if not most or workers > most:
        raise ConfigError(
            f"{workers or 1} workers of {per_actor} threads were asked for; the Ray cluster has {cpus} CPUs"
            + (f" and {gpus} GPUs" if uses_gpu else "")
            + " - lower --workers or --threads"
        )
    return min(workers or most, files), per_actor, int(uses_gpu)


def run_ray(
    job: Job,
    files: Sequence[SourceFile],
    outputs: Outputs,
    report: Callable[[Outcome], None],
    known: Mapping[str, Mapping[str, FrameDone]] | None = None,
    workers: int = 0,
    threads: int | None = None,
) -> None:
    """Find and write the targets of all frames of files; like `run_local`, but for the order of what is reported.

    Args:
        job: How frames are looked through.
        files: To be read.
        outputs: What is written, and where.
        report: Is told of every file and frame, also of those that cannot be used.
        known: By file and name, frames whose results are there.
        workers: Actors; 0 for as many as the cluster has room for.
        threads: CPUs of each; None for one, which gives the most images a second.
    Raises:
        ConfigError: without Ray, or if the cluster has no room for so many.
        SamsplError: if something cannot be written; what is done by then was reported.
    """
    if not files:
        return
    ray = connect()
    size, cpus, gpus = _resources(ray, job.device, len(files), workers, threads)
    by_name = {file.name: file for file in files}
    items = []
    for number, file in enumerate(files):
        try:
            report(FileBegun(file.stamped()))
        except ImageError as err:  # gone
            report(BadFrame(file, str(err)))
            continue
        records = {name: done.record for name, done in (known or {}).get(file.name, {}).items()}
        entry = {"number": number, "path": str(file.path.resolve()), "name": file.name, "known": records}
        items.append({"file": json.dumps(entry)})
    if not items:
        return
    pipeline = ray.data.from_items(items, override_num_blocks=min(len(items), MAX_BLOCKS)).map_batches(
        _Worker,
        fn_constructor_args=(job.resolved(), replace(outputs, folder=outputs.folder.resolve()), cpus),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=size),
        num_cpus=cpus,
        num_gpus=gpus,
    )
    tries = outputs.folder / TRIES_FOLDER
    shutil.rmtree(tries, ignore_errors=True)  # of a run that was killed
    try:
        for row in pipeline.iter_rows():
            report(_from_text(row["said"], by_name))
    finally:
        shutil.rmtree(tries, ignore_errors=True)
