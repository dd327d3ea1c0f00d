"""Where an exported network spends its time: OpenVINO's own clock, by kind of operation.

    python benchmarks/export_speed.py [--variant spl_t | --weights FILE] [--size 256] [--precision fp32] [--threads 2]

`samspl bench` says how fast each backend is; this says why. Shares matter, times do not: the clock itself costs time.
Beside each kind stands its share of the whole; what is neither convolution nor fully connected is moving of data.
"""

import argparse
from collections import defaultdict

import torch

import samspl
from samspl.backends.openvino import import_openvino, to_openvino
from samspl.models.inference import prepare_for_inference

PRODUCTS = ("Convolution", "FullyConnected", "ConvolutionBackpropData", "GroupConvolution", "MatMul")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    network = parser.add_mutually_exclusive_group()
    network.add_argument("--variant", default="spl_t", help="with random weights")
    network.add_argument("--weights", help="weights file or training folder")
    parser.add_argument("--size", type=int, default=256, help="side of the image")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10)
    args = parser.parse_args()
    torch.manual_seed(0)
    model = samspl.load_model(args.weights) if args.weights else samspl.create_model(args.variant).eval()
    graph = to_openvino(prepare_for_inference(model), (args.size, args.size))
    settings = {
        "INFERENCE_NUM_THREADS": args.threads,
        "INFERENCE_PRECISION_HINT": "f32" if args.precision == "fp32" else "bf16",
        "PERFORMANCE_HINT": "LATENCY",
        "PERF_COUNT": True,
    }
    request = import_openvino().Core().compile_model(graph, "CPU", settings).create_infer_request()
    images = torch.randn(1, 3, args.size, args.size).numpy()
    totals: dict[tuple[str, str], float] = defaultdict(float)
    for round_index in range(args.rounds + 2):
        request.infer([images])
        if round_index >= 2:  # the first two warm up
            for node in request.profiling_info:
                totals[node.node_type, node.exec_type] += node.real_time.total_seconds() * 1e3 / args.rounds
    whole = sum(totals.values())
    print(
        f"{args.weights or args.variant} at {args.size} x {args.size}, {args.precision}, {args.threads} threads"
    )
    print(f"{'operation':<26}{'kernel':<26}{'ms':>8}{'share':>8}")
    for (kind, kernel), ms in sorted(totals.items(), key=lambda item: -item[1]):
        if ms > 0.001 * whole:
            print(f"{kind:<26}{kernel:<26}{ms:>8.2f}{100 * ms / whole:>7.1f}%")
    products = 100 * sum(ms for (kind, _), ms in totals.items() if kind in PRODUCTS) / whole
    print(f"\nconvolutions and matrix products {products:.0f} %, everything else {100 - products:.0f} %")


if __name__ == "__main__":
    main()
