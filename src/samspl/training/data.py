"""The data of a run: for each data set what is trained on and what the best epoch is chosen by."""

import dataclasses
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from samspl.data.broad import broad_augmentation
from samspl.data.check import NO_TARGETS, check_dataset
from samspl.data.copy_paste import build_augmentation, find_crops, load_crops
from samspl.data.dataset import InfraredDataset, open_dataset
from samspl.data.loaders import PairSource, TrainSet, TrainSource
from samspl.data.specs import DatasetSpec, MaskResize
from samspl.data.splits import Split
from samspl.data.synthetic_set import SYNTHETIC, SyntheticScenes, SyntheticTrainSet, synthetic_spec
from samspl.data.transforms import Compose, Flips, TargetPatch, Transform
from samspl.errors import ConfigError, DatasetError
from samspl.models.network import SAMSPL
from samspl.preprocess import Preprocess
from samspl.train_config import TrainConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """One data set of a run."""

    name: str
    """Of the data set."""
    asked: str
    """As the configuration calls it."""
    train: TrainSource
    """Augmented training samples."""
    train_split: Split
    """Their ids."""
    val: PairSource
    """What the best epoch is chosen by."""
    mask_resize: MaskResize
    """How its masks come to the evaluation size."""


def open_parts(config: TrainConfig, begun_with: str | None = None) -> tuple[list[Part], Preprocess]:
    """Open the data sets of a run and settle the preprocessing, one for all.

    Args:
        config: The run.
        begun_with: How the weights it starts from normalise, if they say; so does the run unless it is told.
    Raises:
        ConfigError: for settings that do not fit the data.
        DatasetError: if the data cannot be used.
    """
    opened = [_open(config, name) for name in config.datasets]
    _check_targets([train for _, train, _ in opened])
    specs = [spec for spec, _, _ in opened]
    if len({spec.name for spec in specs}) < len(specs):
        raise ConfigError(
            f"dataset is {config.dataset!r}, of which two are named alike; rename a folder or specification"
        )
    preprocess = choose_preprocess(config, specs, begun_with)
    if config.augmentation == "broad" and preprocess.normalise != "frame":
        raise ConfigError(
            "augmentation broad needs frames normalised by their own statistics; use --normalise frame"
        )
    assert preprocess.image_size is not None
    if config.patch_size and config.patch_size > preprocess.image_size:
        raise ConfigError(
            f"patch_size {config.patch_size} is larger than the images of {preprocess.image_size}; lower it"
        )
    parts = [
        _part(config, asked, spec, train, val, preprocess)
        for asked, (spec, train, val) in zip(config.datasets, opened, strict=True)
    ]
    check_batch(config, sum(len(part.train) for part in parts))
    return parts, preprocess


def choose_preprocess(
    config: TrainConfig, specs: Sequence[DatasetSpec], begun_with: str | None = None
) -> Preprocess:
    """The preprocessing that all data sets of a run share and its checkpoint keeps.

    Raises:
        ConfigError: if their sizes differ and none was asked for, or `fixed` was for several.
    """
    sizes = {spec.image_size for spec in specs}
    if config.image_size is None and len(sizes) > 1:
        raise ConfigError(f"the data sets' image sizes are {sorted(sizes)}; choose one with --image-size")
    mode = config.normalise or ("frame" if len(specs) > 1 else begun_with or "fixed")
    if mode == "fixed" and len(specs) > 1:
        raise ConfigError(
            "normalise is fixed, but several data sets share no mean and std; use --normalise frame"
        )
    preprocess = specs[0].preprocess(config.image_size)
    return dataclasses.replace(preprocess, normalise="frame") if mode == "frame" else preprocess


def check_batch(config: TrainConfig, count: int) -> None:
    """Refuse a batch that the data cannot fill.

    Raises:
        ConfigError: if there are fewer images than one batch.
    """
    images = config.batch_size * int(os.environ.get("WORLD_SIZE", "1"))
    if count < images:
        raise ConfigError(
            f"batch_size {config.batch_size} needs {images} training images, of which there are {count}; lower it"
        )


