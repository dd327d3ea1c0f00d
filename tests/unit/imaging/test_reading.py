"""Reading images."""

import io
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from samspl.errors import ImageError
from samspl.imaging import (
    decoders,
    read_image,
    read_mask,
    reading,
    to_grey,
    write_image,
)

RNG = np.random.default_rng(3)
GREY8 = RNG.integers(0, 256, (6, 5), dtype=np.uint8)
GREY16 = RNG.integers(0, 65536, (6, 5), dtype=np.uint16)
COLOUR16 = RNG.integers(0, 65536, (6, 5, 4), dtype=np.uint16)


def png_bytes(samples: np.ndarray, colour_type: int, size: tuple[int, int] | None = None) -> bytes:
    """A 16-bit PNG written by hand from the PNG specification; Pillow cannot write 16-bit colour."""
    height, width = size or samples.shape[:2]

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in chunks)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npy", "A.TIFF"])
@pytest.mark.parametrize("image", [GREY8, GREY16], ids=["uint8", "uint16"])
def test_grey_image_comes_back_in_its_own_type(tmp_path: Path, name: str, image: np.ndarray) -> None:
    path = tmp_path / name
    if name.endswith("npy"):
        np.save(path, image)
    else:
        write_image(path, image)
    read = read_image(path)
    assert read.dtype == image.dtype
    assert read.flags.writeable
    np.testing.assert_array_equal(read, image)


def test_sixteen_bit_values_above_255_are_not_saturated(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 255, 256, 65535]], np.uint16)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[0, 255, 256, 65535]]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int16", "int32", "uint32"])
@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_other_number_types_stay_as_stored(tmp_path: Path, dtype: str, suffix: str) -> None:
    image = np.array([[0, 1, 2], [100, 101, 3]], dtype)
    path = tmp_path / f"a{suffix}"
    np.save(path, image) if suffix == ".npy" else tifffile.imwrite(path, image)
    read = read_image(path)
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, image)


def test_big_endian_arrays_become_native(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", GREY16.astype(">u2"))
    read = read_image(tmp_path / "a.npy")
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, GREY16)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "L"])
def test_equal_channels_give_exactly_their_value(tmp_path: Path, mode: str) -> None:
    Image.fromarray(GREY8).convert(mode).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), GREY8)


def test_colour_becomes_luma_of_itu_r_601(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[76, 150, 29]]  # 255 x .299, .587, .114


def test_palette_gives_its_colours_and_not_its_indices(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putpalette([200, 200, 200, 7, 7, 7, 255, 0, 0])
    image.save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[200, 7, 76]]


def test_alpha_is_ignored(tmp_path: Path) -> None:
    pixels = np.dstack([np.full((2, 2, 3), 90, np.uint8), np.array([[0, 255], [128, 1]], np.uint8)])
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == 90).all()


def test_one_bit_images_become_0_and_255(tmp_path: Path) -> None:
    bits = np.array([[True, False, True]])
    Image.fromarray(bits).save(tmp_path / "a.png")
    Image.fromarray(bits).save(tmp_path / "a.tif")
    np.save(tmp_path / "a.npy", bits)
    for name in ("a.png", "a.tif", "a.npy"):
        assert read_image(tmp_path / name).tolist() == [[255, 0, 255]]


@pytest.mark.parametrize(("channels", "colour_type"), [(3, 2), (4, 6)])
def test_sixteen_bit_colour_png_keeps_its_low_bytes(tmp_path: Path, channels: int, colour_type: int) -> None:
    (tmp_path / "a.png").write_bytes(png_bytes(COLOUR16[:, :, :channels], colour_type))
    luma = COLOUR16[:, :, :3].astype(float) @ [0.299, 0.587, 0.114]
    read = read_image(tmp_path / "a.png")
    assert read.dtype == np.uint16
    np.testing.assert_allclose(read, luma, atol=1.5)  # integer weights differ from these by up to 1e-5


def test_sixteen_bit_grey_png_with_alpha_is_refused_rather_than_narrowed(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_bytes(COLOUR16[:, :, :2], 4))
    with pytest.raises(ImageError, match=r"a\.png.*16-bit.*without transparency"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_colour_tiff_is_read_in_either_channel_order(tmp_path: Path, planar: str) -> None:
    colour = COLOUR16[:, :, :3]
    stored = colour if planar == "contig" else np.moveaxis(colour, 2, 0)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), to_grey(colour))


