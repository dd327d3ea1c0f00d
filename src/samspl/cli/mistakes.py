"""Mistyped words of the command line: which one it is, and what was probably meant."""

import argparse
import difflib
import re
from collections.abc import Iterable, Sequence

from jsonargparse import ArgumentParser

from samspl.config import nearest_name


def mistyped(parser: ArgumentParser, words: Sequence[str]) -> str | None:
    """Say what is wrong with the first word that no command knows.

    Args:
        parser: Of the whole command line.
        words: Which it refused; flags in our spelling.
    Returns:
        One sentence with the nearest known word, or none if all commands, actions and flags are known.
    """
    names = ["samspl"]
    left = list(words)
    while (choice := _choice(parser)) is not None:
        given = next((k for k, word in enumerate(left) if not word.startswith("-")), None)
        if given is None:
            break
        name = left.pop(given)
        known = choice._name_parser_map
        if name not in known:
            return f"unknown {choice.dest} {name!r}; {nearest_name(name, list(known))}"
        names.append(name)
        parser = known[name]
    if unknown := _unknown_flags(parser, left):
        name = unknown[0]
        return f"unknown flag {name}; {_meant(name, parser)}see {' '.join(names)} --help"
    return None


def _choice(parser: ArgumentParser) -> "argparse._SubParsersAction | None":
    return next((a for a in parser._actions if isinstance(a, argparse._SubParsersAction)), None)


def _unknown_flags(parser: ArgumentParser, words: Iterable[str]) -> list[str]:
    known = set(parser._option_string_actions)
    unknown = []
    for word in words:
        if word == "--":
            break
        flag = re.match(r"--?[A-Za-z][^=]*", word)
        if flag is None or flag[0] in known or flag[0].partition(".")[0] in known:  # --model.width
            continue
        is_several_letters = re.fullmatch(r"-\w+", word) and {f"-{letter}" for letter in word[1:]} <= known
        if not is_several_letters:
            unknown.append(flag[0])
    return unknown


def _meant(flag: str, parser: ArgumentParser) -> str:
    by_name = {known.lstrip("-"): known for known in parser._option_string_actions if known.startswith("--")}
    close = difflib.get_close_matches(flag.lstrip("-"), by_name, n=1)
    return f"did you mean {by_name[close[0]]}? " if close else ""
