"""How far masks lie from the targets they mark: centroid of brightness less that of the mask, medians by target size.

python benchmarks/mask_offset.py --data-path datasets [--datasets NUDT-SIRST,NUAA-SIRST]
"""

import argparse
from collections.abc import Iterator

import numpy as np
from scipy import ndimage

from samspl.data.dataset import open_dataset

SIZES = ((1, 9), (10, 20), (21, 45), (46, 1000))
AROUND_PX = 4


def offsets(name: str, data_path: str) -> Iterator[tuple[int, float, float]]:
    """Area, and offset right and down in pixels, of each bright target of the train list away from the border."""
    dataset = open_dataset(name, data_path, "train")
    for index in range(len(dataset)):
        pair = dataset.pair(index)
        image = pair.image.astype(np.float64)
        labels, _ = ndimage.label(pair.mask, np.ones((3, 3)))
        for number, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
            top, left = rows.start - AROUND_PX, columns.start - AROUND_PX
            bottom, right = rows.stop + AROUND_PX, columns.stop + AROUND_PX
            if min(top, left) < 0 or bottom > image.shape[0] or right > image.shape[1]:
                continue
            values, target = image[top:bottom, left:right], (labels == number)[top:bottom, left:right]
            ground = np.median(values[~target])
            contrast = values[target].max() - ground
            if contrast < 20:
                continue
            bright = np.clip(values - ground - 0.3 * contrast, 0, None)
            bright *= ndimage.binary_dilation(target, iterations=2)
            (y, x), (mask_y, mask_x) = ndimage.center_of_mass(bright), ndimage.center_of_mass(target)
            yield int(target.sum()), x - mask_x, y - mask_y


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-path", required=True)
    parser.add_argument("--datasets", default="NUDT-SIRST,NUAA-SIRST")
    args = parser.parse_args()
    for name in args.datasets.split(","):
        found = np.array(list(offsets(name, args.data_path)))
        for least, most in SIZES:
            part = found[(found[:, 0] >= least) & (found[:, 0] <= most)]
            x, y = np.median(part[:, 1:], 0)
            print(
                f"{name}: {least:>2} to {most:>4} px, {len(part):>3} targets: {x:+.2f} right, {y:+.2f} down (medians)"
            )


if __name__ == "__main__":
    main()
