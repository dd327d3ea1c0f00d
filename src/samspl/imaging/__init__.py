"""Image files to arrays and back, at the depth they are stored in: PNG, JPEG, BMP, TIFF and NPY.

Infrared frames are often 16-bit, which Pillow's ``convert("L")`` saturates; nothing here narrows a type. The
format is told by content, not by suffix. No global setting of Pillow is changed, so that every function may
run in many threads. EXIF orientation is ignored: results refer to pixels as stored.
"""

from samspl.imaging.decoders import MAX_PIXELS as MAX_PIXELS
from samspl.imaging.grey import to_grey as to_grey
from samspl.imaging.reading import IMAGE_SUFFIXES as IMAGE_SUFFIXES
from samspl.imaging.reading import Page as Page
from samspl.imaging.reading import read_image as read_image
from samspl.imaging.reading import read_mask as read_mask
from samspl.imaging.reading import read_pages as read_pages
from samspl.imaging.resizing import nearest_index as nearest_index
from samspl.imaging.resizing import resize as resize
from samspl.imaging.resizing import resize_region as resize_region
from samspl.imaging.writing import write_bytes as write_bytes
from samspl.imaging.writing import write_image as write_image
