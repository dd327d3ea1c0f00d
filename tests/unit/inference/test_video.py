"""Frames of videos, at their depth and in their order; what is broken; overlays. Needs the extra `video`."""

import builtins
import errno
from fractions import Fraction

import numpy as np
import pytest

from samspl.errors import ConfigError, ImageError
from samspl.inference.video import OverlayVideo, read_video, video_rate

av = pytest.importorskip("av", reason="needs the extra `video` (PyAV)")

RATE = 10


def write_video(path, frames, codec, pixel_format, source_format):
    """A video of arrays, made by PyAV itself."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE)
        stream.height, stream.width = frames[0].shape
        stream.pix_fmt = pixel_format
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format=source_format)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def packet_places(path):
    with av.open(str(path)) as container:
        return [(p.pos, p.size) for p in container.demux(container.streams.video[0]) if p.size]


def noise(count, dtype, largest):
    rng = np.random.default_rng(0)
    return [rng.integers(0, largest + 1, (48, 64), dtype=dtype) for _ in range(count)]


@pytest.mark.parametrize(
    ("pixel_format", "dtype", "largest"),
    [("gray", np.uint8, 255), ("gray16le", np.uint16, 65535), ("gray12le", np.uint16, 4095)],
)
def test_grey_video_keeps_its_depth_and_its_values(tmp_path, pixel_format, dtype, largest):
    frames = noise(4, dtype, largest)
    write_video(tmp_path / "a.mkv", frames, "ffv1", pixel_format, pixel_format)
    shots = list(read_video(tmp_path / "a.mkv"))
    assert [shot.index for shot in shots] == [0, 1, 2, 3]
    assert [shot.time_s for shot in shots] == [0.0, 0.1, 0.2, 0.3]
    for shot, frame in zip(shots, frames, strict=True):
        assert shot.image.dtype == dtype
        assert np.array_equal(shot.image, frame)
    assert video_rate(tmp_path / "a.mkv") == RATE


def test_ten_bit_colour_video_is_read_with_more_than_eight_bits(tmp_path):
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (48, 1))
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=RATE)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p10le"
        frame = av.VideoFrame.from_ndarray(ramp, format="gray16le").reformat(format="yuv420p10le")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (shot,) = read_video(tmp_path / "a.mkv")
    assert shot.image.dtype == np.uint16
    np.testing.assert_allclose(shot.image.astype(float), ramp, atol=65535 / 700)  # 876 steps of limited range


def test_frames_come_in_the_order_they_are_shown(tmp_path):
    """H.264 stores them in another one."""
    frames = [np.full((48, 64), 10 * number, np.uint8) for number in range(12)]
    write_video(tmp_path / "a.mp4", frames, "libx264", "yuv420p", "gray")
    shots = list(read_video(tmp_path / "a.mp4"))
    assert [shot.index for shot in shots] == list(range(12))
    assert [shot.count for shot in shots] == [12] * 12
    np.testing.assert_allclose([shot.image.mean() for shot in shots], np.arange(12) * 10, atol=4)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.avi", "mpeg4"), ("a.avi", "mjpeg")])
def test_broken_frame_is_told_at_its_place_and_the_others_are_read(tmp_path, name, codec):
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    write_video(tmp_path / name, noise(12, np.uint8, 255), codec, pixel_format, "gray")
    data = bytearray((tmp_path / name).read_bytes())
    start, size = packet_places(tmp_path / name)[5]
    data[start : start + size] = bytes(size)
    (tmp_path / name).write_bytes(data)
    shots = list(read_video(tmp_path / name))
    assert [shot.index for shot in shots] == list(range(12))
    (bad,) = (shot for shot in shots if isinstance(shot.image, ImageError))
    assert f"{name}, frame {bad.index} is broken (" in str(bad.image)
    if codec != "libx264":
        assert bad.index == 5  # H.264 stores frames in another order
    times = [shot.time_s for shot in shots if shot.time_s is not None]
    assert times == sorted(times)


def test_video_that_breaks_off_is_told_after_its_last_frame(tmp_path):
    write_video(tmp_path / "a.mkv", noise(12, np.uint8, 255), "ffv1", "gray", "gray")
    start, _ = packet_places(tmp_path / "a.mkv")[5]
    data = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "a.mkv").write_bytes(data[:start])
    *whole, last = read_video(tmp_path / "a.mkv")
    assert [isinstance(shot.image, np.ndarray) for shot in whole] == [True] * 5
    assert "breaks off after 0.40 of 1.20 s" in str(last.image)


@pytest.mark.parametrize("content", [b"", b"no video at all" * 50])
def test_file_that_is_no_video_is_a_sentence(tmp_path, content):
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(ImageError, match=r"a\.mp4: no video that can be read"):
        next(read_video(tmp_path / "a.mp4"))


def test_sound_alone_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(ImageError, match=r"a\.mp4 holds no pictures"):
        next(read_video(tmp_path / "a.mp4"))


def test_missing_library_says_what_to_install(tmp_path, monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name == "av":
            raise ImportError("No module named 'av'")
        return real(name, *args, **kwargs)

    monkeypatch.delitem(__import__("sys").modules, "av")
    monkeypatch.setattr(builtins, "__import__", absent)
    monkeypatch.setattr("importlib.import_module", absent)
    with pytest.raises(ConfigError, match=r"pip install 'samspl\[video\]'"):
        next(read_video(tmp_path / "a.mp4"))


def test_overlay_video_keeps_moments_and_fits_what_players_want(tmp_path):
    video = OverlayVideo(tmp_path / "deeper" / "o.mp4", Fraction(RATE))
    for index in (0, 1, 3):  # frame 2 was broken
        video.add(np.full((33, 51, 3), index * 60, np.uint8), index)
    video.add(np.full((20, 80, 3), 240, np.uint8), 4)  # another size: cut and filled
    assert not (tmp_path / "deeper" / "o.mp4").exists()  # not before it is whole
    video.close()
    shots = list(read_video(tmp_path / "deeper" / "o.mp4"))
    assert [shot.time_s for shot in shots] == [0.0, 0.1, 0.3, 0.4]
    assert {shot.image.shape for shot in shots} == {(34, 52)}
    np.testing.assert_allclose([s.image[:30, :48].mean() for s in shots[:3]], [0, 60, 180], atol=4)
    np.testing.assert_allclose(shots[3].image[:18].mean(), 240, atol=6)
    np.testing.assert_allclose(shots[3].image[22:].mean(), 0, atol=6)
    with av.open(str(tmp_path / "deeper" / "o.mp4")) as container:
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"


def test_overlay_video_that_is_given_up_leaves_nothing(tmp_path):
    video = OverlayVideo(tmp_path / "o.mp4", Fraction(RATE))
    video.add(np.zeros((32, 32, 3), np.uint8), 0)
    video.discard()
    assert list(tmp_path.iterdir()) == []
    video.close()
    assert list(tmp_path.iterdir()) == []


def test_full_disk_while_the_overlay_is_written_is_a_sentence(tmp_path, monkeypatch):
    video = OverlayVideo(tmp_path / "o.mp4", Fraction(RATE))
    video.add(np.zeros((32, 32, 3), np.uint8), 0)

    class Full:
        def mux(self, packets):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            raise OSError(errno.ENOSPC, "No space left on device")

    video._container = Full()
    with pytest.raises(ImageError, match=r"o\.mp4 cannot be written: No space left on device"):
        video.add(np.zeros((32, 32, 3), np.uint8), 1)
    assert list(tmp_path.iterdir()) == []
