"""Processes that share the images of one list, as torchrun starts them; process 0 gets all parts."""

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import distributed

logger = logging.getLogger(__name__)
Part = TypeVar("Part")


@dataclass(frozen=True)
class Processes:
    """How many processes there are, and which one this is."""

    rank: int = 0
    """Number of this process, from 0."""
    count: int = 1
    """How many there are."""
    local_rank: int = 0
    """Number of this process among those of its machine."""

    @classmethod
    def of_environment(cls) -> "Processes":
        """As torchrun says; one process without it."""
        return cls(
            *(int(os.environ.get(k, v)) for k, v in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0)))
        )

    def share(self, images: int) -> range:
        """The images of this process: of n processes, process r takes r, r + n, r + 2n ..."""
        return range(self.rank, images, self.count)

    def device(self, name: str) -> str:
        """`auto` gives each process of a machine a GPU of its own, if there are any; other names stay."""
        if self.count == 1 or name != "auto" or not torch.cuda.is_available():
            return name
        return f"cuda:{self.local_rank % torch.cuda.device_count()}"

    def gather(self, work: Callable[[], Part]) -> list[Part] | None:
        """Do the work of this process and bring all parts together.

        Args:
            work: Gives this process's part, which must be picklable.
        Returns:
            The parts by process in process 0. None in the others, even if something failed: they have to end
            well, since torchrun would end process 0 at the first bad status, before it has said what failed.
        Raises:
            Exception: in process 0, what failed in any process; none waits for another that is gone.
        """
        if self.count == 1:
            return [work()]
        distributed.init_process_group("gloo")
        try:
            done: tuple[Part | None, Exception | None]
            try:
                done = (work(), None)
            except Exception as err:
                logger.debug("process %d failed", self.rank, exc_info=True)
                done = (None, err)
            parts: list[tuple[Part, Exception | None] | None] = [None] * self.count
            distributed.all_gather_object(parts, done)
        finally:
            distributed.destroy_process_group()
        known = [part for part in parts if part is not None]
        failed = [err for _, err in known if err is not None]
        if self.rank:
            return None
        if failed:
            raise failed[0]
        return [part for part, _ in known]
