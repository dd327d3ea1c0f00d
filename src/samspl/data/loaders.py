"""Data sets as torch loaders: augmented training samples and prepared evaluation samples.

A training sample is a function of seed, epoch and index alone: not of the number of workers, the batch size
or what was drawn before. A run can thus be repeated, and resumed at any epoch.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from samspl.data.copy_paste import build_augmentation, find_crops
from samspl.data.dataset import DecodeCache, InfraredDataset, Pair
from samspl.data.splits import Split
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


def to_train_sample(
    image: np.ndarray, mask: np.ndarray, image_id: str, preprocess: Preprocess
) -> TrainSample:
    """Augmented (N, N) values of `Preprocess.to_byte_range` and their (N, N) bool mask as a sample."""
    values = torch.from_numpy(preprocess.to_channels(image))  # (3, N, N)
    # one plane shown three times: a third of the bytes to send from worker to training
    is_grey = len(preprocess.mean) == 1 and len(preprocess.std) == 1
    if is_grey or preprocess.normalise == "frame":
        values = values[:1].expand(3, -1, -1)
    return TrainSample(values, torch.from_numpy(mask[None].astype(np.float32)), image_id)


class PairSource(Protocol):
    """Images with masks to evaluate: `InfraredDataset`, or scenes drawn from a seed."""

    split: Split
    """Its ids and where they are from."""

    def __len__(self) -> int:
        """Number of images."""

    def pair(self, index: int) -> Pair:
        """One image and its mask."""


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
        pair = self._pair(index % len(self))  # beyond the length: the same image, augmented anew
        rng = np.random.default_rng([self.seed, self.epoch, index])
        return to_train_sample(*self.augmentation(pair.image, pair.mask, rng), pair.id, self.preprocess)

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

    def __init__(self, dataset: PairSource, preprocess: Preprocess) -> None:
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


class TrainSource(Protocol):
    """What training samples are drawn from: `TrainSet`, or scenes drawn on the fly."""

    preprocess: Preprocess
    """Of the network."""

    def __len__(self) -> int:
        """Samples of an epoch in which each comes once."""

    def __getitem__(self, index: int) -> TrainSample:
        """A sample; indices beyond the length give the same images again, augmented anew."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch."""


class JoinedSets(Dataset[TrainSample]):
    """Several sources as one; a sample is named by the number of its source and its index there."""

    def __init__(self, sources: Sequence[TrainSource]) -> None:
        self.sources = sources

    def __getitem__(self, key: tuple[int, int]) -> TrainSample:
        source, index = key
        return self.sources[source][index]


class EpochSampler(Sampler[tuple[int, int]]):
    """Order of an epoch's samples, a function of seed and epoch; setting the epoch sets that of the sources too.

    With weights an epoch has as many samples as all sources together, shared out by weight: from a source that
    gets fewer than it has some are left out, from one that gets more some come again, augmented anew. Each of
    several processes takes every so-manieth sample; where they do not divide evenly, the first come again (or,
    with `drop_last`, the last are left out).
    """

    def __init__(
        self,
        sources: Sequence[TrainSource],
        seed: int,
        num_replicas: int,
        rank: int,
        drop_last: bool,
        weights: Sequence[float] = (),
    ) -> None:
        self.sources = sources
        self.seed = seed
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.counts = _shares([len(source) for source in sources], weights)
        total = sum(self.counts)
        self._length = total // num_replicas if drop_last else -(-total // num_replicas)
        self._done = (0, 0)

    def __len__(self) -> int:
        return self._length

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0; call before the loader's iteration begins."""
        self.epoch = epoch
        for source in self.sources:
            source.set_epoch(epoch)

    def resume_at(self, epoch: int, done: int) -> None:
        """Go on in an epoch of which this process has had `done` samples; later epochs come whole."""
        self.set_epoch(epoch)
        self._done = (epoch, done)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        keys: list[tuple[int, int]] = []
        for number, (source, count) in enumerate(zip(self.sources, self.counts, strict=True)):
            rounds = -(-count // len(source))
            order = np.concatenate([rng.permutation(len(source)) + k * len(source) for k in range(rounds)])
            keys += [(number, index) for index in order[:count].tolist()]
        keys = [keys[k] for k in rng.permutation(len(keys))]
        keys = (keys * -(-self._length * self.num_replicas // len(keys)))[: self._length * self.num_replicas]
        epoch, done = self._done
        return iter(keys[self.rank :: self.num_replicas][done if self.epoch == epoch else 0 :])


def _shares(lengths: Sequence[int], weights: Sequence[float]) -> list[int]:
    """Samples of each source in an epoch; with weights, rounded so that their sum is that of the lengths."""
    if not weights:
        return list(lengths)
    edges = np.rint(np.cumsum([0.0, *weights]) / sum(weights) * sum(lengths)).astype(int)
    return [max(1, count) for count in np.diff(edges).tolist()]


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
    if info is not None and isinstance(info.dataset, JoinedSets):
        for train_set in info.dataset.sources:
            if isinstance(train_set, TrainSet):
                train_set.cache.max_bytes //= info.num_workers


def _unchanged(sample: Any) -> Any:
    return sample


def make_train_loader(
    train_sets: Sequence[TrainSource],
    batch_size: int,
    seed: int = 2727,
    workers: int = 0,
    drop_last: bool = False,
    num_replicas: int = 1,
    rank: int = 0,
    weights: Sequence[float] = (),
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
        weights: Share of each data set in an epoch, see `EpochSampler`; none: every image once.
    Raises:
        ValueError: if sizes differ, or there are fewer samples than one batch to keep.
    """
    sizes = {train_set.preprocess.image_size for train_set in train_sets}
    if len(sizes) != 1:
        raise ValueError(f"image sizes of the data sets are {sorted(map(str, sizes))}; expected exactly one")
    sampler = EpochSampler(train_sets, seed, num_replicas, rank, drop_last, weights)
    if drop_last and len(sampler) < batch_size:
        raise ValueError(
            f"{len(sampler)} samples make no batch of {batch_size}; lower batch_size or keep the last batch"
        )
    return DataLoader(
        JoinedSets(train_sets),  # type: ignore[arg-type]  # collated samples are batches
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
    dataset: PairSource, preprocess: Preprocess, workers: int = 0, num_replicas: int = 1, rank: int = 0
) -> DataLoader[EvalSample]:
    """A loader of single evaluation samples in list order (images may differ in size).

    Args:
        dataset: The split.
        preprocess: Of the network.
        workers: Processes that load; 0 loads in this one.
        num_replicas: Evaluating processes; each takes its part of the images, none comes twice.
        rank: Number of this one.
    Raises:
        DatasetError: if the split is empty.
    """
    if not len(dataset):
        raise DatasetError(f"{dataset.split.path} lists no images; nothing can be evaluated")
    return DataLoader(
        EvalSet(dataset, preprocess),
        batch_size=None,
        sampler=range(rank, len(dataset), num_replicas),
        num_workers=workers,
        collate_fn=_unchanged,
    )
