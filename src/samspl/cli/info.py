"""`samspl info`: versions, device, threads, cache folder, for bug reports."""

import json
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from jsonargparse import ArgumentParser

NAME = "info"
HELP = "versions, device, threads and folders, for bug reports"
EXAMPLE = "samspl info --json"

PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "pillow",
    "tifffile",
    "safetensors",
    "torchmetrics",
    "pytorch-lightning",
    "onnxruntime",
    "openvino",
    "nncf",
    "av",
    "rasterio",
    "gradio",
    "ray",
)


def add_arguments(parser: ArgumentParser) -> None:
    """Add the options of ``samspl info``."""
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(args: Any) -> int:
    """Print what is known of this installation."""
    import torch

    from samspl import __version__
    from samspl.assets import bundled_weights
    from samspl.backends import resolve_device
    from samspl.cli.common import use_threads
    from samspl.models.download import SAM_CHECKPOINTS, cache_dir

    use_threads(args)
    facts = {
        "samspl": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: _version(name) for name in PACKAGES},
        "device": str(resolve_device(args.device)),
        "cuda": torch.version.cuda,
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "bundled_weights": list(bundled_weights()),
        "cache": str(cache_dir()),
        "cached_weights": [name for name, c in SAM_CHECKPOINTS.items() if (cache_dir() / c.file).is_file()],
    }
    if args.json:
        json.dump(facts, sys.stdout, indent=1)
        print()
    else:
        for name, value in facts.items():
            text = ", ".join(value) if isinstance(value, list) else value
            print(f"{name:<18} {text if text not in (None, '') else '-'}")
    return 0


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
