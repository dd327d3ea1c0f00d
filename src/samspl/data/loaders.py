"""Data sets as torch loaders: augmented training samples and prepared evaluation samples.

A training sample is a function of seed, epoch and index alone: not of the number of workers, the batch size
or what was drawn before. A run can thus be repeated, and resumed at any epoch.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset, DistributedSampler, get_worker_info

from samspl.data.copy_paste import build_augmentation, find_crops
from samspl.data.dataset import DecodeCache, InfraredDataset, Pair
from samspl.data.transforms import Transform
from samspl.errors import DatasetError, ImageError
from samspl.preprocess import Geometry, Preprocess


class TrainSample(NamedTuple):
    """One training sample."""

    image: torch.Tensor
    """(3, N, N) float32, normalised; not to be written to: equal channels are one plane shown three times."""
    gt_mask: torch.Tensor
    """(1, N, N) float32, 0 or 1."""
    id: str
    """Name in the split list."""


class TrainBatch(NamedTuple):
    """What the training loader gives."""

    image: torch.Tensor
    """(B, 3, N, N) float32, normalised; not to be written to, as in `TrainSample`."""
    gt_mask: torch.Tensor
    """(B, 1, N, N) float32, 0 or 1."""
    ids: list[str]
    """Names in the split list."""


class EvalSample(NamedTuple):
    """One image to evaluate: as it is and as the network wants it."""

    id: str
    """Name in the split list."""
    image: np.ndarray
    """(H, W), type as stored."""
    mask: np.ndarray
    """(H, W) bool."""
    values: torch.Tensor
    """(3, H', W') float32, prepared."""
    geometry: Geometry
    """Where the image lies in `values`."""


class TrainSet(Dataset[TrainSample]):
    """Augmented training samples of one data set.

    Args:
        dataset: The training split; its cache's bound in bytes holds for the cache of prepared images kept
            here.
        preprocess: Of the network; its image size is the side of the samples.
        seed: Of the augmentation.
        augmentation: None takes the published one of the data set, with its crops.
    Raises:
        ValueError: if ``preprocess`` keeps the native size (samples of a batch must have one size).
        DatasetError: if crops are needed and there are none.
    """

    def __init__(
        self,
        dataset: InfraredDataset,
        preprocess: Preprocess,
        seed: int = 2727,
        augmentation: Transform | None = None,
    ) -> None:
        if preprocess.image_size is None:
            raise ValueError("preprocess keeps the native size; training needs an image_size for its batches")
        self.dataset = dataset
        self.preprocess = preprocess
        self.seed = seed
        if augmentation is None:
            needs_crops = dataset.spec.augmentation == "scale_crop_paste"
            crops = find_crops(dataset, preprocess) if needs_crops else None
            augmentation = build_augmentation(dataset.spec, preprocess.image_size, crops)
        self.augmentation = augmentation
        # holds images after to_byte_range: percentiles of a deep frame cost more than the rest of the sample
        self.cache = DecodeCache(dataset.cache.max_bytes)
        # one plane shown three times: a third of the bytes to send from worker to training
        is_grey = len(preprocess.mean) == 1 and len(preprocess.std) == 1
        self._has_equal_channels = is_grey or preprocess.normalise == "frame"
        # in shared memory: workers that live through epochs see it change
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def epoch(self) -> int:
        """The epoch whose samples are given."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0; call before a loader's iteration begins."""
        self._epoch.fill_(epoch)

    def __getitem__(self, index: int) -> TrainSample:
        pair = self._pair(index)
        rng = np.random.default_rng([self.seed, self.epoch, index])
        image, mask = self.augmentation(pair.image, pair.mask, rng)
        values = torch.from_numpy(self.preprocess.to_channels(image))  # (3, N, N)
        if self._has_equal_channels:
            values = values[:1].expand(3, -1, -1)
        gt_mask = torch.from_numpy(mask[None].astype(np.float32))  # (1, N, N)
        return TrainSample(values, gt_mask, pair.id)

    def _pair(self, index: int) -> Pair:
        if (cached := self.cache.get(index)) is not None:
            return cached
        pair = self.dataset.read(index)
        try:
            image = self.preprocess.to_byte_range(pair.image)
        except ImageError as err:
            raise ImageError(f"{pair.image_path}: {err}") from err
        image.setflags(write=False)
        pair = dataclasses.replace(pair, image=image)
        self.cache.put(index, pair)
        return pair


