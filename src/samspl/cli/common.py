"""What all commands share: options, spellings, and how errors become one sentence and an exit status."""

import logging
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from samspl.errors import ConfigError

logger = logging.getLogger(__name__)

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130
"""Exit statuses; 0 is done."""
_POSITIONALS = ("paths", "name", "file", "dir")


def group_parser(description: str, example: str) -> ArgumentParser:
    """A parser for a command that only has actions."""
    return ArgumentParser(
        description=f"{description[0].upper()}{description[1:]}. Example: {example}", exit_on_error=False
    )


def command_parser(description: str, example: str) -> ArgumentParser:
    """A parser with the options that every command takes."""
    parser = group_parser(description, example)
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda:N or mps")
    parser.add_argument("--gpu", type=int | None, default=None, help="same as --device cuda:N")
    parser.add_argument("--threads", type=int | None, default=None, help="CPU threads of the network")
    parser.add_argument("--workers", type=int, default=0, help="processes that load images")
    parser.add_argument("-v", "--verbose", action="store_true", help="say more on standard error")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, warnings and errors only")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def published_spellings(argv: list[str]) -> list[str]:
    """Options of the published code, which has underscores, as ours: `--batch_size` is `--batch-size`."""
    kept = {"--print_config", "--print_completion"}  # jsonargparse's own
    return [
        re.sub(r"^--[A-Za-z0-9_]+", lambda m: m[0].replace("_", "-"), word)
        if word.split("=")[0] not in kept
        else word
        for word in argv
    ]


def argument_sentence(message: str) -> str:
    """The parser's complaint in the words of the command line.

    Keys become flags (`predict.weights` is `--weights`), and a value that fits no type is named with the types.
    """

    def flags(names: str) -> str:
        words = []
        for name in names.split(", "):
            key = name.rsplit(".", 1)[-1]
            words.append(key.upper() if key in _POSITIONALS else f"--{key.replace('_', '-')}")
        return ", ".join(words)

    required = re.match(r"the following arguments are required: (.*)", message)
    if required:
        return f"missing {flags(required[1])}; see --help"
    wrong = re.match(r'Parser key "([\w.]+)":', message)
    if wrong:
        types = list(dict.fromkeys(re.findall(r"Expected an? <class '(\w+)'>", message)))
        expected = {"int": "a whole number", "float": "a number", "str": "text", "bool": "true or false"}
        value = re.search(r"(?:Got|Given) value: (.*)\Z", message, re.S)
        wanted = " or ".join(expected[kind] for kind in types if kind in expected)
        if wanted and value:
            return f"{flags(wrong[1])} is {value[1].strip()!r}; expected {wanted}"
    return message


def set_up(args: Any) -> None:
    """Logging, device and threads as the common options say.

    Raises:
        ConfigError: for contradictory or impossible values.
    """
    level = logging.WARNING if args.quiet else logging.DEBUG if args.verbose else logging.INFO
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    package = logging.getLogger("samspl")
    package.handlers[:] = [handler]
    package.setLevel(level)
    package.propagate = False
    if args.gpu is not None:
        if args.device not in ("auto", f"cuda:{args.gpu}"):
            raise ConfigError(f"--gpu {args.gpu} and --device {args.device} contradict; give one of them")
        args.device = f"cuda:{args.gpu}"
    if args.workers < 0:
        raise ConfigError(f"--workers is {args.workers}; expected 0 or more")
    if args.threads is not None and args.threads < 1:
        raise ConfigError(f"--threads is {args.threads}; expected at least 1")


def use_threads(args: Any) -> None:
    """Give torch the threads that were asked for; called by commands that import torch."""
    if args.threads is not None:
        import torch

        torch.set_num_threads(args.threads)


def existing(path: str, what: str) -> Path:
    """A path that must be there.

    Raises:
        ConfigError: if it is not.
    """
    found = Path(path)
    if not found.exists():
        raise ConfigError(f"{what} {path} does not exist; check the path")
    return found


def progress_bar(quiet: bool, unit: str = "image") -> Callable[[Iterable[Any], int], Iterable[Any]]:
    """A bar with rate and time left on standard error, or none."""
    from tqdm import tqdm

    return lambda items, total: tqdm(items, total=total, unit=unit, file=sys.stderr, disable=quiet)


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.levelno == logging.INFO else f"{record.levelname.lower()}: {text}"
