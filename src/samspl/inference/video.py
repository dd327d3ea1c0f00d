"""Video files: their frames in grey, at the depth they are stored in, and overlays as a new video (PyAV).

FFmpeg fills what a broken frame lacks with parts of its neighbours, which may hold targets of another moment: such
frames are reported, not used. Rotation marks are ignored, as in still images: results refer to pixels as stored.
"""

import bisect
import contextlib
import secrets
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from samspl.errors import ImageError
from samspl.imaging import to_grey
from samspl.inference.extras import require

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".m2ts")
"""Suffixes of files that are taken for videos; lower case."""
DEFAULT_RATE = Fraction(25)
"""Frames a second of the overlay of a video that does not say."""


@dataclass(frozen=True, eq=False)
class Shot:
    """One frame of a video."""

    index: int
    """Number from 0, broken frames counted."""
    image: np.ndarray | ImageError = field(repr=False)
    """(H, W), or why there is none."""
    count: int | None
    """Frames of the video as it says; None if it does not."""
    time_s: float | None
    """Seconds from the start; None if the video does not say."""


def _av() -> Any:
    return require("av", "video", "reading a video")


def _grey(frame: Any) -> np.ndarray:
    """(H, W) of a decoded frame; grey formats as stored, colours of more than 8 bits as 16-bit luma."""
    name, is_deep = frame.format.name, max(part.bits for part in frame.format.components) > 8
    if name.startswith("gray"):
        return to_grey(frame.to_ndarray())
    if frame.format.is_rgb:
        return to_grey(frame.to_ndarray(format="rgb48le" if is_deep else "rgb24"))
    return frame.to_ndarray(format="gray16le" if is_deep else "gray")


def _open(path: Path) -> tuple[Any, Any]:
    """Container and first video stream."""
    av = _av()
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError, ValueError) as err:
        reason = getattr(err, "strerror", None) or err
        raise ImageError(f"{path}: no video that can be read ({reason}); convert or copy it again") from err
    if not container.streams.video:
        container.close()
        raise ImageError(f"{path} holds no pictures; expected a video")
    return container, container.streams.video[0]


def _in_order_of_show(container: Any, stream: Any) -> Iterator[tuple[int | None, np.ndarray | str]]:
    """Moment and image of each frame, or what is wrong with it.

    Packets are stored in the order of decoding: a broken one waits until its moment has come.
    """
    av = _av()
    broken: list[tuple[int, str]] = []
    packets = container.demux(stream)
    while True:
        packet, frames = None, []
        try:
            packet = next(packets, None)
            if packet is None:
                break
            frames = packet.decode()
        except av.EOFError:
            break
        except (av.FFmpegError, ValueError) as err:
            reason = getattr(err, "strerror", None) or str(err)
            if packet is None:  # of the container: nothing can follow
                broken.append((sys.maxsize, reason))
                break
            if packet.pts is None:
                yield None, reason
            else:
                bisect.insort(broken, (packet.pts, reason))
        for frame in frames:
            while broken and frame.pts is not None and broken[0][0] < frame.pts:
                yield broken.pop(0)
            is_whole = not frame.is_corrupt
            yield frame.pts, _grey(frame) if is_whole else "parts of it are missing"
    for moment, reason in broken:
        yield (None if moment == sys.maxsize else moment), reason


def _length_s(container: Any, stream: Any) -> float | None:
    """How long the video says it is."""
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None and len(container.streams) == 1:  # else sound may be what is longer
        return container.duration / 1e6
    return None


def video_rate(path: Path) -> Fraction:
    """Frames a second.

    Raises:
        ImageError: if it is no video.
        ConfigError: without PyAV.
    """
    container, stream = _open(path)
    with container:
        return Fraction(stream.average_rate or DEFAULT_RATE)


