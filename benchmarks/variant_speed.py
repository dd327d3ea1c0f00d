"""What share of spl_t's time nano takes, each in every backend, rounds interleaved; and other forms of nano, in torch.

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


def read_form(words: str) -> dict[str, Any]:
    """`field=value field=value` as fields of the configuration; values as in YAML."""
    return {name: yaml.safe_load(value) for name, value in (word.split("=", 1) for word in words.split())}


def open_all(folder: Path, threads: int, forms: list[str]) -> dict[tuple[str, str], Backend]:
    torch.manual_seed(0)
    backends = {}
    for number, name in enumerate(("spl_t", "nano", *forms)):
        is_form = name in forms
        model = samspl.create_model("nano", **read_form(name)) if is_form else samspl.create_model(name)
        path = folder / f"{number}.safetensors"
        write_checkpoint(path, Checkpoint(model.config, model.state_dict(), Preprocess()))
        for backend in ("torch",) if is_form else ("torch", "onnx", "openvino"):
            try:
                backends[backend, name] = open_backend(path, backend, "cpu", threads)
            except ConfigError as err:
                print(f"{backend}: {err}")
    return backends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--form", action="append", default=[], help="fields of nano that differ")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    frame = np.random.default_rng(0).standard_normal((1, 3, args.size, args.size)).astype(np.float32)
    seconds: dict[tuple[str, str], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        backends = open_all(Path(folder), args.threads, args.form)
        for round_index in range(args.rounds + 2):
            for key, backend in backends.items():
                backend(frame)  # the other networks have emptied the processor's caches
                start = time.perf_counter()
                backend(frame)
                if round_index >= 2:
                    seconds.setdefault(key, []).append(time.perf_counter() - start)
    print(f"{args.size} x {args.size}, batch 1, {args.threads} threads, medians of {args.rounds} rounds")
    ms = {key: statistics.median(times) * 1e3 for key, times in seconds.items()}
    for backend, name in ms:
        if name != "spl_t":
            large, small = ms[backend, "spl_t"], ms[backend, name]
            print(
                f"{backend:<9} spl_t {large:7.1f} ms   {small:6.1f} ms   share {small / large:.3f}   {name}"
            )


if __name__ == "__main__":
    main()
