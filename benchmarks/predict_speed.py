"""How much longer `samspl predict` takes than its network alone: reading, targets, drawing and writing beside it.

    python benchmarks/predict_speed.py [--count 664] [--weights spl_t.safetensors] [--images FOLDER] [--save mask,json]
                                       [--threads 2] [--rounds 8] [--startup]

Without weights the network is an untrained `spl_t`, without a folder the images are drawn noise of 256 x 256. They are
cut into rounds; each round goes through the network alone, on input prepared before, and through the engine of
`samspl predict`, one after the other, so that both see the same machine. Wall time is what users wait for; processor
time is less disturbed by other programs, and an upper bound of what the rest adds where the network has all cores.
`--startup` also times the whole command on one image, less one pass of the network, and adds it to both.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import samspl
from samspl.checkpoint import Checkpoint, write_checkpoint
from samspl.imaging import read_image, write_image
from samspl.inference.detector import Detector
from samspl.inference.local_engine import run_local
from samspl.inference.outputs import FrameDone, Outcome, Outputs
from samspl.inference.sources import find_files
from samspl.preprocess import Preprocess


def seconds(run: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor time."""
    wall, processor = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - processor


def untrained(path: Path) -> Path:
    torch.manual_seed(0)
    model = samspl.create_model("spl_t")
    # a threshold that hardly a pixel passes: as few targets as real frames have
    write_checkpoint(
        path, Checkpoint(model.config, model.state_dict(), Preprocess((110.0,), (33.0,)), 0.9999)
    )
    return path


def draw(folder: Path, count: int) -> Path:
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = rng.normal(110, 25, (32, 32)).repeat(8, axis=0).repeat(8, axis=1)
        image = np.clip(coarse + rng.normal(0, 4, (256, 256)), 0, 255)
        write_image(folder / f"{number:05d}.png", image.astype(np.uint8))
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=664)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--save", default="mask,json")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--startup", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        weights = args.weights or untrained(root / "spl_t.safetensors")
        folder = args.images or draw(root / "images", args.count)
        files = find_files([str(folder)])[: args.count]
        detector = Detector(weights, "cpu")
        outputs = Outputs(root / "out", tuple(args.save.split(",")))
        backend, prepare = detector._backend, detector.preprocess
        shapes = set()

        def network(inputs: list[np.ndarray]) -> None:
            for values in inputs:
                backend(values)

        network([prepare(read_image(files[0].path)).values[None]] * 3)  # warms up
        run_local(detector, files[:3], outputs, lambda outcome: None)
        alone, whole, records = [], [], []
        size = -(-len(files) // args.rounds)
        for start in range(0, len(files), size):
            part = files[start : start + size]
            inputs = [prepare(read_image(file.path)).values[None] for file in part]
            shapes |= {values.shape for values in inputs}
            alone.append(seconds(lambda inputs=inputs: network(inputs)))
            done: list[Outcome] = []
            whole.append(
                seconds(lambda part=part, done=done: run_local(detector, part, outputs, done.append))
            )
            records += [outcome.record for outcome in done if isinstance(outcome, FrameDone)]
        tables, _ = seconds(lambda: outputs.write_tables(records))
        startup = 0.0
        if args.startup:
            words = [
                sys.executable,
                "-m",
                "samspl",
                "predict",
                str(files[0].path),
                "--weights",
                str(weights),
                "-q",
            ]
            words += ["--save", args.save, "--threads", str(args.threads), "--out"]
            times = [
                seconds(
                    lambda n=n: subprocess.run(
                        [*words, str(root / f"o{n}")], check=True, stdout=subprocess.DEVNULL
                    )
                )
                for n in range(3)
            ]
            startup = min(wall for wall, _ in times) - min(wall for wall, _ in alone) / size
        count, targets = len(records), sum(len(record["targets"]) for record in records)
        net, all_of_it = sum(wall for wall, _ in alone), sum(wall for wall, _ in whole) + tables
        print(
            f"{count} images of {sorted(shapes)} in {len(alone)} rounds, {targets} targets, --save {args.save}"
        )
        print(f"network alone      {net / count * 1e3:8.1f} ms an image")
        print(f"samspl predict     {all_of_it / count * 1e3:8.1f} ms an image")
        each = [w[0] / a[0] for w, a in zip(whole, alone, strict=True)]
        print(
            f"ratio              {all_of_it / net:8.3f} (wall time; median of rounds {statistics.median(each):.3f})"
        )
        processor = sum(cpu for _, cpu in whole) / sum(cpu for _, cpu in alone)
        print(f"ratio              {processor:8.3f} (processor time)")
        if args.startup:
            with_it = (startup + all_of_it) / (startup + net)
            print(
                f"start of the command {startup:6.1f} s: ratio {with_it:.3f} with it on both sides, ", end=""
            )
            print(f"{(startup + all_of_it) / net:.3f} with it on one")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        print(f"largest memory     {peak:8.0f} MiB")


if __name__ == "__main__":
    main()
