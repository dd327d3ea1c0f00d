"""TIFF of one or many pages, whole pages only: tifffile alone fills what a truncated file lacks with zeros."""

import logging
from typing import BinaryIO

import numpy as np
import tifffile

from samspl.errors import ImageError
from samspl.imaging.decoders import bytes_of, check_size, decode_pillow

# tifffile logs what it finds wrong in a file before it raises; said once, by the error, is enough. An
# application that configures logging still gets these lines.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def find_pages(tiff: tifffile.TiffFile) -> list[int]:
    """Which pages are images: not the reduced copies (overviews, thumbnails) and masks that go with them.

    The first page is one in any case.
    """
    pages = (page.aspage() for page in tiff.pages)
    found = [i for i, page in enumerate(pages) if not (page.is_reduced or page.is_mask)]
    return found or [0]


def decode_page(tiff: tifffile.TiffFile, file: BinaryIO, index: int) -> np.ndarray:
    """One page as stored, (H, W) or (H, W, C).

    Args:
        tiff: The file, opened.
        file: The same, for what tifffile cannot decompress.
        index: Of the page, as they stand in the file.
    Raises:
        ImageError: for a page that is too large, truncated, a volume, or cannot be read without loss.
    """
    page = tiff.pages[index].aspage()
    check_size(page.imagewidth, page.imagelength)
    if page.imagedepth > 1:
        raise ImageError(f"TIFF holds a volume of {page.imagedepth} layers; expected a flat image")
    segments = list(zip(page.dataoffsets, page.databytecounts, strict=False))
    size = bytes_of(file)
    if not segments or not all(start > 0 and 0 < count <= size - start for start, count in segments):
        raise ImageError("TIFF is truncated: its pixels lie beyond its end; copy or export it again")
    depth, channels, photometric = page.bitspersample, page.samplesperpixel, page.photometric
    try:
        image = page.asarray()
    except ValueError as err:
        # LZW and the like need imagecodecs; Pillow reads them too, colours of 8 bits alone without loss
        if "imagecodecs" not in str(err) and "requires" not in str(err):
            raise
        if channels > 1 and depth > 8:
            raise ImageError(
                f"TIFF has {depth}-bit colour with compression {page.compression!r}; install imagecodecs "
                "or save it uncompressed"
            ) from err
        position = file.tell()
        file.seek(0)
        image = decode_pillow(file, "TIFF", index)
        file.seek(position)
        return image
    if page.axes.startswith("S"):
        image = np.moveaxis(image, 0, -1)  # (H, W, C)
    if photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
        colours = np.moveaxis(page.colormap, 0, -1)[image]  # (H, W, 3) uint16
        return (colours >> 8).astype(np.uint8) if depth <= 8 else colours
    if depth == 1:
        image = image.astype(bool)
    if photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        image = ~image if image.dtype.kind in "bu" else -image
    return image
