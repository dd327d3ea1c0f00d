"""From uploaded files to what is kept for a visitor; every file that cannot be used becomes a sentence."""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import BmpImagePlugin, JpegImagePlugin, PngImagePlugin

from samspl.errors import ImageError
from samspl.imaging import read_image, read_pages
from samspl.inference.detector import Detector
from samspl.web.files import unique_names
from samspl.web.scenes import Recipe
from samspl.web.sessions import MAX_PIXELS, Kept
from samspl.web.uploads import delete_upload

MAX_IMAGES = 200
"""At once, pages of TIFF files counted singly."""
MAX_SAMPLES = 4 * MAX_PIXELS
"""Of one image, every colour of a pixel counted: what reading it may take."""

Progress = Callable[[int, int], None]
"""Called with the number of images done and of all."""


@dataclass(frozen=True)
class Upload:
    """A file that came in."""

    path: Path
    """Where it lies now."""
    name: str
    """What the visitor calls it."""


@dataclass(frozen=True, eq=False)
class Frame:
    """An image to look for targets in."""

    name: str
    """Shown; the stems of all differ."""
    image: np.ndarray
    """(H, W), grey, type as stored."""


def read_uploads(uploads: Sequence[Upload]) -> tuple[list[Frame], list[str]]:
    """Read files, and delete them.

    Returns:
        The images, a TIFF's pages singly, and a sentence for each file or page that cannot be used. Names are those
        that the visitor gave, never where a file lies here.
    """
    named: list[tuple[str, np.ndarray]] = []
    problems: list[str] = []
    pixels = 0
    for upload in uploads:
        try:
            for name, image in _images_of(upload):
                if isinstance(image, str):
                    problems.append(image)
                    continue
                pixels += image.size
                if len(named) == MAX_IMAGES:
                    raise ImageError(
                        f"only the first {MAX_IMAGES} images were taken; use samspl predict for more"
                    )
                if pixels > MAX_PIXELS:
                    raise ImageError(_too_large(name, image.shape[1], image.shape[0]))
                named.append((name, image))
        except ImageError as err:
            problems.append(str(err))
            if pixels > MAX_PIXELS or len(named) == MAX_IMAGES:
                break
        finally:
            delete_upload(upload.path)
    for upload in uploads:  # those that were not reached
        delete_upload(upload.path)
    names = unique_names(name for name, _ in named)
    return [Frame(n, image) for n, (_, image) in zip(names, named, strict=True)], problems


def read_sample(recipe: Recipe) -> Frame:
    """One of the package's scenes."""
    return Frame(recipe.path.name, read_image(recipe.path))


def detect(
    detector: Detector, frames: Sequence[Frame], progress: Progress = lambda done, total: None
) -> tuple[list[Kept], list[str]]:
    """Run the network once on each image.

    Returns:
        What is kept, and a sentence for each image that the network cannot use.
    """
    kept: list[Kept] = []
    problems: list[str] = []
    for done, frame in enumerate(frames):
        progress(done, len(frames))
        try:
            kept.append(Kept(frame.name, frame.image, detector.detect(frame.image, frame.name).prob))
        except ImageError as err:
            problems.append(str(err))
    return kept, problems


def _images_of(upload: Upload) -> Iterator[tuple[str, np.ndarray | str]]:
    """Name and image, or sentence, of each page of a file.

    Raises:
        ImageError: if the file cannot be read.
    """
    if not upload.path.is_file():
        raise ImageError(f"{upload.name} is not here any more: an upload is read once; choose it again")
    name = Path(upload.name)
    width, height, samples = _size_in_header(upload.path)
    if width * height > MAX_PIXELS or width * height * samples > MAX_SAMPLES:
        raise ImageError(_too_large(upload.name, width, height))
    try:
        for page in read_pages(upload.path):
            if isinstance(page.image, ImageError):
                yield upload.name, str(page.image).replace(str(upload.path), upload.name)
            else:
                number = "" if page.count == 1 else f"_{page.index:04d}"
                yield f"{name.stem}{number}{name.suffix}", page.image
    except ImageError as err:
        raise ImageError(str(err).replace(str(upload.path), upload.name)) from err


def _size_in_header(path: Path) -> tuple[int, int, int]:
    """Width, height and samples a pixel of the largest image in a file, so that a small file of many pixels is refused
    before memory is asked for; zeros where the header cannot be read, which the reader then puts into words."""
    # readers raise nearly anything for what is not theirs, or damaged
    sizes: list[tuple[int, int, int]] = []
    with contextlib.suppress(Exception), tifffile.TiffFile(path) as tiff:
        for index in range(len(tiff.pages)):
            with contextlib.suppress(Exception):  # a damaged page must not hide the size of the others
                page = tiff.pages[index].aspage()
                sizes.append((page.imagewidth, page.imagelength, page.samplesperpixel * page.imagedepth))
    if sizes:
        return max(sizes, key=math.prod)
    for plugin in (PngImagePlugin.PngImageFile, JpegImagePlugin.JpegImageFile, BmpImagePlugin.BmpImageFile):
        with contextlib.suppress(Exception), path.open("rb") as file:
            image = plugin(file)
            return *image.size, len(image.getbands())
    return 0, 0, 0


def _too_large(name: str, width: int, height: int) -> str:
    side = math.isqrt(MAX_PIXELS)
    return (
        f"{name}: image is {width}x{height}; all images together may have {MAX_PIXELS} pixels ({side}x{side}) here, "
        "use samspl predict for larger ones"
    )
