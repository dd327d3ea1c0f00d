"""`samspl`: one command with a part for each job.

A part is a module of this folder with `NAME`, `HELP`, `EXAMPLE`, `add_arguments(parser)` and `run(args)`, and with
`ACTIONS` if it has some; what is slow to import is imported by `run`, so that `--help` answers at once.
"""

import sys
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, set_parsing_settings

from samspl import __version__
from samspl.cli import bench, data, export, info, predict, serve, test, train, weights
from samspl.cli.common import (
    FAILED,
    INTERRUPTED,
    WRONG_USAGE,
    argument_sentence,
    command_parser,
    group_parser,
    published_spellings,
    set_up,
)
from samspl.cli.mistakes import mistyped
from samspl.cli.processes import speaks_first, wait_for_turn
from samspl.errors import ConfigError, SamsplError

COMMANDS = (predict, train, test, export, weights, data, bench, serve, info)


def build_parser() -> ArgumentParser:
    """The whole command line."""
    set_parsing_settings(add_print_completion_argument=True)  # --print_completion shtab-bash and others
    parser = ArgumentParser(
        prog="samspl",
        description="Infrared small target detection with SAM-SPL. Example: "
        "samspl predict frames/ --out found",
        exit_on_error=False,
        allow_abbrev=False,  # a flag means the same when others like it are added
        version=__version__,
    )
    commands = parser.add_subcommands(dest="command", required=False)
    for module in COMMANDS:
        own = (
            group_parser(module.HELP, module.EXAMPLE)
            if _is_group(module)
            else command_parser(module.HELP, module.EXAMPLE)
        )
        commands.add_subcommand(module.NAME, own, help=module.HELP)
        module.add_arguments(own)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: Words after `samspl`; None takes the process's.
    Returns:
        Exit status: 0 done, 1 the work failed, 2 wrong usage, 130 Ctrl-C.
    """
    words = published_spellings(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    try:
        parser = build_parser()
        if not words:
            parser.print_help()
            return WRONG_USAGE
        args = parser.parse_args(words)
        module, own = _module(args.command), args[args.command]
        if not _is_group(module):
            set_up(own)
        elif own.action is not None:
            set_up(own[own.action])
        return module.run(own)
    except SystemExit as err:  # --help, --version and --print_config end so
        return int(err.code or 0)
    except ArgumentError as err:
        text = mistyped(build_parser(), words) or argument_sentence(str(err))
        return _fail(WRONG_USAGE, text, debug, err)
    except ConfigError as err:
        return _fail(WRONG_USAGE, str(err), debug, err)
    except SamsplError as err:
        return _fail(FAILED, str(err), debug, err)
    except KeyboardInterrupt:
        if speaks_first():
            print("samspl: interrupted; what was done is kept", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # `samspl ... | head`
        sys.stderr.close()
        return FAILED
    except OSError as err:
        text = f"{err.filename or 'a file'}: {err.strerror or err}; check the path and its permission"
        return _fail(FAILED, text, debug, err, is_understood=False)
    except Exception as err:
        text = f"unexpected {type(err).__name__}: {err} - a defect of samspl; run again with --debug and report it"
        return _fail(FAILED, text, debug, err, is_understood=False)


def _is_group(module: Any) -> bool:
    """Whether a command has actions of its own, which take the common options."""
    return hasattr(module, "ACTIONS")


def _module(name: str) -> Any:
    return next(module for module in COMMANDS if name == module.NAME)


def _fail(status: int, text: str, debug: bool, err: Exception, is_understood: bool = True) -> int:
    if debug:
        raise err
    wait_for_turn(is_understood)
    print(f"samspl: error: {' '.join(text.split())}", file=sys.stderr)
    return status


def entry() -> None:
    """The console script."""
    sys.exit(main())


if __name__ == "__main__":
    entry()
