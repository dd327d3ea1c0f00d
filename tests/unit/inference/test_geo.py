"""Map coordinates of targets. Needs the extra `geo`."""

import json
import logging

import numpy as np
import pytest

from samspl.errors import ImageError
from samspl.imaging import write_image
from samspl.inference.geo import Georeference, is_georeferenced, read_georeference, targets_to_geojson

rasterio = pytest.importorskip("rasterio", reason="needs the extra `geo` (rasterio)")

UTM = rasterio.transform.from_origin(500000, 5600000, 10, 10)
RECORD = {"file": "m.tif", "size": [60, 50], "targets": [{"centroid_xy": [10.0, 20.0], "area_px": 3}]}


def write_map(path, crs, transform, **more):
    image = np.random.default_rng(0).integers(0, 65536, (50, 60), dtype=np.uint16)
    size = {"height": 50, "width": 60, "count": 1, "dtype": "uint16"}
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, **size, **more) as file:
        file.write(image, 1)


def test_ordinary_files_have_no_place_on_a_map(tmp_path):
    write_image(tmp_path / "a.tiff", np.zeros((4, 5), np.uint8))
    write_image(tmp_path / "a.png", np.zeros((4, 5), np.uint8))
    (tmp_path / "broken.tif").write_bytes(b"II*\0")
    assert not any(is_georeferenced(path) for path in tmp_path.iterdir())
    assert not is_georeferenced(tmp_path / "absent.tif")


def test_centroid_counts_from_the_centre_of_the_corner_pixel(tmp_path):
    write_map(tmp_path / "m.tif", "EPSG:32633", UTM)
    assert is_georeferenced(tmp_path / "m.tif")
    where = read_georeference(tmp_path / "m.tif")
    assert where == Georeference("EPSG:32633", (10, 0, 500000, 0, -10, 5600000))
    (feature,) = targets_to_geojson(RECORD, where)["features"]
    properties = feature["properties"]
    # 10.5 and 20.5 pixels of 10 m from the corner
    assert (properties["map_x"], properties["map_y"]) == (500105.0, 5599795.0)
    assert properties["map_crs"] == "EPSG:32633"
    assert properties["centroid_xy"] == [10.0, 20.0]


def test_coordinates_are_longitude_and_latitude_on_wgs_84(tmp_path):
    """500 km east is the middle of zone 33, 15 degrees; a degree of latitude there is 111.2 km."""
    where = Georeference("EPSG:32633", (10, 0, 500000, 0, -10, 5600000))
    (feature,) = targets_to_geojson(RECORD, where)["features"]
    lon, lat = feature["geometry"]["coordinates"]
    assert feature["geometry"]["type"] == "Point"
    assert lon == pytest.approx(15 + 105 / (111320 * np.cos(np.radians(50.55))), abs=1e-5)
    assert lat == pytest.approx(50.55, abs=0.005)
    back = rasterio.warp.transform("EPSG:4326", "EPSG:32633", [lon], [lat])
    assert (back[0][0], back[1][0]) == pytest.approx((500105.0, 5599795.0), abs=1e-3)


@pytest.mark.parametrize("crs", ["EPSG:4326", "OGC:CRS84"])
def test_longitude_comes_first_whatever_the_authority_says(tmp_path, crs):
    write_map(tmp_path / "m.tif", crs, rasterio.transform.from_origin(-70, 40, 0.01, 0.01))
    content = targets_to_geojson(RECORD, read_georeference(tmp_path / "m.tif"))
    assert content["features"][0]["geometry"]["coordinates"] == pytest.approx([-69.895, 39.795])


def test_rotated_maps_are_followed(tmp_path):
    turned = rasterio.Affine(0, -1, 100, 1, 0, 200)  # by 90 degrees
    write_map(tmp_path / "m.tif", "EPSG:3857", turned)
    properties = targets_to_geojson(RECORD, read_georeference(tmp_path / "m.tif"))["features"][0][
        "properties"
    ]
    assert (properties["map_x"], properties["map_y"]) == pytest.approx((100 - 20.5, 200 + 10.5))


def test_ground_control_points_are_used(tmp_path):
    point = rasterio.control.GroundControlPoint
    points = [
        point(row, col, 30 + col * 0.1, 50 - row * 0.1) for row, col in ((0, 0), (0, 60), (50, 0), (50, 60))
    ]
    write_map(tmp_path / "m.tif", None, rasterio.Affine.identity())
    with rasterio.open(tmp_path / "m.tif", "r+") as file:
        file.gcps = (points, rasterio.crs.CRS.from_epsg(4326))
    content = targets_to_geojson(RECORD, read_georeference(tmp_path / "m.tif"))
    assert content["features"][0]["geometry"]["coordinates"] == pytest.approx([31.05, 47.95])


def test_map_that_does_not_name_its_system_is_told(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(
        logging.getLogger("samspl.inference.geo"), "warning", lambda text, *v: said.append(text % v)
    )
    write_map(tmp_path / "m.tif", None, UTM)
    assert is_georeferenced(tmp_path / "m.tif")
    assert read_georeference(tmp_path / "m.tif") is None
    assert said == [
        f"{tmp_path / 'm.tif'} has map coordinates, but does not name their system; it gets no GeoJSON"
    ]


def test_no_targets_give_an_empty_collection():
    where = Georeference("EPSG:32633", (10, 0, 500000, 0, -10, 5600000))
    content = targets_to_geojson({**RECORD, "targets": []}, where)
    assert json.loads(json.dumps(content)) == {"type": "FeatureCollection", "features": []}


def test_places_that_are_not_on_earth_are_an_error():
    """Beside the disk that a geostationary satellite sees."""
    seen = "+proj=geos +h=35785831 +lon_0=0 +sweep=y +datum=WGS84"
    where = Georeference(seen, (1, 0, 9e6, 0, -1, 9e6))
    with pytest.raises(ImageError, match=r"m\.tif"):
        targets_to_geojson(RECORD, where)
