"""What the page keeps for each visitor: images and probability maps, in memory, until the visitor leaves.

A visitor's pictures have addresses with a random token in them, which nobody else can guess. Results are never written
to disk.
"""

import secrets
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from samspl.postprocess import prob_to_mask
from samspl.targets import Components, Target, find_components, find_targets

MAX_LISTED = 500
"""Targets of an image that are listed and marked; a low threshold on noise gives thousands."""
MAX_PIXELS = 2**26
"""Of one visitor's images together (8192 x 8192, 16,384 frames of 64 x 64 ...): about half a gigabyte."""
MAX_HELD_PIXELS = 2**28
"""Of all visitors together; whoever was away longest is forgotten first."""
MAX_LOOKS = 1000
"""Visitors whose threshold and contrast are remembered."""
IDLE_S = 3600.0
"""Visitors of whom nothing is heard for so long are forgotten, even if they never said good-bye."""


@dataclass(frozen=True, eq=False)
class Kept:
    """An image and what the network said of it; any threshold can be applied to that."""

    name: str
    """Of the file; no two of a visitor have the same stem."""
    image: np.ndarray = field(repr=False)
    """(H, W), grey, type as stored."""
    prob: np.ndarray = field(repr=False)
    """(H, W) float32 in 0..1."""

    def mask(self, threshold: float) -> np.ndarray:
        """(H, W) bool."""
        return prob_to_mask(self.prob, threshold)

    def targets(self, threshold: float) -> list[Target]:
        """All targets, in scan order."""
        return find_targets(self.mask(threshold), self.prob, self.image)

    def count(self, threshold: float) -> int:
        """How many targets there are."""
        return len(find_components(self.mask(threshold)).area_px)

    def listed(self, threshold: float) -> tuple[list[Target], int]:
        """Targets to show, in scan order, and how many there are; of very many, those of highest score."""
        mask = self.mask(threshold)
        found = find_components(mask)
        if len(found.area_px) > MAX_LISTED:
            mask = _strongest(mask, found, self.prob)
        return find_targets(mask, self.prob, self.image), len(found.area_px)


@dataclass
class Looks:
    """How a visitor last said they look at images; None for what they have not touched."""

    threshold: float | None = None
    stretch: str | None = None
    has_left: bool = False
    """Since this was asked for; what is found for them now is not kept."""


class Session:
    """One visitor's images, and how they look at them."""

    def __init__(self, kept: Sequence[Kept], weights: str, threshold: float, stretch: str) -> None:
        """``weights`` and ``stretch`` are the names that the visitor chose."""
        self.token = secrets.token_urlsafe(32)
        self.kept = tuple(kept)
        self.weights = weights
        self.threshold = threshold
        self.stretch = stretch
        self.index = 0
        self.touched_s = time.monotonic()
        self.lock = threading.RLock()
        """Held by who changes and by who shows: no view mixes two states."""

    @property
    def pixels(self) -> int:
        """Of all images."""
        return sum(kept.image.size for kept in self.kept)


class Sessions:
    """All visitors; may be used from several threads."""

    def __init__(self) -> None:
        self._by_visitor: dict[str, Session] = {}
        self._looks: dict[str, Looks] = {}
        self._forgotten: deque[str] = deque(maxlen=1000)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._by_visitor)

    def open(self, visitor: str, session: Session) -> None:
        """Keep a visitor's images, in place of those before."""
        with self._lock:
            self._by_visitor.pop(visitor, None)
            self._by_visitor[visitor] = session
            self._forget_old()

    def of(self, visitor: str) -> Session | None:
        """What is kept for a visitor; None if nothing is, or no more."""
        with self._lock:
            return self._touch(visitor)

    def by_token(self, token: str) -> Session | None:
        """What is kept under an address; None if nothing is, or no more."""
        with self._lock:
            for visitor, session in self._by_visitor.items():
                if secrets.compare_digest(session.token.encode(), token.encode()):
                    return self._touch(visitor)
            return None

    def looks_of(self, visitor: str) -> Looks:
        """What a visitor last set, to be read and changed.

        A control that is moved while the network runs sends its event long before the images are there, and the values
        that came with the images are older; so what is kept here is what counts.
        """
        with self._lock:
            looks = self._looks.pop(visitor, None) or Looks()
            self._looks[visitor] = looks  # last: dicts keep their order
            if len(self._looks) > MAX_LOOKS:
                del self._looks[next(iter(self._looks))]
            return looks

    def close(self, visitor: str) -> None:
        """Forget a visitor, who left."""
        with self._lock:
            if (looks := self._looks.pop(visitor, None)) is not None:
                looks.has_left = True
            if self._by_visitor.pop(visitor, None) is not None:
                self._forgotten.append(visitor)

    def forget_idle(self) -> None:
        """Forget who has been away for too long; every use does so too, but there may be none."""
        with self._lock:
            self._forget_old()

    def was_forgotten(self, visitor: str) -> bool:
        """Whether a visitor had something that is no longer kept: a phone that slept seems to have left."""
        with self._lock:
            return visitor in self._forgotten and visitor not in self._by_visitor

    def _touch(self, visitor: str) -> Session | None:
        self._forget_old()
        session = self._by_visitor.pop(visitor, None)
        if session is not None:
            session.touched_s = time.monotonic()
            self._by_visitor[visitor] = session  # last: dicts keep their order
        return session

    def _forget_old(self) -> None:
        now = time.monotonic()
        held = sum(session.pixels for session in self._by_visitor.values())
        for visitor, session in list(self._by_visitor.items()):  # longest away first
            is_last = len(self._by_visitor) == 1
            if now - session.touched_s > IDLE_S or (held > MAX_HELD_PIXELS and not is_last):
                held -= session.pixels
                del self._by_visitor[visitor]
                self._forgotten.append(visitor)


def _strongest(mask: np.ndarray, found: Components, prob: np.ndarray) -> np.ndarray:
    """The mask with the `MAX_LISTED` groups of highest probability."""
    scores = np.zeros(len(found.area_px), np.float32)
    np.maximum.at(scores, found.labels, prob.ravel()[found.pixels])
    is_kept = np.zeros(len(scores), bool)
    is_kept[np.argsort(-scores, kind="stable")[:MAX_LISTED]] = True
    strongest = np.zeros_like(mask)
    strongest.flat[found.pixels[is_kept[found.labels]]] = True
    return strongest
