"""Loading speed: the published IRSTD-1k training pipeline the plain way against `samspl.data`.

    python benchmarks/data_loading.py --crops ../shared/data/IRSTD-1k-targets [--json FILE]

Frames are synthetic (512 x 512, noise over a gradient, as PNG), crops are the real ones of the folder given.
The plain way takes Pillow for every step on one grey channel (three, as in the published code, would be
slower): open two PNGs, mirror, resize the whole, pad, crop, blur, open two PNGs for every paste, normalise.
Both ways make the same draws, so that they do the same work, and their results are compared. Ours has its
cache filled, as in every epoch but the first.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps
from torch.utils.data import DataLoader, Dataset

from samspl.data.copy_paste import MAX_PASTES, build_augmentation, load_crops
from samspl.data.dataset import InfraredDataset
from samspl.data.loaders import TrainSet, make_train_loader
from samspl.data.specs import get_spec
from samspl.data.splits import find_split
from samspl.imaging import write_image

SIZE = 512
SEED = 2727
STAGES = ("mirror", "scale and crop", "blur", "paste")


def write_frames(root: Path, count: int) -> None:
    """A data set in the standard layout: noisy gradients with one target each."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(40, 140, SIZE)[:, None]
    for index in range(count):
        mask = np.zeros((SIZE, SIZE), bool)
        mask[100 : 100 + index % 7 + 1, 200:205] = True
        frame = np.clip(ramp + rng.normal(0, 3, (SIZE, SIZE)) + 60 * mask, 0, 255).astype(np.uint8)
        write_image(root / "images" / f"{index}.png", frame)
        write_image(root / "masks" / f"{index}.png", mask)
    (root / "train.txt").write_text("\n".join(map(str, range(count))))


