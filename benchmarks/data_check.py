"""How long `samspl data check` takes: writes synthetic pairs to a temporary folder and checks them.

Scenes are drawn once and written again with other flips and noise, so that every file differs and no image is
cheap to decode. The time is split into reading, which grows with the number of images, and the search for
duplicates, which grows with its square; the 10,000-image figure is measured with `--count 10000` and not
extrapolated.

    python benchmarks/data_check.py --count 10000 --threads 2
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from samspl.data.check import check_dataset
from samspl.data.duplicates import find_duplicates, fingerprint
from samspl.data.synthetic import Scene, draw_scene
from samspl.imaging import read_image, write_image


def write_pairs(root: Path, scenes: list[Scene], count: int) -> None:
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 3, (4, *scenes[0].image.shape), np.uint8)
    ids = [f"{k:06d}" for k in range(count)]
    for k, image_id in enumerate(ids):
        scene = scenes[k % len(scenes)]
        turned = [np.ascontiguousarray(np.rot90(x, k // len(scenes))) for x in (scene.image, scene.mask)]
        shifted = np.roll(turned[0], k, axis=1) // 2 + np.roll(noise[k % 4], k, axis=0)
        write_image(root / f"images/{image_id}.png", shifted)
        write_image(root / f"masks/{image_id}.png", turned[1])
    (root / "train.txt").write_text("\n".join(ids[: count * 4 // 5]))
    (root / "test.txt").write_text("\n".join(ids[count * 4 // 5 :]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=500, help="pairs to write")
    parser.add_argument("--size", type=int, default=512, help="side of the images in pixels")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    size_hw = (arguments.size, arguments.size)
    scenes = [draw_scene(np.random.default_rng(k), size_hw) for k in range(min(arguments.count, 100))]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_pairs(root, scenes, arguments.count)
        start = time.perf_counter()
        report = check_dataset(root, threads=arguments.threads)
        whole = time.perf_counter() - start
        prints = [fingerprint(read_image(path)) for path in sorted((root / "images").iterdir())]
        start = time.perf_counter()
        pairs = find_duplicates(prints)
        search = time.perf_counter() - start
    print(f"{report.images} images of {arguments.size} x {arguments.size}, {arguments.threads} threads")
    print(f"whole check {whole:.1f} s, of it {search:.1f} s for {len(pairs)} pairs of duplicates")
    print(f"reading {(whole - search) / report.images * 1e3:.2f} ms a pair")


if __name__ == "__main__":
    main()