@pytest.mark.parametrize("compression", ["tiff_lzw", "packbits", "tiff_adobe_deflate"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_compressed_tiff_is_read_without_loss(tmp_path: Path, compression: str, dtype: str) -> None:
    image = GREY8.astype(dtype) * (1 if dtype == "uint8" else 3)
    Image.fromarray(image).save(tmp_path / "a.tif", compression=compression)
    read = read_image(tmp_path / "a.tif")
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, image)


def test_palette_tiff_gives_its_colours(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putpalette([200, 200, 200, 7, 7, 7, 255, 0, 0])
    image.save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif").tolist() == [[200, 7, 76]]


def test_tiff_whose_zero_is_white_is_turned_round(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, 10, 65535]], np.uint16), photometric="miniswhite")
    assert read_image(tmp_path / "a.tif").tolist() == [[65535, 65525, 0]]


def test_first_page_of_a_tiff_is_read(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(GREY16)
        file.write(GREY16[::-1])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), GREY16)


def test_content_and_not_suffix_tells_the_format(tmp_path: Path) -> None:
    write_image(tmp_path / "a.tif", GREY16)
    (tmp_path / "a.tif").rename(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), GREY16)


def test_image_of_one_pixel_is_read(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.array([[9]], np.uint8))
    assert read_image(tmp_path / "a.png").tolist() == [[9]]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "0 bytes"), (b"plain text", "no image"), (b"\x89PNG\r\n\x1a\n\0\0", "truncated or damaged")],
)
@pytest.mark.parametrize("read", [read_image, read_mask])
def test_file_that_is_no_image_is_named(tmp_path: Path, read, content: bytes, reason: str) -> None:
    (tmp_path / "frame_7.png").write_bytes(content)
    with pytest.raises(ImageError, match=f"frame_7.png.*{reason}"):
        read(tmp_path / "frame_7.png")


def test_missing_file_and_folder_named_like_an_image_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ImageError, match=r"folder\.png is a folder"):
        read_image(tmp_path / "folder.png")
    with pytest.raises(ImageError, match=r"gone\.png does not exist"):
        read_image(tmp_path / "gone.png")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow mentions damaged tags before it gives up
@pytest.mark.parametrize("kind", ["PNG", "PNG 16", "JPEG", "BMP", "TIFF", "TIFF lzw", "NPY"])
def test_file_cut_anywhere_is_refused_or_whole(tmp_path: Path, kind: str) -> None:
    image = (
        np.random.default_rng(0).integers(0, 256, (40, 30)).astype(np.uint16 if "16" in kind else np.uint8)
    )
    stream = io.BytesIO()
    if kind == "NPY":
        np.save(stream, image)
    elif kind == "TIFF":
        tifffile.imwrite(stream, image)
    else:
        options = {"compression": "tiff_lzw"} if "lzw" in kind else {}
        Image.fromarray(image).save(stream, kind.split()[0], **options)
    data, path = stream.getvalue(), tmp_path / "cut"
    path.write_bytes(data)
    whole = read_image(path)
    refused = []
    for length in [*range(0, len(data), max(1, len(data) // 50)), len(data) - 1]:
        path.write_bytes(data[:length])
        try:
            np.testing.assert_array_equal(read_image(path), whole)
        except ImageError as err:
            refused.append(str(err))
    assert len(refused) > 40
    assert all(str(path) in message for message in refused)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["png", "deep png", "tif", "zlib tif", "lzw tif", "jpg", "bmp", "npy"])
def test_damaged_bytes_give_an_image_or_an_image_error(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(7)
    image, path = rng.integers(0, 256, (24, 20), dtype=np.uint8), tmp_path / "a"
    if kind == "deep png":
        path.write_bytes(png_bytes(COLOUR16, 6))
    elif kind == "npy":
        with path.open("wb") as file:
            np.save(file, image)
    elif kind in ("tif", "zlib tif"):
        tifffile.imwrite(path, image, compression="zlib" if "zlib" in kind else None)
    else:
        options = {"compression": "tiff_lzw"} if "lzw" in kind else {}
        suffix = {"jpg": "JPEG", "lzw tif": "TIFF"}.get(kind, kind.upper())
        Image.fromarray(image).save(path, suffix, **options)
    whole = path.read_bytes()
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(8, min(len(whole), 200 if rng.random() < 0.5 else len(whole)), 3):
            damaged[place] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            assert read_image(path).ndim == 2
        except ImageError:
            continue


def test_tiled_tiff_cut_between_two_tiles_is_refused(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(1, 256, (40, 30), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", image, tile=(16, 16))
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        last = file.pages.first.dataoffsets[-1]
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[:last])  # tifffile alone gives zeros for the last tile
    with pytest.raises(ImageError, match=r"a\.tif.*truncated"):
        read_image(tmp_path / "a.tif")


def test_truncated_file_stays_an_error_where_pillow_was_told_to_fill_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    write_image(tmp_path / "a.png", noise)
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    monkeypatch.setattr("PIL.ImageFile.LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(ImageError, match=r"a\.png.*LOAD_TRUNCATED_IMAGES"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("kind", ["png", "tif", "npy"])
def test_image_of_20000_by_20000_is_refused_from_its_header(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"huge.{kind}"
    if kind == "png":
        path.write_bytes(png_bytes(GREY16, 0, size=(20000, 20000)))
    elif kind == "tif":
        tifffile.memmap(path, shape=(20000, 20000), dtype=np.uint8).flush()  # sparse: takes no room
    else:
        np.lib.format.open_memmap(path, "w+", np.uint8, (20000, 20000)).flush()
    with pytest.raises(ImageError, match=rf"huge\.{kind}.*20000x20000.*at most 268435456"):
        read_image(path)


def test_pillows_own_pixel_limit_neither_warns_nor_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "a.png", GREY8)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read_image(tmp_path / "a.png"), GREY8)
    monkeypatch.setattr(decoders, "MAX_PIXELS", 29)
    with pytest.raises(ImageError, match="5x6"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((3, 4, 5)), "shape"),
        (np.zeros((2, 3, 4, 3)), "shape"),
        (np.zeros(7), "shape"),
        (np.zeros((0, 4)), "at least one pixel"),
        (np.zeros((2, 2), complex), "complex128"),
        (np.array([["a"]]), "<U1"),
    ],
)
def test_array_that_is_no_image_is_refused(tmp_path: Path, array: np.ndarray, reason: str) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ImageError, match=f"a.npy.*{reason}"):
        read_image(tmp_path / "a.npy")


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[{"a": 1}]], object), allow_pickle=True)
    with pytest.raises(ImageError, match=r"a\.npy.*objects"):
        read_image(tmp_path / "a.npy")


