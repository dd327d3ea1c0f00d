"""Synthetic scenes drawn while training goes on, so that no scene is ever seen twice, and a fixed set to validate on.

Nothing is written to disk. A scene is a function of seed, epoch and index, as every training sample is.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from samspl.data.dataset import Pair
from samspl.data.loaders import TrainSample, to_train_sample
from samspl.data.specs import DatasetSpec
from samspl.data.splits import Split
from samspl.data.synthetic import draw_scene
from samspl.data.transforms import Flips, Transform
from samspl.preprocess import Preprocess

SYNTHETIC = "synthetic"
"""Name of the data set."""
MEAN, STD = 110.0, 56.0
"""Of the grey levels of 256 scenes, to whole ones."""
VAL_COUNT = 64
"""Scenes to validate on."""
_VAL_SEED = 2727
_VAL_STREAM = 2**31
"""Stands where training has the epoch, so that no scene to validate on is trained on."""


def synthetic_spec() -> DatasetSpec:
    """Specification of the drawn scenes."""
    return DatasetSpec(SYNTHETIC, mean=(MEAN,), std=(STD,), augmentation="flip")


class SyntheticTrainSet:
    """Training samples drawn on the fly.

    Args:
        preprocess: Of the network; its image size is the side of the scenes.
        count: Scenes of an epoch.
        seed: Of the scenes.
        augmentation: None flips and transposes.
        empty_share: Of scenes without targets.
    Raises:
        ValueError: if ``preprocess`` keeps the native size.
    """

    def __init__(
        self,
        preprocess: Preprocess,
        count: int,
        seed: int = 2727,
        augmentation: Transform | None = None,
        empty_share: float = 0.1,
    ) -> None:
        if preprocess.image_size is None:
            raise ValueError("preprocess keeps the native size; training needs an image_size for its batches")
        self.preprocess = preprocess
        self.count = count
        self.seed = seed
        self.size_hw = (preprocess.image_size, preprocess.image_size)
        self.augmentation = augmentation or Flips()
        self.empty_share = empty_share
        # in shared memory: workers that live through epochs see it change
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        return self.count

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0; call before a loader's iteration begins."""
        self._epoch.fill_(epoch)

    def __getitem__(self, index: int) -> TrainSample:
        epoch = int(self._epoch)
        rng = np.random.default_rng([self.seed, epoch, index])
        scene = draw_scene(rng, self.size_hw, empty_share=self.empty_share)
        image = self.preprocess.to_byte_range(scene.image)
        image, mask = self.augmentation(image, scene.mask, rng)
        return to_train_sample(image, mask, f"{SYNTHETIC}/{epoch}/{index}", self.preprocess)


class SyntheticScenes:
    """Scenes to evaluate on, the same in every run.

    Args:
        size: Side in pixels.
        count: How many.
    """

    def __init__(self, size: int, count: int = VAL_COUNT) -> None:
        ids = tuple(f"{SYNTHETIC}_{size}_{index:03d}" for index in range(count))
        self.split = Split("val", None, Path(SYNTHETIC), ids)
        self._size_hw = (size, size)
        self._pairs: dict[int, Pair] = {}

    def __len__(self) -> int:
        return len(self.split.ids)

    def pair(self, index: int) -> Pair:
        """One scene and its mask, drawn at the first call."""
        if index not in self._pairs:
            scene = draw_scene(np.random.default_rng([_VAL_SEED, _VAL_STREAM, index]), self._size_hw)
            image_id = self.split.ids[index]
            self._pairs[index] = Pair(image_id, scene.image, scene.mask, Path(image_id), Path(image_id))
        return self._pairs[index]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pairs": {}}
