"""Targets of georeferenced TIFF files as GeoJSON (RFC 7946), by rasterio.

RFC 7946 knows one coordinate system, longitude and latitude on WGS 84; the coordinates of the map itself ride along as
properties. A TIFF that does not say where it lies is an ordinary image.
"""

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from samspl.errors import ImageError
from samspl.inference.extras import require

_GEO_TAGS = (33550, 33922, 34264, 34735)
"""Pixel scale, tie points, transformation and keys of GeoTIFF."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Georeference:
    """Where the pixels of an image lie on a map."""

    crs: str
    """Coordinate system of the map: an authority's code such as `EPSG:32633`, else WKT."""
    transform: tuple[float, float, float, float, float, float]
    """Map coordinates of a point given in pixels from the outer corner of the top-left one:
    x' = a x + b y + c and y' = d x + e y + f."""


def is_georeferenced(path: Path) -> bool:
    """Whether a TIFF has tags that say where it lies; False for all other files. Needs no rasterio."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return False
    try:
        with tifffile.TiffFile(path) as tiff:
            return any(tag in tiff.pages.first.aspage().tags for tag in _GEO_TAGS)
    except Exception:  # damaged in any way, which is said when its pixels are read
        return False


def read_georeference(path: Path) -> Georeference | None:
    """Where an image lies.

    Returns:
        None, with a warning, where the file has coordinates but does not name their system.
    Raises:
        ImageError: if the file cannot be opened as a map.
        ConfigError: without rasterio.
    """
    rasterio = require("rasterio", "geo", f"the map coordinates of {path}")
    transform_of = require("rasterio.transform", "geo", "map coordinates")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(path) as image:
                crs, transform = image.crs, image.transform
                points, points_crs = image.gcps
    except rasterio.errors.RasterioError as err:
        raise ImageError(f"{path}: its map coordinates cannot be read ({err}); check the file") from err
    if transform.is_identity and points:
        crs, transform = points_crs, transform_of.from_gcps(points)
    if crs is None or transform.is_identity:
        logger.warning("%s has map coordinates, but does not name their system; it gets no GeoJSON", path)
        return None
    authority = crs.to_authority()
    return Georeference(":".join(authority) if authority else crs.to_wkt(), tuple(transform)[:6])


def targets_to_geojson(record: Mapping[str, Any], where: Georeference) -> dict[str, Any]:
    """Targets as points, one feature each.

    Args:
        record: Of the image, as of `report.prediction_record`.
        where: The image lies.
    Returns:
        A FeatureCollection: the point is the centroid; the properties are `file`, `map_x` and `map_y` (in `map_crs`),
        and what predictions.csv says of the target.
    Raises:
        ImageError: if the map's system has no longitude and latitude there.
    """
    warp = require("rasterio.warp", "geo", "map coordinates")
    targets = record["targets"]
    # a centroid counts from the centre of the top-left pixel, a map from its outer corner
    pixels = np.array([t["centroid_xy"] for t in targets], np.float64).reshape(-1, 2) + 0.5
    a, b, c, d, e, f = where.transform
    xs, ys = pixels @ (a, b) + c, pixels @ (d, e) + f
    try:
        # the order of GeoJSON, whatever the authority says of EPSG:4326
        lon, lat = warp.transform(where.crs, "OGC:CRS84", xs, ys) if targets else ((), ())
    except Exception as err:  # rasterio's errors of this have no common base
        raise ImageError(f"{record['file']}: no longitude and latitude from {where.crs} ({err})") from err
    if not np.isfinite([*lon, *lat]).all():
        raise ImageError(f"{record['file']}: targets lie outside of what {where.crs} can express")
    return {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "geometry": {"type": "Point", "coordinates": [float(lon[i]), float(lat[i])]},
                "properties": {
                    "file": record["file"],
                    "map_x": float(xs[i]),
                    "map_y": float(ys[i]),
                    "map_crs": where.crs,
                    **{key: value for key, value in target.items() if key != "counts"},
                },
            }
            for i, target in enumerate(targets)
        ],
    }
