"""What share of spl_t's time nano takes, each in every backend, rounds interleaved.

python benchmarks/variant_speed.py [--size 256] [--threads 2] [--rounds 15]
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import samspl
from samspl.backends import Backend, open_backend
from samspl.checkpoint import Checkpoint, write_checkpoint
from samspl.errors import ConfigError
from samspl.preprocess import Preprocess


def open_all(folder: Path, threads: int) -> dict[tuple[str, str], Backend]:
    torch.manual_seed(0)
    backends = {}
    for variant in ("spl_t", "nano"):
        model = samspl.create_model(variant)
        path = folder / f"{variant}.safetensors"
        write_checkpoint(path, Checkpoint(model.config, model.state_dict(), Preprocess()))
        for name in ("torch", "onnx", "openvino"):
            try:
                backends[name, variant] = open_backend(path, name, "cpu", threads)
            except ConfigError as err:
                print(f"{name}: {err}")
    return backends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    frame = np.random.default_rng(0).standard_normal((1, 3, args.size, args.size)).astype(np.float32)
    seconds: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        backends = open_all(Path(folder), args.threads)
        for round_index in range(args.rounds + 2):
            for key, backend in backends.items():
                backend(frame)  # the other networks have emptied the processor's caches
                start = time.perf_counter()
                backend(frame)
                if round_index >= 2:
                    seconds.setdefault(key, []).append(time.perf_counter() - start)
    print(f"{args.size} x {args.size}, batch 1, {args.threads} threads, medians of {args.rounds} rounds")
    for name in dict.fromkeys(name for name, _ in seconds):
        large, small = (statistics.median(seconds[name, variant]) * 1e3 for variant in ("spl_t", "nano"))
        print(f"{name:<9} spl_t {large:7.1f} ms   nano {small:6.1f} ms   share {small / large:.3f}")


if __name__ == "__main__":
    main()
