"""State dictionaries from files of others: SAM 2 checkpoints, the authors' SAM-SPL weights, and what a file is.

Nothing is ever unpickled but tensors and plain numbers (`torch.load(weights_only=True)`). Layouts: SAM 2 / 2.1 of Meta
(`.pt`), the same on the Hugging Face hub (safetensors, names of transformers' Sam2 model), the authors' release.
"""

import pickle
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from samspl.config import ModelConfig, TrunkConfig
from samspl.errors import CheckpointError
from samspl.models.variants import VARIANTS

StateDict = dict[str, Tensor]

META_TRUNK = "image_encoder.trunk."
HUB_TRUNK = "vision_encoder.backbone."

# transformers' Sam2HieraDetModel -> Meta's trunk
_HUB_RENAMES = (
    (r"^patch_embed\.projection\.", "patch_embed.proj."),
    (r"\.layer_norm([12])\.", r".norm\1."),
    (r"\.mlp\.proj_in\.", ".mlp.layers.0."),
    (r"\.mlp\.proj_out\.", ".mlp.layers.1."),
)

# the authors' names -> ours
_AUTHORS_RENAMES = (
    (r"^image_encoder\.inc0\.", "encoder.stem."),
    (r"^image_encoder\.incs\.(\d+)\.0\.", r"encoder.residuals.\1."),
    (
        r"^image_encoder\.trunk\.promote_genertor\.blocks\.(\d+)\.blk\.0\.",
        r"encoder.consultations.\1.conv1.conv.",
    ),
    (
        r"^image_encoder\.trunk\.promote_genertor\.blocks\.(\d+)\.blk\.1\.",
        r"encoder.consultations.\1.conv1.norm.",
    ),
    (
        r"^image_encoder\.trunk\.promote_genertor\.blocks\.(\d+)\.blk\.3\.",
        r"encoder.consultations.\1.conv2.conv.",
    ),
    (
        r"^image_encoder\.trunk\.promote_genertor\.blocks\.(\d+)\.blk\.4\.",
        r"encoder.consultations.\1.conv2.norm.",
    ),
    (r"^image_encoder\.trunk\.", "encoder.trunk."),
    (r"^(encoder\.(?:stem|residuals)\..*)\.conv(\d)\.", r"\1.conv\2.conv."),
    (r"^(encoder\.(?:stem|residuals)\..*)\.bn(\d)\.", r"\1.conv\2.norm."),
    (r"\.shortcut\.0\.", ".shortcut.conv."),
    (r"\.shortcut\.1\.", ".shortcut.norm."),
    (r"\.ca\.fc", ".channel_attention.fc"),
    (r"\.sa\.conv1\.conv\.", ".spatial_attention.conv."),
    (
        r"^image_pe_encoder\.proj_blocks\.(\d+)\.(\d+)\.conv\.",
        r"decoder.prompt_generator.branches.\1.down.\2.conv.",
    ),
    (
        r"^image_pe_encoder\.proj_blocks\.(\d+)\.(\d+)\.bn\.",
        r"decoder.prompt_generator.branches.\1.down.\2.norm.",
    ),
    (r"^image_pe_encoder\.proj\.0\.", "decoder.prompt_generator.mix."),
    (r"^mask_token\.weight$", "decoder.output_token"),
    (r"^decoder_transformer\.", "decoder.transformer."),
    (r"^output_upscaling\.", "decoder.upscale."),
    (r"^output_hypernetworks_mlp\.", "decoder.token_mlp."),
    (r"^skip_convs\.(\d+)\.0\.fc\.0\.", r"fusions.\1.skip.squeeze_excite.fc1."),
    (r"^skip_convs\.(\d+)\.0\.fc\.2\.", r"fusions.\1.skip.squeeze_excite.fc2."),
    (r"^skip_convs\.(\d+)\.1\.", r"fusions.\1.skip.norm."),
    (r"^skip_convs\.(\d+)\.3\.", r"fusions.\1.skip.conv."),
    (r"^up_decoders\.(\d+)\.cross_att\.se_input_att\.fc\.1\.", r"fusions.\1.calibration.from_skip."),
    (r"^up_decoders\.(\d+)\.cross_att\.se_skip_att\.fc\.1\.", r"fusions.\1.calibration.from_decoder."),
    (r"^up_decoders\.(\d+)\.nConvs\.0\.", r"fusions.\1.conv1."),
    (r"^up_decoders\.(\d+)\.nConvs\.1\.", r"fusions.\1.conv2."),
    (r"^reduction_convs\.", "heads."),
)
_AUTHORS_UNUSED = "image_encoder.trunk.promote_genertor.patchEmded."


