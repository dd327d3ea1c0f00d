"""What is known about each data set: files, masks, normalisation, size, augmentation, source and defects.

Facts of the six published sets are those of the SAM-SPL protocol. A data set of your own is a YAML file with
the fields of `DatasetSpec`, or a folder in the standard layout. No other module compares names of data sets.
"""

import dataclasses
import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import yaml

from samspl.config import nearest_name
from samspl.errors import ConfigError
from samspl.preprocess import Preprocess

MaskResize = Literal["nearest", "bilinear_positive"]
AugmentationName = Literal["flip", "scale_crop", "scale_crop_paste"]

IMAGE_PATTERNS = ("images/{id}.*",)
MASK_PATTERNS = ("masks/{id}.*",)
IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
IMAGENET_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)


@dataclass(frozen=True)
class KnownDefect:
    """A flaw of a data set as its authors publish it."""

    ids: tuple[str, ...]
    """Images that have it."""
    sentence: str
    """What is wrong and what reading does about it."""


@dataclass(frozen=True)
class DatasetSpec:
    """All that is known about a data set before its files are seen."""

    name: str
    """Published name; also the name of its folder."""
    aliases: tuple[str, ...] = ()
    """Other names in use; like the name, matched without regard to case."""
    images: tuple[str, ...] = IMAGE_PATTERNS
    """Where images are, relative to the data set's folder, tried in order; ``{id}`` stands for the id of a
    split list, ``.*`` for any suffix of an image."""
    masks: tuple[str, ...] = MASK_PATTERNS
    """Where masks are, in the same form."""
    image_size: int = 256
    """Side of the square that images are brought to for training and evaluation, in pixels."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    """Subtracted from images, in 0..255 units; one value or one for each of three channels."""
    std: tuple[float, ...] = IMAGENET_STD
    """Divided by, in 0..255 units."""
    mask_resize: MaskResize = "nearest"
    """``nearest``: masks are cut at `mask_threshold`, then resized by nearest neighbour.
    ``bilinear_positive``: masks are resized bilinearly and every positive value is target."""
    mask_threshold: int = 127
    """Grey value (0..255) from which on a pixel is target; not used by ``bilinear_positive``."""
    augmentation: AugmentationName = "scale_crop"
    """Published augmentation: ``flip`` (flips and transpose), ``scale_crop`` (mirror, scale, crop, blur), or
    ``scale_crop_paste`` (the same and target copy-paste)."""
    split_set: str | None = None
    """Set of split lists taken if none is asked for; none: the first that is found."""
    source_url: str = ""
    """Where the data come from."""
    citation: str = ""
    """Paper to cite."""
    defects: tuple[KnownDefect, ...] = ()
    """Known flaws. Only these images may have a mask of another size than the image; it is resized to the
    image."""
    root: Path | None = None
    """Folder of the data set, where the specification was asked for by a path; else it is below the data
    path."""

    def __post_init__(self) -> None:
        for field in ("aliases", "images", "masks"):
            value = getattr(self, field)
            if isinstance(value, str):
                raise ConfigError(f"{field} is {value!r}; expected a list")
            object.__setattr__(self, field, tuple(str(item) for item in value))
        for field in ("images", "masks"):
            for pattern in getattr(self, field):
                path = Path(pattern)
                if "{id}" not in path.stem or not path.suffix or ".." in path.parts or path.is_absolute():
                    raise ConfigError(
                        f"{field} pattern {pattern!r} of {self.name} must lie below the data set's folder "
                        "and end with {id} and a suffix, as 'images/{id}.*'"
                    )
            if not getattr(self, field):
                raise ConfigError(
                    f"{field} of {self.name} is empty; expected patterns such as 'images/{{id}}.*'"
                )
        for field, kind in (("mask_resize", MaskResize), ("augmentation", AugmentationName)):
            if getattr(self, field) not in get_args(kind):
                raise ConfigError(f"{field} is {getattr(self, field)!r}; known: {', '.join(get_args(kind))}")
        if isinstance(self.image_size, bool) or not isinstance(self.image_size, int) or self.image_size < 32:
            raise ConfigError(f"image_size is {self.image_size!r}; expected a whole number, at least 32")
        if not 1 <= self.mask_threshold <= 255:
            raise ConfigError(f"mask_threshold is {self.mask_threshold}; expected 1 to 255")
        checked = self.preprocess()  # raises for mean and std that make no sense
        object.__setattr__(self, "mean", checked.mean)
        object.__setattr__(self, "std", checked.std)

    def preprocess(self, image_size: int | None = None) -> Preprocess:
        """The published preprocessing of images.

        Args:
            image_size: Side of the square; none takes the data set's.
        """
        return Preprocess(self.mean, self.std, self.image_size if image_size is None else image_size)

    def binarise(self, grey_mask: np.ndarray) -> np.ndarray:
        """Which pixels of a mask are target, at the mask's own size.

        Args:
            grey_mask: (H, W) uint8 as `samspl.imaging.read_mask` gives it.
        Returns:
            (H, W) bool.
        """
        if self.mask_resize == "bilinear_positive":
            return grey_mask > 0
        return grey_mask >= self.mask_threshold

    def known_defect(self, image_id: str) -> KnownDefect | None:
        """The known flaw of an image, if it has one."""
        return next((defect for defect in self.defects if image_id in defect.ids), None)


_MISFIT = "image and mask are reported not to fit; a mask of another size is resized (nearest) to its image"

DATASETS: tuple[DatasetSpec, ...] = (
    DatasetSpec(
        name="NUDT-SIRST",
        aliases=("NUDT", "NUDT_SIRST"),
        mean=(107.80905,),
        std=(33.02275,),
        mask_resize="bilinear_positive",
        augmentation="flip",
        source_url="https://github.com/YeRen123455/Infrared-Small-Target-Detection",
        citation="Li et al., Dense Nested Attention Network for Infrared Small Target Detection, TIP 2023",
    ),
    DatasetSpec(
        name="IRSTD-1k",
        aliases=("IRSTD1k", "IRSTD_1k"),
        images=(*IMAGE_PATTERNS, "IRSTD1k_Img/{id}.*"),
        masks=(*MASK_PATTERNS, "IRSTD1k_Label/{id}.*"),
        image_size=512,
        mean=(0.28450726 * 255,),
        std=(0.22880708 * 255,),
        augmentation="scale_crop_paste",
        source_url="https://github.com/RuiZhang97/ISNet",
        citation="Zhang et al., ISNet: Shape Matters for Infrared Small Target Detection, CVPR 2022",
    ),
    DatasetSpec(
        name="IRSTDID-SKY",
        aliases=("IRSTDID", "IRSTDID_SKY", "IRSTDID-800"),
        image_size=480,
        source_url="https://github.com/xdFai/IRSTDID-800",
        citation="the authors of IRSTDID-800 (see the source)",
    ),
    DatasetSpec(
        name="NUDT-SIRST-Sea",
        aliases=("NUDT-sea", "NUDT_SIRST_Sea"),
        image_size=1024,
        mean=(0.1583 * 255,),
        std=(0.0885 * 255,),
        augmentation="scale_crop_paste",
        source_url="https://github.com/TianhaoWu16/"
        "Multi-level-TransUNet-for-Space-based-Infrared-Tiny-ship-Detection",
        citation="Wu et al., MTU-Net: Multilevel TransUNet for Space-Based Infrared Tiny Ship Detection, "
        "IEEE TGRS 2023",
        defects=(KnownDefect(("45-01-11", "48-07-11", "48-11-03", "48-11-05"), _MISFIT),),
    ),
    DatasetSpec(
        name="NUAA-SIRST",
        aliases=("NUAA", "NUAA_SIRST", "SIRST", "SIRST-v1"),
        masks=("masks/{id}_pixels0.*", *MASK_PATTERNS),
        split_set="img_idx",
        source_url="https://github.com/YimianDai/sirst",
        citation="Dai et al., Asymmetric Contextual Modulation for Infrared Small Target Detection, "
        "WACV 2021",
        defects=(
            KnownDefect(
                ("Misc_111",),
                "the mask is 592x400, the image 325x220; the mask is resized (nearest) to the image",
            ),
        ),
    ),
    DatasetSpec(
        name="SIRST-UAVB",
        aliases=("UAVB", "SIRST_UAVB"),
        image_size=480,
        citation="the authors of SIRST-UAVB (the protocol names no source)",
    ),
)
"""The data sets of the published protocol."""


def list_specs() -> tuple[DatasetSpec, ...]:
    """The data sets known by name."""
    return DATASETS


def get_spec(name_or_path: str | Path) -> DatasetSpec:
    """The specification of a data set.

    Args:
        name_or_path: A known name or alias, in any case; or a YAML file with fields of `DatasetSpec`
            (``root``, the
            folder of the data, is relative to the file); or the data set's folder: one named as a known data
            set is that data set, any other is in the standard layout (``images/``, ``masks/``, ``train.txt``,
            ``test.txt``), normalised by ImageNet's mean and std at 256 x 256.
    Raises:
        ConfigError: for an unknown name (the nearest known one is named) or a YAML file with wrong fields.
    """
    by_name = {name.lower(): spec for spec in DATASETS for name in (spec.name, *spec.aliases)}
    text = str(name_or_path)
    if found := by_name.get(text.lower()):
        return found
    path = Path(name_or_path)
    if path.suffix.lower() in (".yaml", ".yml"):
        return _from_yaml(path)
    if text and path.is_dir():
        folder = path.resolve().name
        known = by_name.get(folder.lower())
        return dataclasses.replace(known, root=path) if known else DatasetSpec(name=folder, root=path)
    close = difflib.get_close_matches(text.lower(), by_name, n=1)  # aliases too, in any case
    meant = by_name[close[0]].name if close else text
    raise ConfigError(
        f"unknown data set {text!r}; {nearest_name(meant, [spec.name for spec in DATASETS])}; "
        "a YAML specification or the folder of a data set is taken too"
    )


def _from_yaml(path: Path) -> DatasetSpec:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise ConfigError(f"{path} does not exist; expected a YAML specification of a data set") from err
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as err:
        reason = " ".join(str(err).split())
        raise ConfigError(f"{path} cannot be read as YAML ({reason}); correct it") from err
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path} holds no fields; expected lines such as 'name: my-set'")
    known = [field.name for field in dataclasses.fields(DatasetSpec)]
    for field in values:
        if field not in known:
            raise ConfigError(f"{path}: unknown field {field!r}; {nearest_name(str(field), known)}")
    plain: dict[str, Any] = {"name": path.stem, **values}
    try:
        plain["defects"] = tuple(
            KnownDefect(tuple(str(image_id) for image_id in defect["ids"]), str(defect["sentence"]))
            for defect in plain.get("defects") or ()
        )
        if plain.get("root") is not None:
            plain["root"] = path.parent / Path(plain["root"]).expanduser()
        for field in ("mean", "std"):
            if isinstance(plain.get(field), int | float):
                plain[field] = (plain[field],)
        return DatasetSpec(**plain)
    except (TypeError, KeyError, ValueError) as err:  # ConfigError is a ValueError
        raise ConfigError(f"{path}: {err}") from err
