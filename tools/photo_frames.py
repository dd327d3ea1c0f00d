"""Make grey frames without targets of photographs, to train against false alarms.

A photograph is no thermal image, but its edges, lights and textures are what a network that has seen few backgrounds
takes for targets. Each one is brought to two sizes and shown as it is and inverted, since what is bright in the visible
may well be dark in the infrared. The result is a data set in the standard layout whose masks are empty.

Run: ``python tools/photo_frames.py ROOT configs/trials/nano_15_photographs.txt --out DIR/Photographs``
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from samspl.imaging import write_image

SHORTER_SIDES_PX = (300, 540)
"""Of the frames; a photograph is never enlarged, and two sizes that would be nearly the same are one."""
_LEAST_RATIO = 1.3
"""Of two sizes."""
_BLUR_PX = 0.5
"""Photographs are sharper than thermal frames."""
_BEHIND = 128
"""Grey level where a photograph is transparent."""


def read_grey(path: Path) -> Image.Image:
    """A photograph as 8-bit grey, transparent parts filled."""
    image = Image.open(path).convert("RGBA")
    behind = Image.new("RGBA", image.size, (_BEHIND, _BEHIND, _BEHIND, 255))
    return Image.alpha_composite(behind, image).convert("L")


def frames_of(image: Image.Image) -> list[np.ndarray]:
    """(H, W) uint8 frames of one photograph: two sizes, or one where it is small, each as it is and inverted."""
    shorter = min(image.size)
    sides = sorted({min(side, shorter) for side in SHORTER_SIDES_PX})
    if len(sides) == 2 and sides[1] < _LEAST_RATIO * sides[0]:
        del sides[0]
    frames = []
    for side in sides:
        size = (round(image.width * side / shorter), round(image.height * side / shorter))
        grey = np.asarray(image.resize(size, Image.Resampling.LANCZOS), np.float32)
        frame = np.rint(ndimage.gaussian_filter(grey, _BLUR_PX)).clip(0, 255).astype(np.uint8)
        frames += [frame, 255 - frame]
    return frames


def main() -> None:
    """Write frames, empty masks and a list."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("root", type=Path, help="folder that the listed paths are relative to")
    parser.add_argument("list", type=Path, help="text file, one path a line; # begins a comment")
    parser.add_argument("--out", type=Path, required=True, help="folder of the data set; must not exist")
    args = parser.parse_args()
    lines = (line.split("#")[0].strip() for line in args.list.read_text().splitlines())
    paths = [line for line in lines if line]
    if args.out.exists():
        parser.error(f"{args.out} exists; choose another --out, or remove it")
    if missing := [path for path in paths if not (args.root / path).is_file()]:
        parser.error(
            f"{len(missing)} of {len(paths)} photographs are not in {args.root}, such as {missing[0]}"
        )
    ids = []
    for number, path in enumerate(paths):
        for index, frame in enumerate(frames_of(read_grey(args.root / path))):
            ids.append(f"{number:03d}_{index}")
            write_image(args.out / "images" / f"{ids[-1]}.png", frame)
            write_image(args.out / "masks" / f"{ids[-1]}.png", np.zeros(frame.shape, bool))
    (args.out / "train.txt").write_text("".join(f"{name}\n" for name in ids))
    print(f"{len(ids)} frames of {len(paths)} photographs in {args.out}")


if __name__ == "__main__":
    main()