@dataclass(frozen=True)
class LoadReport:
    """What loading did with a file's tensors."""

    source: str
    """Layout and file, for a person."""
    loaded: tuple[str, ...]
    """Our keys that got their values."""
    ignored: tuple[str, ...] = ()
    """The file's keys that were left aside on purpose."""

    def __str__(self) -> str:
        aside = f", {len(self.ignored)} left aside on purpose" if self.ignored else ""
        return f"{len(self.loaded)} tensors from {self.source}{aside}"


def read_tensors(path: Path) -> tuple[StateDict, dict[str, str]]:
    """Every tensor of a weights file, and the text that a safetensors file carries beside them.

    Returns:
        State dictionary on the CPU (unwrapped from `model` or `model_state_dict`, without `module.` prefix), metadata.
    Raises:
        CheckpointError: for a file that is missing, truncated, no checkpoint, or holds anything but data.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} is not a file; expected weights as .safetensors, .pt or .pth")
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as err:
        raise CheckpointError(f"{path} cannot be read ({err.strerror}); check its permission") from err
    if head[8:9] == b"{":
        return _read_safetensors(path)
    if not head.startswith((b"PK\x03\x04", b"\x80")):
        size = path.stat().st_size
        raise CheckpointError(
            f"{path} ({size} bytes) is no checkpoint; expected a .safetensors or PyTorch file"
        )
    return _read_torch(path), {}


def _read_safetensors(path: Path) -> tuple[StateDict, dict[str, str]]:
    try:
        with safe_open(str(path), framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as err:
        raise CheckpointError(f"{path} is damaged or truncated ({err}); download or copy it again") from err


def _read_torch(path: Path) -> StateDict:
    # numpy numbers in a trainer's bookkeeping ("best_iou") are data: let them pass, nothing else
    scalar = np.float64(0).__reduce__()[0]
    numbers: list[Any] = [np.dtype, scalar, *(type(np.dtype(code)) for code in ("f4", "f8", "i8"))]
    try:
        with torch.serialization.safe_globals(numbers):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as err:
        raise CheckpointError(
            f"{path} was refused and nothing in it was run: it is damaged, or it holds Python objects besides tensors; "
            "ask its author for a plain state dictionary or safetensors"
        ) from err
    except Exception as err:  # damaged bytes make the unpickler raise nearly anything
        raise CheckpointError(f"{path} is damaged or truncated; download or copy it again") from err
    for key in ("model_state_dict", "state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(
            f"{path} holds {type(content).__name__}, not a state dictionary of named tensors"
        )
    if stray := [str(key) for key, value in content.items() if not isinstance(value, Tensor)]:
        raise CheckpointError(f"{path} is no state dictionary: {_listed(stray)} hold no tensors")
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def sam_trunk_state(tensors: Mapping[str, Tensor], trunk: TrunkConfig) -> tuple[StateDict, tuple[str, ...]]:
    """The trunk's tensors out of a SAM 2 checkpoint of either layout.

    Args:
        tensors: The whole checkpoint.
        trunk: Decides how many blocks are used; later ones are left aside.
    Returns:
        State under the trunk's own names, and the keys left aside.
    Raises:
        CheckpointError: if it is no SAM 2 checkpoint.
    """
    prefix = next((p for p in (META_TRUNK, HUB_TRUNK) if any(key.startswith(p) for key in tensors)), None)
    if prefix is None:
        raise CheckpointError(
            f"no tensor of a SAM 2 trunk ({META_TRUNK}* or {HUB_TRUNK}*) among {_listed(sorted(tensors))}"
        )
    renames = _HUB_RENAMES if prefix == HUB_TRUNK else ()
    state, aside = {}, []
    for key, value in tensors.items():
        name = _rename(key.removeprefix(prefix), renames)
        block = re.match(r"blocks\.(\d+)\.", name)
        if not key.startswith(prefix) or (block and int(block[1]) >= sum(trunk.stages)):
            aside.append(key)
        else:
            state[name] = value
    return state, tuple(aside)


def is_authors_layout(tensors: Iterable[str]) -> bool:
    """Whether the keys are those of the authors' SAM-SPL network."""
    return any(key.startswith(("image_encoder.inc0.", "up_decoders.")) for key in tensors)


def is_sam_layout(tensors: Iterable[str]) -> bool:
    """Whether the keys are those of a SAM 2 checkpoint, of Meta or of the Hugging Face hub."""
    keys = list(tensors)
    return not is_authors_layout(keys) and any(key.startswith((META_TRUNK, HUB_TRUNK)) for key in keys)


