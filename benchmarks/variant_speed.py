"""What share of spl_t's time nano takes, in one backend after the other, networks in turn; other forms in torch alone.

python benchmarks/variant_speed.py [--size 256] [--threads 2] [--rounds 15]
    [--form embed_dim=32] [--form "stem_channels=[16,32] fusion_floor=16"] ...
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

import samspl
from samspl.backends import Backend, open_backend
from samspl.checkpoint import Checkpoint, write_checkpoint
from samspl.errors import ConfigError
from samspl.preprocess import Preprocess

REST, WARM_UP = 0.05, 3
"""Seconds and calls before the one that is timed."""


def read_form(words: str) -> dict[str, Any]:
    """`field=value field=value` as fields of the configuration; values as in YAML."""
    return {name: yaml.safe_load(value) for name, value in (word.split("=", 1) for word in words.split())}


def open_all(folder: Path, backend: str, threads: int, forms: list[str]) -> dict[str, Backend]:
    torch.manual_seed(0)
    opened = {}
    for number, name in enumerate(("spl_t", "nano", *forms)):
        model = samspl.create_model("nano", **read_form(name)) if name in forms else samspl.create_model(name)
        path = folder / f"{number}.safetensors"
        write_checkpoint(path, Checkpoint(model.config, model.state_dict(), Preprocess()))
        opened[name] = open_backend(path, backend, "cpu", threads)
    return opened


def time_rounds(networks: dict[str, Backend], frame: np.ndarray, rounds: int) -> dict[str, float]:
    """Medians in ms, one call of each network a round."""
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(rounds):
        for name, network in networks.items():
            # The other networks have emptied the caches, and their threads wait on the cores for a while.
            time.sleep(REST)
            for _ in range(WARM_UP):
                network(frame)
            start = time.perf_counter()
            network(frame)
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) * 1e3 for name, times in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--form", action="append", default=[], help="fields of nano that differ")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    frame = np.random.default_rng(0).standard_normal((1, 3, args.size, args.size)).astype(np.float32)
    print(f"{args.size} x {args.size}, batch 1, {args.threads} threads, medians of {args.rounds} rounds")
    for backend in ("torch", "onnx", "openvino"):
        with tempfile.TemporaryDirectory() as folder:
            try:
                networks = open_all(
                    Path(folder), backend, args.threads, args.form if backend == "torch" else []
                )
            except ConfigError as err:
                print(f"{backend}: {err}")
                continue
            ms = time_rounds(networks, frame, args.rounds)
        for name in list(ms)[1:]:
            large, small = ms["spl_t"], ms[name]
            print(
                f"{backend:<9} spl_t {large:7.1f} ms   {small:6.1f} ms   share {small / large:.3f}   {name}"
            )


if __name__ == "__main__":
    main()