def test_reading_from_many_threads_gives_the_same_as_from_one(tmp_path: Path) -> None:
    images = [np.full((20, 20), i, np.uint16) for i in range(40)]
    for i, image in enumerate(images):
        write_image(tmp_path / f"{i}.png", image)
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(read_image, [tmp_path / f"{i}.png" for i in range(40)]))
    np.testing.assert_array_equal(read, images)


def test_equal_float_channels_give_exactly_their_value() -> None:
    values = np.random.default_rng(1).normal(size=(50, 50)).astype(np.float32)
    np.testing.assert_array_equal(to_grey(np.dstack([values] * 3)), values)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (np.array([[0, 1, 126, 255]], np.uint8), [0, 1, 126, 255]),
        (np.array([[0, 1, 255, 65535]], np.uint16), [0, 255, 255, 255]),
        (np.array([[-1, 0, 3]], np.int32), [0, 0, 255]),
        (np.array([[0.0, 0.25, 1.0]], np.float32), [0, 64, 255]),
        (np.array([[0.0, 127.0, 300.0]], np.float32), [0, 127, 255]),
        (np.array([[False, True]]), [0, 255]),
    ],
)
def test_mask_becomes_8_bit_grey(tmp_path: Path, stored: np.ndarray, expected: list[int]) -> None:
    np.save(tmp_path / "m.npy", stored)
    mask = read_mask(tmp_path / "m.npy")
    assert mask.dtype == np.uint8
    assert mask.tolist() == [expected]


def test_mask_with_nan_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.array([[np.nan, 1.0]]))
    with pytest.raises(ImageError, match=r"m\.npy.*NaN"):
        read_mask(tmp_path / "m.npy")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_second_of_two_channels_is_alpha_and_ignored(tmp_path: Path, dtype: np.typing.DTypeLike) -> None:
    grey = GREY8.astype(dtype)
    two = np.dstack([grey, grey[::-1]])
    np.testing.assert_array_equal(to_grey(two), grey)
    np.save(tmp_path / "a.npy", two)
    tifffile.imwrite(tmp_path / "a.tiff", two, photometric="minisblack", planarconfig="contig")
    for name in ("a.npy", "a.tiff"):
        np.testing.assert_array_equal(read_image(tmp_path / name), grey)


def test_tiff_of_several_pages_is_read_with_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    # not by way of handlers, which commands run by other tests set
    monkeypatch.setattr(reading.logger, "warning", lambda text, *values: said.append(text % values))
    with tifffile.TiffWriter(tmp_path / "a.tiff") as tiff:
        for page in (GREY16, GREY16 // 2, GREY16 // 3):
            tiff.write(page, photometric="minisblack")
    write_image(tmp_path / "b.tiff", GREY16)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tiff"), GREY16)
    read_image(tmp_path / "b.tiff")
    assert said == [f"{tmp_path / 'a.tiff'} has 3 pages; only the first is read"]