def from_authors(tensors: Mapping[str, Tensor]) -> tuple[StateDict, tuple[str, ...]]:
    """The authors' names as ours.

    Returns:
        State under our names, and the keys left aside (one pair is unused by their forward pass).
    """
    has_sam_decoder = "mask_token.weight" in tensors
    state, aside = {}, []
    for key, value in tensors.items():
        if key.startswith(_AUTHORS_UNUSED):
            aside.append(key)
        elif key.startswith("deep_conv_block.") and has_sam_decoder:
            state[key.replace("deep_conv_block.", "decoder.latent.")] = value
        else:
            state[_fold_sequence(_prompt_projection(_rename(key, _AUTHORS_RENAMES), tensors))] = value
    return state, tuple(aside)


def _prompt_projection(name: str, tensors: Mapping[str, Tensor]) -> str:
    """`image_pe_encoder.proj_blocks.i.j.*` after the strided ones is a 1x1 convolution, then its norm."""
    match = re.match(r"image_pe_encoder\.proj_blocks\.(\d+)\.(\d+)\.(.*)", name)
    if match is None:
        return name
    branch, index, rest = match.groups()
    is_norm = f"image_pe_encoder.proj_blocks.{branch}.{int(index) - 1}.conv.weight" not in tensors
    return f"decoder.prompt_generator.branches.{branch}.project.{'norm' if is_norm else 'conv'}.{rest}"


def _fold_sequence(name: str) -> str:
    """Theirs is [conv, norm, activation, conv, activation ...]; ours has one module for the first two."""
    match = re.match(r"(proj_block|deep_conv_block)\.(\d+)\.(.*)", name)
    if match is None:
        return name
    index, rest = int(match[2]), match[3]
    place = {0: "0.conv", 1: "0.norm"}.get(index, str(index - 1))
    return f"decoder.project.{place}.{rest}"


def infer_config(state: Mapping[str, Tensor]) -> ModelConfig:
    """The named variant whose shapes a state dictionary (our names) has; heads as in the released weights.

    Raises:
        CheckpointError: if no variant has these shapes.
    """
    blocks = {int(m[1]) for key in state if (m := re.match(r"encoder\.trunk\.blocks\.(\d+)\.", key))}
    patch = state.get("encoder.trunk.patch_embed.proj.weight")
    position = state.get("encoder.trunk.pos_embed")
    if patch is None or position is None or not blocks:
        raise CheckpointError(f"these are no SAM-SPL weights; the file holds {_listed(sorted(state))}")
    use_sam_decoder = "decoder.output_token" in state
    for config in VARIANTS.values():
        if (config.embed_dim, sum(config.stages), config.pos_embed_size) == (
            patch.shape[0],
            max(blocks) + 1,
            tuple(position.shape[2:]),
        ):
            return ModelConfig(**{**config.to_dict(), "use_sam_decoder": use_sam_decoder})
    raise CheckpointError(
        f"no variant has embed_dim {patch.shape[0]} and {max(blocks) + 1} trunk blocks; "
        f"known: {', '.join(VARIANTS)}; give the fields that differ, such as embed_dim and stages"
    )


def load_exactly(module: torch.nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copy ``state`` into ``module``; every tensor must be there, fit, and be used.

    Raises:
        CheckpointError: lists the keys that are missing, of another shape, or left over; nothing is loaded then.
    """
    own = module.state_dict()
    # a counter that BatchNorm ignores at its default momentum; older files lack it
    missing = sorted(key for key in own.keys() - state.keys() if not key.endswith("num_batches_tracked"))
    extra = sorted(state.keys() - own.keys())
    shapes = sorted(
        f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
        for key in own.keys() & state.keys()
        if own[key].shape != state[key].shape
    )
    problems = [
        f"{len(keys)} {word}: {_listed(keys)}"
        for keys, word in ((missing, "missing"), (shapes, "of another shape"), (extra, "left over"))
        if keys
    ]
    if problems:
        raise CheckpointError(f"weights from {source} do not fit this network - {'; '.join(problems)}")
    module.load_state_dict(state, strict=False)


def _rename(key: str, renames: Iterable[tuple[str, str]]) -> str:
    for pattern, replacement in renames:
        key = re.sub(pattern, replacement, key)
    return key


def _listed(keys: list[str], most: int = 12) -> str:
    more = f" and {len(keys) - most} more" if len(keys) > most else ""
    return ", ".join(keys[:most]) + more