def check_stride(config: TrainConfig, model: SAMSPL, count: int, image_size: int) -> None:
    """Refuse batches in which BatchNorm would see a single value of a channel.

    Raises:
        ConfigError: if a batch can hold one image and the deepest map one pixel.
    """
    stride = 2 ** (len(model.config.stages) + 1)
    side = config.patch_size or image_size
    per_process = -(-count // int(os.environ.get("WORLD_SIZE", "1")))
    smallest = per_process % config.batch_size or config.batch_size
    if smallest == 1 and side <= stride:
        raise ConfigError(
            f"images of {side} pixels become maps of 1x1 at stride {stride}, and the smallest batch has 1 image, from "
            "which BatchNorm cannot take a spread; enlarge image_size or change batch_size"
        )


def _check_targets(sources: Sequence[InfraredDataset | None]) -> None:
    """Refuse data sets that have no target between them; None, drawn scenes, has some.

    Frames without targets teach what is none, but only beside others that show what is one.
    """
    sets = [source for source in sources if source is not None]
    if len(sets) < len(sources) or any(one.read(i).mask.any() for one in sets for i in range(len(one))):
        return
    raise DatasetError(
        f"{', '.join(str(one.root) for one in sets)} cannot be trained on: {NO_TARGETS}, not one training mask holds "
        f"any; see: samspl data check {sets[0].root}"
    )


def _open(
    config: TrainConfig, name: str
) -> tuple[DatasetSpec, InfraredDataset | None, InfraredDataset | None]:
    """Specification, training part and selection part; the parts are None for synthetic scenes."""
    if name.lower() == SYNTHETIC:
        if config.select_on == "test":
            raise ConfigError("data set synthetic has no test list; leave --select-on out")
        return synthetic_spec(), None, None
    whole = open_dataset(name, config.data_path, "train", config.split_set)
    if int(os.environ.get("RANK", "0")) == 0:  # one process of several is enough to find out
        problems = check_dataset(whole.root, whole.spec).problems
        # a set without targets is judged beside the others: see _check_targets
        fatal = [one for one in problems if one.severity == "fatal" and one.kind != NO_TARGETS]
        if fatal:
            raise DatasetError(
                f"{whole.root} cannot be trained on: {fatal[0].kind}, {fatal[0].file} ({fatal[0].detail}); "
                f"see: samspl data check {whole.root}"
            )
    if config.select_on == "test":
        return whole.spec, whole, open_dataset(name, config.data_path, "test", config.split_set)
    if len(whole) < 2:
        raise DatasetError(f"{whole.split.path} lists {len(whole)} images; training needs at least 2")
    val = open_dataset(name, config.data_path, "val", config.split_set)
    aside = set(val.ids)
    kept = tuple(image_id for image_id in whole.ids if image_id not in aside)
    split = dataclasses.replace(whole.split, ids=kept)
    return whole.spec, InfraredDataset(whole.spec, whole.root, split), val


def _part(
    config: TrainConfig,
    asked: str,
    spec: DatasetSpec,
    train: InfraredDataset | None,
    val: InfraredDataset | None,
    preprocess: Preprocess,
) -> Part:
    assert preprocess.image_size is not None
    patch: Transform | None = None
    if config.patch_size and config.augmentation == "broad":
        pasted = load_crops(Path(config.crops), spec, preprocess) if config.crops else ()
        if config.crops and not pasted:
            raise ConfigError(
                f"crops {config.crops} holds no crops; expected Target_image/ and Target_mask/ in it"
            )
        patch = broad_augmentation(
            config.patch_size,
            config.patch_positive,
            pasted,
            asked not in config.keep_orientation,
            config.variation_of(asked),
        )
    elif config.patch_size:
        patch = TargetPatch(config.patch_size, config.patch_positive)
    samples: TrainSource
    if train is None or val is None:
        # broad has flips of its own
        scene_augmentation: list[Transform] = [] if config.augmentation == "broad" else [Flips()]
        if patch:
            scene_augmentation.append(patch)
        samples = SyntheticTrainSet(
            preprocess,
            config.synthetic_count,
            config.seed,
            Compose(scene_augmentation),
            config.synthetic_empty,
        )
        scenes = SyntheticScenes(preprocess.image_size)
        ids = (f"{config.synthetic_count} drawn scenes an epoch, seed {config.seed}",)
        split = dataclasses.replace(scenes.split, name="train", ids=ids)
        return Part(spec.name, asked, samples, split, scenes, spec.mask_resize)
    augmentation = None
    if config.augmentation == "broad":
        augmentation = patch
    elif patch:
        crops = find_crops(train, preprocess) if spec.augmentation == "scale_crop_paste" else None
        augmentation = Compose((build_augmentation(spec, preprocess.image_size, crops), patch))
    samples = TrainSet(train, preprocess, config.seed, augmentation)
    return Part(spec.name, asked, samples, train.split, val, spec.mask_resize)
