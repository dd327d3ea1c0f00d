"""Make split lists for a data set that has none: seeded, stratified by target size, duplicates on one side.

Images are put into groups of duplicates (`samspl.data.duplicates`) and groups into strata by their largest
target; of every stratum, the part asked for goes to test. The result depends on files, fraction and seed.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from samspl.data.dataset import find_files, read_pair
from samspl.data.duplicates import find_duplicates, fingerprint, group_duplicates
from samspl.data.specs import DatasetSpec
from samspl.errors import ConfigError, DatasetError
from samspl.imaging import write_bytes
from samspl.targets import find_components

AREA_LIMITS_PX = (0, 9, 25, 80)
"""Strata by the area of the largest target: none, up to 9, 25, 80 (the field's limit of small), and above."""
SPLIT_SEED = 2727
"""Default seed; that of the published training."""


def make_split(
    root: Path,
    spec: DatasetSpec,
    test_fraction: float = 0.2,
    seed: int = SPLIT_SEED,
    progress: Callable[[Iterable[Any], int], Iterable[Any]] | None = None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Choose which images are for training and which for testing; writes nothing.

    Args:
        root: The data set's own folder.
        spec: Its specification.
        test_fraction: Part of the images to test on, between 0 and 1; reached up to the size of a group of
            duplicates.
        seed: Of the choice.
        progress: Wraps an iterable of known length, as tqdm does.
    Returns:
        Train and test ids, each sorted, each at least one.
    Raises:
        ValueError: for a fraction outside 0..1.
        DatasetError: if an image has no mask, sizes differ, or all images are duplicates of each other.
        ImageError: if a file is damaged.
    """
    if not 0 < test_fraction < 1:
        raise ValueError(f"test_fraction is {test_fraction}; expected more than 0 and less than 1")
    images, masks = find_files(root, spec.images), find_files(root, spec.masks)
    if missing := sorted(set(images) - set(masks)):
        raise DatasetError(
            f"{len(missing)} of {len(images)} images below {root} have no mask ({', '.join(missing[:5])}); "
            "add or remove them, samspl data check lists them all"
        )
    ids = list(images)
    prints, largest = [], []
    for image_id in progress(ids, len(ids)) if progress else ids:
        pair = read_pair(spec, image_id, images[image_id], masks[image_id])
        prints.append(fingerprint(pair.image))
        largest.append(int(find_components(pair.mask).area_px.max(initial=0)))
    in_groups = group_duplicates(find_duplicates(prints), len(ids))
    grouped = {index for group in in_groups for index in group}
    groups = sorted([*in_groups, *((index,) for index in range(len(ids)) if index not in grouped)])
    if len(groups) < 2:
        raise DatasetError(
            f"{root} holds {len(groups)} images that are no duplicates of each other; expected at least 2"
        )
    test = _choose(groups, largest, test_fraction, seed)
    return tuple(i for k, i in enumerate(ids) if k not in test), tuple(
        i for k, i in enumerate(ids) if k in test
    )


def _choose(groups: list[tuple[int, ...]], largest: list[int], test_fraction: float, seed: int) -> set[int]:
    """Indices for testing: of each stratum its part, what rounding left over being carried to the next."""
    rng = np.random.default_rng(seed)
    strata: list[list[tuple[int, ...]]] = [[] for _ in range(len(AREA_LIMITS_PX) + 1)]
    for group in groups:
        strata[int(np.searchsorted(AREA_LIMITS_PX, max(largest[index] for index in group)))].append(group)
    test: list[tuple[int, ...]] = []
    owed = 0.0
    for stratum in strata:
        owed += test_fraction * sum(len(group) for group in stratum)
        for k in rng.permutation(len(stratum)):
            # a group is taken if that brings the count nearer to what is owed
            if owed > len(stratum[k]) / 2:
                test.append(stratum[k])
                owed -= len(stratum[k])
    if not test:
        test.append(groups[rng.integers(len(groups))])
    elif len(test) == len(groups):
        test.pop()
    return {index for group in test for index in group}


def write_split(
    root: Path, train_ids: Iterable[str], test_ids: Iterable[str], overwrite: bool = False
) -> None:
    """Write `train.txt` and `test.txt` into the data set's folder, one id a line.

    Raises:
        ConfigError: if one of them is there and ``overwrite`` is false; nothing is written then.
        ImageError: if they cannot be written.
    """
    paths = (root / "train.txt", root / "test.txt")
    if not overwrite and (there := [str(path) for path in paths if path.exists()]):
        raise ConfigError(
            f"{' and '.join(there)} would be replaced; old results could no longer be compared; "
            "move them away, or use --overwrite"
        )
    for path, ids in zip(paths, (train_ids, test_ids), strict=True):
        write_bytes(path, "".join(f"{image_id}\n" for image_id in ids).encode())
