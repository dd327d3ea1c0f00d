"""Frames through the detector on this machine: reading, the network and writing at the same time.

One thread reads ahead, the caller's runs the network, two write. What is under way is bounded in frames and pixels, so
that memory does not grow with the number of files and a huge frame is alone.
"""

import contextlib
import dataclasses
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from samspl.errors import ImageError, SamsplError
from samspl.inference.detector import Detector
from samspl.inference.outputs import FileBegun, FileDone, FileWriter, FrameDone, Outcome, Outputs
from samspl.inference.result import Result
from samspl.inference.sources import BadFrame, Frame, SourceFile, read_frames

MAX_FRAMES = 32
"""Frames under way, from reading to written."""
MAX_PIXELS = 2**22
"""Pixels under way, of about 10 bytes each; a larger frame is under way alone."""
WRITERS = 2
"""Threads that write."""
BATCH_SIZE = 1
"""Frames of equal size that the network sees at once."""
POLL_S = 0.02
"""How often the main thread looks for results that are written while it waits for frames."""
SWITCH_INTERVAL_S = 2e-4
"""How soon a thread that draws lets go of the interpreter: the network asks for it a thousand times an image, and
would wait Python's 5 ms each time."""


@dataclass(frozen=True)
class _Opened:
    """A file is about to be read."""

    writer: FileWriter


@dataclass(frozen=True)
class _Closed:
    """All frames of a file were read."""

    writer: FileWriter


@dataclass(frozen=True)
class _Known:
    """A frame whose results are there, read again for the overlay of its video."""

    frame: Frame
    done: FrameDone


@dataclass(frozen=True)
class _UnderWay:
    """Something that is being written."""

    file: SourceFile
    pixels: int | None
    """Of a frame; None for the end of a file."""
    future: Future[Outcome | None]


_Item = _Opened | _Closed | _Known | Frame | BadFrame


class _Room:
    """How much is under way; the reader waits until there is room for more."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._frames = self._pixels = 0
        self._is_closed = False

    def wait(self) -> bool:
        """Until there is room; False once nothing more is wanted."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_closed or (self._frames < MAX_FRAMES and self._pixels < MAX_PIXELS)
            )
            return not self._is_closed

    def take(self, pixels: int) -> None:
        with self._changed:
            self._frames += 1
            self._pixels += pixels

    def give_back(self, pixels: int) -> None:
        with self._changed:
            self._frames -= 1
            self._pixels -= pixels
            self._changed.notify_all()

    def close(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()


@contextlib.contextmanager
def _quick_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, SWITCH_INTERVAL_S))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


