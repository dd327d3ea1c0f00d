"""What tiles cost and what they change: memory and time over the size of a frame, accuracy against whole frames.

    python benchmarks/tiling.py [--sizes 1024,2048,4096,8192] [--weights FILE] [--tile auto]
    python benchmarks/tiling.py --accuracy --weights FILE --dataset NUDT-SIRST --data-path ../shared/data

The first writes a 16-bit TIFF of each size and runs a detector on it in a process of its own; without weights it is a
random network narrow enough to be quick, which takes less memory in a tile than a real one. Memory is the process's
peak less the frame itself: all else counts, Python and torch among it. Time for each pixel should not grow.

The second scores frames of 1024 x 1024 at native scale, whole and in tiles, under the strict profile: mosaics of the
images that a checkpoint was validated on, or (`--dataset synthetic`) drawn scenes of one background each.
"""

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from samspl.checkpoint import Checkpoint

NARROW = {
    "embed_dim": 16,
    "stages": (1, 2, 2),
    "global_blocks": (4,),
    "width": 32,
    "mlp_width": 48,
    "attention_floor": 4,
    "squeeze_floor": 2,
}


def peak_bytes() -> int:
    """Most memory that this process has held; not its parent's, which getrusage mixes in."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this system does not tell the peak memory of a process")


def write_frame(path: Path, side: int) -> None:
    """16-bit noise with bright spots, in bands, so that little memory is taken."""
    import tifffile

    rng = np.random.default_rng(0)
    frame = np.empty((side, side), np.uint16)
    for top in range(0, side, 256):
        frame[top : top + 256] = rng.normal(20000, 300, (min(256, side - top), side))
    frame[100::200, 100::200] += 9000
    tifffile.imwrite(path, frame)


def write_narrow_weights(path: Path) -> None:
    import torch

    from samspl.checkpoint import Checkpoint, write_checkpoint
    from samspl.config import ModelConfig
    from samspl.models.network import SAMSPL
    from samspl.preprocess import Preprocess

    torch.manual_seed(0)
    model = SAMSPL(ModelConfig(**NARROW)).eval()
    with torch.inference_mode():  # few pixels are to be targets, as in life
        logits = model(torch.randn(1, 1, 448, 448).expand(-1, 3, -1, -1))[0]
        model.heads[-1].bias -= torch.quantile(logits.flatten()[::2], 0.9999)
    write_checkpoint(path, Checkpoint(model.config, model.state_dict(), Preprocess(normalise="frame")))


def run_child(frame: Path, weights: str, tile: str, saves: bool) -> None:
    """Detect once and print figures as JSON."""
    import torch

    from samspl import Detector
    from samspl.imaging import read_image

    torch.set_num_threads(1)
    detect = Detector(weights, "cpu", tile=tile if tile == "auto" else int(tile))
    detect(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8))
    loaded = peak_bytes()
    image = read_image(frame)
    start = time.perf_counter()
    result = detect.detect(image, frame.name)
    seconds = time.perf_counter() - start
    detected = peak_bytes()
    if saves:
        result.save(frame.parent / "out", ["mask", "prob", "overlay", "json"])
    figures = {
        "frame": image.nbytes,
        "loaded": loaded,
        "detected": detected,
        "saved": peak_bytes(),
        "seconds": seconds,
        "targets": len(result.targets),
    }
    print(json.dumps(figures))


def measure_cost(sizes: list[int], weights: str | None, tile: str, saves: bool) -> None:
    print(
        f"{'frame':>12} {'loaded MB':>10} {'detected MB':>12} {'saved MB':>9} {'us/px':>7} {'targets':>8}",
        end="",
    )
    print(
        "   (peak less the frame; saved: mask, overlay, prob and json too)"
        if saves
        else "   (peak less the frame)"
    )
    with tempfile.TemporaryDirectory() as folder:
        if weights is None:
            weights = str(Path(folder) / "narrow.safetensors")
            write_narrow_weights(Path(weights))
        for side in sizes:
            frame = Path(folder) / f"{side}.tiff"
            write_frame(frame, side)
            command = [sys.executable, __file__, "--child", str(frame), "--weights", weights, "--tile", tile]
            output = subprocess.run(
                [*command, *(["--save"] if saves else [])], check=True, capture_output=True, text=True
            )
            figures = json.loads(output.stdout)
            own = [
                (figures[key] - (0 if key == "loaded" else figures["frame"])) / 1e6
                for key in ("loaded", "detected", "saved")
            ]
            print(
                f"{side:>6}x{side:<5} {own[0]:>10.0f} {own[1]:>12.0f} {own[2]:>9.0f} "
                f"{figures['seconds'] / side**2 * 1e6:>7.2f} {figures['targets']:>8}",
                flush=True,
            )
            frame.unlink()


FRAME_SIDE = 1024
"""Of the frames that are scored whole and in tiles."""


def lay_mosaics(
    dataset: str, data_path: str, split: str, checkpoint: "Checkpoint", count: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Frames and masks of as many images as fit, laid side by side."""
    from samspl.data.dataset import open_dataset
    from samspl.preprocess import Preprocess

    pairs = open_dataset(dataset, data_path, "train" if split == "val" else split)
    known = {image_id: i for i, image_id in enumerate(pairs.ids)}
    held_out = checkpoint.record.get("validation_ids", ())
    held_out = held_out[dataset] if isinstance(held_out, dict) else held_out
    ids = held_out if split == "val" else pairs.ids
    height, width = pairs.read(known[ids[0]]).image.shape
    down, across = FRAME_SIDE // height, FRAME_SIDE // width
    frames = []
    for k in range(min(count, len(ids) // (down * across))):
        parts = [pairs.read(known[i]) for i in ids[k * down * across : (k + 1) * down * across]]
        images, masks = [part.image for part in parts], [part.mask for part in parts]
        if checkpoint.preprocess is not None and checkpoint.preprocess.normalise == "frame":
            # one scene has one sky: without this the brightest image would set the statistics of all
            images = [Preprocess(normalise="frame").to_byte_range(image) for image in images]
        image, mask = (
            np.block([cells[row * across : (row + 1) * across] for row in range(down)])
            for cells in (images, masks)
        )
        frames.append((image, mask))
    return frames


def draw_frames(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Large synthetic scenes, each of one background."""
    from samspl.data.synthetic import draw_scene

    scenes = [
        draw_scene(np.random.default_rng([5, k]), (FRAME_SIDE, FRAME_SIDE), 16, target_count=24)
        for k in range(count)
    ]
    return [(scene.image, scene.mask) for scene in scenes]


def measure_accuracy(
    weights: str, dataset: str, data_path: str, split: str, tiles: list[int], count: int
) -> None:
    from samspl import Detector
    from samspl.checkpoint import read_checkpoint
    from samspl.metrics import score

    checkpoint = read_checkpoint(weights)
    if dataset == "synthetic":
        frames = draw_frames(count)
    else:
        frames = lay_mosaics(dataset, data_path, split, checkpoint, count)
    native = dataclasses.replace(checkpoint.preprocess, image_size=None)
    print(
        f"{len(frames)} frames of {FRAME_SIDE}x{FRAME_SIDE} of {dataset}, strict, threshold {checkpoint.threshold}"
    )
    print(f"{'tile':>6} {'IoU %':>7} {'Pd %':>7} {'Fa 1e-6':>9} {'seconds':>8}")
    for tile in (FRAME_SIDE, *tiles):
        detect = Detector(weights, "cpu", preprocess=native, tile=tile)
        start = time.perf_counter()
        found = [detect(image).mask for image, _ in frames]
        seconds = time.perf_counter() - start
        scores = score(found, [mask for _, mask in frames], profile="strict")
        name = "whole" if tile == FRAME_SIDE else str(tile)
        print(
            f"{name:>6} {100 * scores.iou:>7.2f} {100 * scores.pd:>7.2f} {1e6 * scores.fa:>9.2f} {seconds:>8.1f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="1024,2048,4096,8192", help="sides of the frames")
    parser.add_argument("--weights", help="default: a narrow random network (not for --accuracy)")
    parser.add_argument("--tile", default="auto", help="auto or a multiple of 32")
    parser.add_argument("--save", action="store_true", help="count the memory of saving results too")
    parser.add_argument("--accuracy", action="store_true", help="score whole against tiles")
    parser.add_argument("--dataset", default="NUDT-SIRST", help="or synthetic: large scenes are drawn")
    parser.add_argument("--data-path", default="../shared/data")
    parser.add_argument("--split", default="val", help="val: the images that the checkpoint was validated on")
    parser.add_argument("--tiles", default="256,448", help="sides to compare with the whole")
    parser.add_argument("--frames", type=int, default=8, help="how many frames are scored")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        run_child(Path(args.child), args.weights, args.tile, args.save)
    elif args.accuracy:
        if args.weights is None:
            parser.error("--accuracy needs --weights")
        tiles = [int(tile) for tile in args.tiles.split(",")]
        measure_accuracy(args.weights, args.dataset, args.data_path, args.split, tiles, args.frames)
    else:
        measure_cost([int(side) for side in args.sizes.split(",")], args.weights, args.tile, args.save)


if __name__ == "__main__":
    main()
