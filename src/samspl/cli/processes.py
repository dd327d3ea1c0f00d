"""Which of several processes, as torchrun starts them, tells the user of an error that more than one may have."""

import os
import time

TURN_S = 5.0
"""Time between two turns to speak; in it torchrun ends a machine's processes once one of them has failed."""


def speaks_first() -> bool:
    """Whether this process is the first of its machine, or alone."""
    return int(os.environ.get("LOCAL_RANK", "0")) == 0


def wait_for_turn(is_understood: bool) -> None:
    """Let those speak first who know better; who still runs afterwards has an error of its own.

    What all processes have in common (wrong usage, damaged data) is told by the first of them, whose end ends the
    others in silence. An error that only another one has is told by it, a turn later. An error nobody foresaw may
    only be the echo of that (a connection was closed), and waits for it.

    Args:
        is_understood: The error says what is wrong; it is no defect and no lost connection.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        turn = (0 if is_understood else 2) + (0 if speaks_first() else 1)
        time.sleep(turn * TURN_S)
