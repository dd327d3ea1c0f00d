"""Pages of the documentation taken apart: their blocks of code, and what stands before each about running it."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]
COMMANDS = ("bash", "sh")
EXTRAS: dict[str, tuple[str, tuple[str, ...]]] = {
    "train": (r"samspl train\b", ("pytorch_lightning", "pytorch_optimizer", "tensorboard")),
    "onnx": (r"(--format|--backend) onnx|\.onnx\b", ("onnx", "onnxruntime")),
    "openvino": (r"(--format|--backend) openvino|\.xml\b", ("openvino", "nncf")),
    "ui": (r"samspl serve|gradio", ("gradio",)),
    "video": (r"\.(mp4|avi|mkv|mov)\b", ("av",)),
    "geo": (r"geojson|rasterio", ("rasterio",)),
}
"""Extra: what in a block tells that it needs it, and the packages that it brings."""

_BLOCK = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*?) -->\n)?^```(?P<info>[^\n]*)\n(?P<content>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    language: str
    """As it says; empty for output."""
    title: str | None
    """Name of the file that it is, if it is one."""
    content: str
    """Its lines."""
    line: int
    """Where it begins in the page."""
    reason: str | None
    """Why it is not run, if so."""
    status: int
    """What its last command ends with."""

    @property
    def extras(self) -> tuple[str, ...]:
        """Which extras of the package it needs."""
        if self.language not in (*COMMANDS, "python"):
            return ()
        return tuple(name for name, (sign, _) in EXTRAS.items() if re.search(sign, self.content))

    def commands(self) -> list[str]:
        """Lines of a shell, those that go on put together; no comments."""
        joined = re.sub(r"\\\n\s*", "", self.content)
        return [line for line in joined.splitlines() if shlex.split(line, comments=True)]


def pages() -> list[Path]:
    """Every page that tells a user what to type."""
    return [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page.

    Raises:
        AssertionError: for a note before a block that means nothing.
    """
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        note, info = match["note"] or "", match["info"]
        reason = re.fullmatch(r"not run: (.+)", note)
        status = re.fullmatch(r"ends with status (\d+)", note)
        line = text.count("\n", 0, match.start("info")) + 1
        assert not note or reason or status, f"{page.name}:{line}: what does {note!r} mean?"
        title = re.search(r'title="([^"]+)"', info)
        found.append(
            Block(
                language=info.split()[0] if info.split() else "",
                title=title[1] if title else None,
                content=match["content"],
                line=line,
                reason=reason[1] if reason else None,
                status=int(status[1]) if status else 0,
            )
        )
    return found


def prose(page: Path) -> str:
    """A page without its blocks."""
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))