def read_video(path: Path) -> Iterator[Shot]:
    """Read frames in the order they are shown, each when it is asked for.

    Yields:
        Frames; a broken one, as far as the decoder can tell, as the error that names file and number, and so
        the end of a video that is shorter than it says.
    Raises:
        ImageError: if it is no video, or none of its frames can be read.
        ConfigError: without PyAV.
    """
    container, stream = _open(path)
    count, good, end_s = stream.frames or None, 0, 0.0
    with container:
        for index, (pts, image) in enumerate(_in_order_of_show(container, stream)):
            time_s = None if pts is None else float((pts - (stream.start_time or 0)) * stream.time_base)
            if isinstance(image, str):
                yield Shot(index, ImageError(f"{path}, frame {index} is broken ({image})"), count, time_s)
                continue
            good, end_s = good + 1, end_s if time_s is None else time_s
            yield Shot(index, np.require(image, requirements=["C", "W"]), count, time_s)
        if not good:
            raise ImageError(f"{path}: none of its frames can be read; convert or copy it again")
        # two frames are let pass: programs round, and count what is never shown
        length_s = _length_s(container, stream)
        if length_s is not None and end_s + 3 / (stream.average_rate or DEFAULT_RATE) < length_s:
            said = f"{path} breaks off after {end_s:.2f} of {length_s:.2f} s; convert or copy it again"
            yield Shot(index + 1, ImageError(said), count, None)


class OverlayVideo:
    """A video in the making; it gets its name when it is whole."""

    def __init__(self, path: Path, rate: Fraction) -> None:
        """Nothing is written before the first picture.

        Args:
            path: `.mp4`; replaced if there.
            rate: Frames a second.
        Raises:
            ConfigError: without PyAV.
        """
        self.path, self.rate = path, rate
        self._av = _av()
        self._temporary = path.with_name(f".samspl-{secrets.token_hex(8)}")
        self._container: Any = None
        self._stream: Any = None

    def add(self, picture: np.ndarray, index: int) -> None:
        """Append a picture.

        Args:
            picture: (H, W, 3) uint8. All are shown at the size of the first, made even as players want it: others
                are cut, or filled with black.
            index: When it is shown, in frames; rising, and where numbers are left out the one before stays.
        Raises:
            ImageError: if it cannot be written.
        """
        try:
            if self._container is None:
                self._start(picture)
            whole = np.zeros((self._stream.height, self._stream.width, 3), np.uint8)
            height, width = min(len(whole), len(picture)), min(whole.shape[1], picture.shape[1])
            whole[:height, :width] = picture[:height, :width]
            frame = self._av.VideoFrame.from_ndarray(whole, format="rgb24")
            frame.pts, frame.time_base = index, 1 / self.rate
            self._container.mux(self._stream.encode(frame))
        except (OSError, self._av.FFmpegError) as err:
            self.discard()
            raise self._refusal(err) from err

    def close(self) -> None:
        """Finish the file; without pictures there is none.

        Raises:
            ImageError: if it cannot be written.
        """
        if self._container is None:
            return
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._temporary.replace(self.path)
        except (OSError, self._av.FFmpegError) as err:
            raise self._refusal(err) from err
        finally:
            self._container = None
            self._temporary.unlink(missing_ok=True)

    def discard(self) -> None:
        """Throw away what there is; harmless after `close`."""
        if self._container is not None:
            with contextlib.suppress(OSError, self._av.FFmpegError):  # of a full disk, which is no matter now
                self._container.close()
            self._container = None
        self._temporary.unlink(missing_ok=True)

    def _start(self, picture: np.ndarray) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._container = self._av.open(str(self._temporary), "w", format="mp4")
        codec = "libx264" if "libx264" in self._av.codecs_available else "mpeg4"
        options = {"crf": "20", "preset": "veryfast"} if codec == "libx264" else {"qscale": "3"}
        self._stream = self._container.add_stream(codec, rate=self.rate, options=options)
        height, width = picture.shape[:2]
        self._stream.height, self._stream.width = height + height % 2, width + width % 2
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = 1 / self.rate

    def _refusal(self, err: Any) -> ImageError:
        return ImageError(f"{self.path} cannot be written: {err.strerror or err}; check space and permission")
