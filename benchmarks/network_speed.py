"""Speed of the network as efficiency: its arithmetic over its time, over the matrix-multiply rate of the same run.

    python benchmarks/network_speed.py [--variant spl_t] [--size 256] [--threads 2] [--rounds 15]

Absolute times mean little on shared machines. Each round times a 2048^3 fp32 matrix multiply and then every form of the
network, so that all see the same machine; medians are printed, and the largest difference of the logits from the plain
form. The arithmetic counts every multiply-add as two, window padding included, as the published count does.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

import samspl

GFLOP_AT_256 = {"spl_t": 2 * 14.97, "spl_s": 2 * 21.58}
"""Published multiply-adds at 256 x 256, times two."""
MATMUL_SIDE = 2048


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--variant", choices=sorted(GFLOP_AT_256), default="spl_t")
    parser.add_argument(
        "--size", type=int, default=256, help="side of the image; arithmetic is scaled by its area"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    model = samspl.create_model(args.variant).eval()
    images = torch.randn(1, 3, args.size, args.size)
    a, b = torch.randn(2, MATMUL_SIDE, MATMUL_SIDE)
    gflop = GFLOP_AT_256[args.variant] * (args.size / 256) ** 2

    forms: dict[str, Callable[[], object]] = {"eager fp32": lambda: model(images)}
    times: dict[str, list[float]] = {name: [] for name in ("matmul", *forms)}
    with torch.inference_mode():
        for round_index in range(args.rounds + 2):
            done = {"matmul": seconds(lambda: a @ b), **{name: seconds(run) for name, run in forms.items()}}
            if round_index >= 2:  # the first two warm up
                for name, value in done.items():
                    times[name].append(value)
        # the same network in double precision says how far rounding leads
        exact = model.double()(images.double())[0]
        difference = float((model.float()(images)[0] - exact).abs().max())

    rate = 2 * MATMUL_SIDE**3 / 1e9 / statistics.median(times["matmul"])
    print(f"{args.variant} at {args.size} x {args.size}, batch 1, {args.threads} threads, {gflop:.1f} GFLOP")
    print(f"matrix multiply {MATMUL_SIDE}^3: {rate:.0f} GFLOP/s (median of {args.rounds})")
    print(f"{'form':<12} {'median ms':>10} {'min ms':>8} {'efficiency':>11} {'best':>6}  largest difference")
    for name in forms:
        median, least = statistics.median(times[name]), min(times[name])
        best = gflop / least / (2 * MATMUL_SIDE**3 / 1e9 / min(times["matmul"]))
        print(
            f"{name:<12} {median * 1e3:>10.1f} {least * 1e3:>8.1f} {gflop / median / rate:>11.2f} {best:>6.2f}  "
            f"{difference:.1e} from float64"
        )


if __name__ == "__main__":
    main()