class EvalSet(Dataset[EvalSample]):
    """Evaluation samples of one data set, in list order.

    Args:
        dataset: The split.
        preprocess: Of the network.
    """

    def __init__(self, dataset: InfraredDataset, preprocess: Preprocess) -> None:
        self.dataset = dataset
        self.preprocess = preprocess

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[EvalSample]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> EvalSample:
        pair = self.dataset.pair(index)
        try:
            prepared = self.preprocess(pair.image)
        except ImageError as err:
            raise ImageError(f"{pair.image_path}: {err}") from err
        return EvalSample(
            pair.id, pair.image, pair.mask, torch.from_numpy(prepared.values), prepared.geometry
        )


class EpochSampler(DistributedSampler[TrainSample]):
    """Shuffled indices that are a function of seed and epoch; setting the epoch sets that of the data sets
    too.

    Lightning calls `set_epoch` of a loader's sampler and leaves a distributed sampler in place.
    """

    def __init__(
        self, train_sets: Sequence[TrainSet], seed: int, num_replicas: int, rank: int, drop_last: bool
    ) -> None:
        joined: ConcatDataset[TrainSample] = ConcatDataset(train_sets)
        super().__init__(joined, num_replicas, rank, shuffle=True, seed=seed, drop_last=drop_last)
        self.train_sets = train_sets

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0; call before the loader's iteration begins."""
        super().set_epoch(epoch)
        for train_set in self.train_sets:
            train_set.set_epoch(epoch)


def _collate(samples: list[TrainSample]) -> TrainBatch:
    images = [sample.image for sample in samples]
    channels = images[0].shape[0]
    if all(image.stride(0) == 0 for image in images):
        batch = torch.stack([image[:1] for image in images]).expand(-1, channels, -1, -1)  # (B, 3, N, N)
    else:
        batch = torch.stack(images)
    return TrainBatch(batch, torch.stack([s.gt_mask for s in samples]), [s.id for s in samples])


def _share_cache(worker: int) -> None:
    info = get_worker_info()
    if info is not None and isinstance(info.dataset, ConcatDataset):
        for train_set in info.dataset.datasets:
            if isinstance(train_set, TrainSet):
                train_set.cache.max_bytes //= info.num_workers


def _unchanged(sample: Any) -> Any:
    return sample


def make_train_loader(
    train_sets: Sequence[TrainSet],
    batch_size: int,
    seed: int = 2727,
    workers: int = 0,
    drop_last: bool = False,
    num_replicas: int = 1,
    rank: int = 0,
) -> DataLoader[TrainBatch]:
    """A loader of shuffled, augmented batches (`TrainBatch`) from one or more data sets.

    Call ``loader.sampler.set_epoch(epoch)`` before each epoch. Workers live through epochs, so that their
    caches do, and share the memory bound of the cache evenly.

    Args:
        train_sets: Samples must have one size.
        batch_size: Of each process.
        seed: Of the order.
        workers: Processes that load; 0 loads in this one.
        drop_last: Leave out a last batch that is not full.
        num_replicas: Training processes; each takes its part of the samples.
        rank: Number of this one.
    Raises:
        ValueError: if sizes differ, or there are fewer samples than one batch to keep.
    """
    sizes = {train_set.preprocess.image_size for train_set in train_sets}
    if len(sizes) != 1:
        raise ValueError(f"image sizes of the data sets are {sorted(map(str, sizes))}; expected exactly one")
    sampler = EpochSampler(train_sets, seed, num_replicas, rank, drop_last)
    if drop_last and len(sampler) < batch_size:
        raise ValueError(
            f"{len(sampler)} samples make no batch of {batch_size}; lower batch_size or keep the last batch"
        )
    return DataLoader(
        sampler.dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=workers,
        drop_last=drop_last,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=workers > 0,
        worker_init_fn=_share_cache if workers else None,
        collate_fn=_collate,
    )


def make_eval_loader(
    dataset: InfraredDataset, preprocess: Preprocess, workers: int = 0
) -> DataLoader[EvalSample]:
    """A loader of single evaluation samples in list order (images may differ in size).

    Raises:
        DatasetError: if the split is empty.
    """
    if not len(dataset):
        raise DatasetError(f"{dataset.split.path} lists no images; nothing can be evaluated")
    return DataLoader(
        EvalSet(dataset, preprocess), batch_size=None, num_workers=workers, collate_fn=_unchanged
    )