class PlainSet(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """The pipeline with Pillow alone; draws as `samspl.data.transforms` does."""

    def __init__(self, root: Path, count: int, crop_folder: Path, mean: float, std: float) -> None:
        self.root, self.count, self.crop_folder = root, count, crop_folder
        self.crop_names = sorted(path.name for path in (crop_folder / "Target_image").iterdir())
        self.mean, self.std = np.float32(mean), np.float32(std)
        self.epoch = 0

    def __len__(self) -> int:
        return self.count

    def decode(self, index: int) -> tuple[Any, Any]:
        name = f"{index}.png"
        image = Image.open(self.root / "images" / name).convert("L")
        return image, Image.open(self.root / "masks" / name).convert("L")

    def mirror(self, image: Any, mask: Any, rng: np.random.Generator) -> tuple[Any, Any]:
        if rng.random() < 0.5:
            return ImageOps.mirror(image), ImageOps.mirror(mask)
        return image, mask

    def scale_crop(self, image: Any, mask: Any, rng: np.random.Generator) -> tuple[Any, Any]:
        side = int(rng.integers(SIZE // 2, 2 * SIZE, endpoint=True))
        left = int(rng.integers(0, max(side - SIZE, 0), endpoint=True))
        top = int(rng.integers(0, max(side - SIZE, 0), endpoint=True))
        image = image.resize((side, side), Image.Resampling.BILINEAR)
        mask = mask.resize((side, side), Image.Resampling.NEAREST)
        if side < SIZE:
            image = ImageOps.expand(image, (0, 0, SIZE - side, SIZE - side), 0)
            mask = ImageOps.expand(mask, (0, 0, SIZE - side, SIZE - side), 0)
        box = (left, top, left + SIZE, top + SIZE)
        return image.crop(box), mask.crop(box)

    def blur(self, image: Any, mask: Any, rng: np.random.Generator) -> tuple[Any, Any]:
        applies, radius = rng.random() < 0.5, rng.random()
        return (image.filter(ImageFilter.GaussianBlur(radius)) if applies else image), mask

    def paste(self, image: Any, mask: Any, rng: np.random.Generator) -> tuple[Any, Any]:
        if rng.random() >= 0.5:
            return image, mask
        count = int(rng.integers(1, MAX_PASTES, endpoint=True))
        chosen, tops, lefts = (rng.integers(0, n, count) for n in (len(self.crop_names), SIZE, SIZE))
        for index, top, left in zip(chosen, tops, lefts, strict=True):
            name = self.crop_names[index]
            image.paste(Image.open(self.crop_folder / "Target_image" / name).convert("L"), (left, top))
            mask.paste(Image.open(self.crop_folder / "Target_mask" / name).convert("L"), (left, top))
        return image, mask

    def to_tensors(self, image: Any, mask: Any) -> tuple[torch.Tensor, torch.Tensor]:
        grey = (np.asarray(image, np.float32) - self.mean) / self.std
        gt_mask = (np.asarray(mask) >= 127).astype(np.float32)
        return torch.from_numpy(np.repeat(grey[None], 3, axis=0)), torch.from_numpy(gt_mask[None])

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng([SEED, self.epoch, index])
        image, mask = self.decode(index)
        for stage in (self.mirror, self.scale_crop, self.blur, self.paste):
            image, mask = stage(image, mask, rng)
        return self.to_tensors(image, mask)


def stage_seconds(
    start: Callable[[int], tuple[Any, Any]], stages: list[Any], finish: Callable, count: int, epoch: int
) -> dict[str, float]:
    """Mean seconds a sample of each stage, over one epoch."""
    times: dict[str, list[float]] = defaultdict(list)
    for index in range(count):
        rng = np.random.default_rng([SEED, epoch, index])
        marks = [time.perf_counter()]
        image, mask = start(index)
        marks.append(time.perf_counter())
        for stage in stages:
            image, mask = stage(image, mask, rng)
            marks.append(time.perf_counter())
        finish(image, mask)
        marks.append(time.perf_counter())
        for name, seconds in zip(("decode", *STAGES, "to tensor"), np.diff(marks), strict=True):
            times[name].append(float(seconds))
    return {name: statistics.fmean(values) for name, values in times.items()}


def epoch_seconds(samples: Any, count: int) -> float:
    """Mean seconds a sample of one pass."""
    start = time.perf_counter()
    for _ in samples:
        pass
    return (time.perf_counter() - start) / count


def measure(root: Path, crop_folder: Path, count: int, repeats: int) -> dict[str, dict[str, float]]:
    """Milliseconds a sample, medians over epochs; both ways do the same epochs in turn."""
    spec = get_spec("IRSTD-1k")
    preprocess = spec.preprocess()
    crops = load_crops(crop_folder, spec, preprocess)
    if not crops:
        raise SystemExit(
            f"{crop_folder} holds no Target_image and Target_mask; give their folder with --crops"
        )
    dataset = InfraredDataset(spec, root, find_split(root, spec, "train"))
    augmentation = build_augmentation(spec, SIZE, crops)
    ours = TrainSet(dataset, preprocess, SEED, augmentation)
    plain = PlainSet(root, count, crop_folder, spec.mean[0], spec.std[0])

    grey_step = 1 / spec.std[0]
    worst = max(float((ours[i].image - plain[i][0]).abs().max()) for i in range(count))
    masks_equal = all(torch.equal(ours[i].gt_mask, plain[i][1]) for i in range(count))
    print(f"same draws: images within {worst / grey_step:.2f} grey levels, masks equal: {masks_equal}")

    loaders = {
        "plain": DataLoader(plain, batch_size=12, num_workers=1, persistent_workers=True),
        "samspl": make_train_loader([ours], batch_size=12, seed=SEED, workers=1),
    }
    for loader in loaders.values():
        epoch_seconds(loader, count)  # starts the worker, fills its cache
    plain_stages = [plain.mirror, plain.scale_crop, plain.blur, plain.paste]
    dataset_start = lambda index: (dataset.pair(index).image, dataset.pair(index).mask)  # noqa: E731
    finish = lambda image, mask: (  # noqa: E731
        torch.from_numpy(preprocess.to_channels(image)),
        torch.from_numpy(mask[None].astype(np.float32)),
    )
    for index in range(count):
        dataset.pair(index)
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for epoch in range(1, repeats + 1):
        plain.epoch = epoch
        ours.set_epoch(epoch)
        for way, samples in (("plain", plain), ("samspl", ours)):
            seconds = epoch_seconds((samples[i] for i in range(count)), count)
            found["whole sample, one thread"][way].append(seconds)
            found["whole sample, one worker"][way].append(epoch_seconds(loaders[way], count))
        rows = {
            "plain": stage_seconds(plain.decode, plain_stages, plain.to_tensors, count, epoch),
            "samspl": stage_seconds(dataset_start, list(augmentation.transforms), finish, count, epoch),
        }
        for way, stages in rows.items():
            for stage, seconds in stages.items():
                found[stage][way].append(seconds)
    return {
        stage: {way: 1000 * statistics.median(values) for way, values in ways.items()}
        for stage, ways in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--crops", type=Path, required=True, help="folder of Target_image/ and Target_mask/")
    parser.add_argument("--count", type=int, default=60, help="frames")
    parser.add_argument("--repeats", type=int, default=5, help="epochs; medians are shown")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_frames(Path(folder), args.count)
        found = measure(Path(folder), args.crops, args.count, args.repeats)
    print(f"{'stage (ms a sample)':28} {'plain':>8} {'samspl':>8} {'ratio':>7}")
    for stage, ways in found.items():
        ways["ratio"] = ways["plain"] / ways["samspl"]
        print(f"{stage:28} {ways['plain']:8.3f} {ways['samspl']:8.3f} {ways['ratio']:7.1f}")
    if args.json:
        args.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
