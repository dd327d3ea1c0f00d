"""A data set and a configuration small enough to train in a second or two."""

from pathlib import Path
from typing import Any

import numpy as np

from samspl.imaging import write_image
from samspl.train_config import TrainConfig

NARROW_MODEL = {
    "embed_dim": 16,
    "stages": [1, 2],
    "global_blocks": [2],
    "window_sizes": [8, 4],
    "width": 16,
    "mlp_width": 16,
    "attention_floor": 4,
    "squeeze_floor": 2,
}
"""Fields of the smallest network: two stages, 0.1 million parameters."""


def write_images(root: Path, count: int = 12, side: int = 32, test_count: int = 4, seed: int = 0) -> Path:
    """Noise with one bright target an image, in the standard layout; `train.txt` and `test.txt`."""
    rng = np.random.default_rng(seed)
    ids = [f"img_{k:02d}" for k in range(count + test_count)]
    for image_id in ids:
        image = rng.integers(60, 90, (side, side)).astype(np.uint8)
        mask = np.zeros((side, side), bool)
        y, x = rng.integers(4, side - 8, 2)
        mask[y : y + 3, x : x + 3] = True
        image[mask] = 220
        write_image(root / "images" / f"{image_id}.png", image)
        write_image(root / "masks" / f"{image_id}.png", mask)
    (root / "train.txt").write_text("".join(f"{i}\n" for i in ids[:count]))
    (root / "test.txt").write_text("".join(f"{i}\n" for i in ids[count:]))
    return root


def tiny_config(root: Path, save_dir: Path, **changes: Any) -> TrainConfig:
    """A run of two epochs of three steps on the data of `write_images`."""
    values: dict[str, Any] = {
        "dataset": str(root),
        "data_path": str(root.parent),
        "sam_weights": None,
        "save_dir": str(save_dir),
        "image_size": 32,
        "batch_size": 4,
        "epochs": 2,
        "device": "cpu",
        "model": NARROW_MODEL,
    }
    return TrainConfig(**{**values, **changes})