class _Run:
    """One run; see `run_local`."""

    def __init__(
        self,
        detector: Detector,
        files: Sequence[SourceFile],
        outputs: Outputs,
        known: Mapping[str, Mapping[str, FrameDone]],
        report: Callable[[Outcome], None],
    ) -> None:
        self.detector, self.files, self.outputs = detector, files, outputs
        self.known, self.report, self.batch_size = known, report, BATCH_SIZE
        self.room = _Room()
        self.items: SimpleQueue[_Item | BaseException | None] = SimpleQueue()
        self.waiting: list[_Item] = []  # frames for the next batch, and what came among them
        self.under_way: deque[_UnderWay] = deque()
        self.writers: dict[str, FileWriter] = {}
        self.spoilt: set[str] = set()
        self.pool = ThreadPoolExecutor(WRITERS, "samspl-write")
        self.in_order = ThreadPoolExecutor(1, "samspl-video")

    def run(self) -> None:
        reader = threading.Thread(target=self._read, name="samspl-read", daemon=True)
        reader.start()
        try:
            while (item := self._next()) is not None:
                self._take(item)
            self._detect()
            self._collect(wait=True)
        finally:
            self.room.close()
            self._wind_up()
            reader.join()

    def _read(self) -> None:
        """The reader's thread."""
        try:
            for file in self.files:
                try:
                    writer = FileWriter(self.outputs, file.stamped())
                except SamsplError as err:  # a file that is gone, a video that is none
                    self.items.put(BadFrame(file, str(err)))
                    continue
                self.items.put(_Opened(writer))
                if not self._read_file(file, writer):
                    return
                self.items.put(_Closed(writer))
            self.items.put(None)
        except BaseException as err:
            self.items.put(err)

    def _read_file(self, file: SourceFile, writer: FileWriter) -> bool:
        """Read until the end, or until nothing more is wanted (False)."""
        known = self.known.get(file.name, {})
        frames = read_frames(file, () if writer.needs_all_frames else known)
        while self.room.wait():
            frame = next(frames, None)
            if frame is None:
                return True
            if isinstance(frame, BadFrame):
                self.items.put(frame)
                continue
            self.room.take(frame.image.size)
            self.items.put(_Known(frame, known[frame.name]) if frame.name in known else frame)
        return False

    def _next(self) -> _Item | None:
        """The next item; a batch does not wait for what is not read yet."""
        while True:
            try:
                item = self.items.get(timeout=POLL_S if self.under_way or self.waiting else None)
            except Empty:
                self._detect()
                self._collect()
                continue
            if isinstance(item, BaseException):
                raise item
            return item

    def _frames(self) -> list[Frame]:
        return [item for item in self.waiting if isinstance(item, Frame)]

    def _take(self, item: _Item) -> None:
        if isinstance(item, Frame) and any(f.image.shape != item.image.shape for f in self._frames()):
            self._detect()
        self.waiting.append(item)
        if not 0 < len(self._frames()) < self.batch_size:
            self._detect()
        self._collect()

    def _detect(self) -> None:
        """Run the network on the waiting frames, then hand on what waits, in order."""
        waiting, self.waiting = self.waiting, []
        results = iter(self._results([item for item in waiting if isinstance(item, Frame)]))
        for item in waiting:
            match item:
                case Frame():
                    self._write(item, next(results))
                case BadFrame():
                    self._tell(item)
                case _Opened(writer):
                    self.writers[writer.file.name] = writer
                    self.report(FileBegun(writer.file))
                case _Known(frame, done):
                    writer = self.writers[frame.file.name]
                    self._submit(frame.file, frame.image.size, writer.redraw, frame, done.record)
                case _Closed(writer):
                    self._submit(writer.file, None, writer.close)

    def _results(self, frames: Sequence[Frame]) -> list[Result | BadFrame]:
        if not frames:
            return []
        try:
            return [*self.detector.detect_many([f.image for f in frames], [_where(f) for f in frames])]
        except ImageError as err:
            if len(frames) == 1:
                return [BadFrame(frames[0].file, str(err))]
            return [result for frame in frames for result in self._results([frame])]

    def _write(self, frame: Frame, result: Result | BadFrame) -> None:
        if isinstance(result, BadFrame):
            self.room.give_back(frame.image.size)
            self._tell(result)
        else:
            named = dataclasses.replace(result, name=frame.name)
            self._submit(frame.file, frame.image.size, self.writers[frame.file.name].write, frame, named)

    def _submit(
        self, file: SourceFile, pixels: int | None, work: Callable[..., Outcome | None], *values: object
    ) -> None:
        pool = self.in_order if file.is_video else self.pool
        self.under_way.append(_UnderWay(file, pixels, pool.submit(work, *values)))

    def _collect(self, wait: bool = False) -> None:
        """Report, in order, what is done.

        Raises:
            SamsplError: if something could not be written.
        """
        while self.under_way and (wait or self.under_way[0].future.done()):
            self._settle(self.under_way.popleft())

    def _settle(self, done: _UnderWay) -> None:
        try:
            outcome = done.future.result()
        except SamsplError:
            self.spoilt.add(done.file.name)
            raise
        if done.pixels is not None:
            self.room.give_back(done.pixels)
        if outcome is not None:
            self._tell(outcome)

    def _tell(self, outcome: Outcome) -> None:
        if isinstance(outcome, BadFrame):
            self.spoilt.add(outcome.file.name)
        if isinstance(outcome, FileDone):
            del self.writers[outcome.file.name]
            if outcome.file.name in self.spoilt:
                return
        self.report(outcome)

    def _wind_up(self) -> None:
        """End the threads; where the run was broken off, keep what they still finish."""
        for pool in (self.pool, self.in_order):
            pool.shutdown(wait=True)
        for done in self.under_way:
            with contextlib.suppress(SamsplError):
                self._settle(done)
        for writer in self.writers.values():
            writer.discard()


def _where(frame: Frame) -> str:
    """What an error calls a frame."""
    part = "" if frame.index is None else f", {'frame' if frame.file.is_video else 'page'} {frame.index}"
    return f"{frame.file.path}{part}"


def run_local(
    detector: Detector,
    files: Sequence[SourceFile],
    outputs: Outputs,
    report: Callable[[Outcome], None],
    known: Mapping[str, Mapping[str, FrameDone]] | None = None,
) -> None:
    """Find and write the targets of all frames of files.

    Args:
        detector: To be used.
        files: To be read, in order.
        outputs: What is written, and where.
        report: Is told, in the caller's thread, of every file and frame, also of those that cannot be used.
        known: By file and name, frames whose results are there.
    Raises:
        SamsplError: if something cannot be written; what is done by then was reported.
    """
    with _quick_switches():
        _Run(detector, files, outputs, known or {}, report).run()
