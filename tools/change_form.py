"""Weights of `nano` carried into a form with sub-pixel fusion and more light levels, as a beginning for training.

Tensors that both forms have are taken over. A fusion's convolution is parted into the two of a sub-pixel join: the
bilinear resize goes into the decoder's; what a skip connection did to its feature, where the new form has none, is
replaced by the linear map nearest to it on drawn scenes, which goes into the skip's. Attention maps that the new form
lacks are replaced by their means. Little of this is exact: outlines are to be learned anew.

python tools/change_form.py nano.safetensors --form "light_levels=5 subpixel_fusion=true" --out start.safetensors
"""

import argparse
import dataclasses
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from samspl.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from samspl.config import ModelConfig
from samspl.data.synthetic import draw_scene
from samspl.models.decoder import SpatialSemanticFusion, SubpixelJoin
from samspl.models.layers import ConvNorm, ResidualBlock, norm_affine
from samspl.models.network import SAMSPL
from samspl.preprocess import Preprocess

SCENES = 24
RESIZE = torch.tensor(
    [
        [[0.75, 0.25, 0.0], [0.25, 0.75, 0.75], [0.0, 0.0, 0.25]],
        [[0.25, 0.0, 0.0], [0.75, 0.75, 0.25], [0.0, 0.25, 0.75]],
    ]
)
"""[phase, pixel of the small map, tap on the large one]: a filter of three taps after a bilinear resize by two."""

Seen = dict[nn.Module, list[tuple[Tensor, Tensor]]]
"""What went into a module and what came out, once for each scene."""


def draw_inputs(preprocess: Preprocess) -> list[Tensor]:
    """Drawn scenes as network input, (1, 3, 256, 256) each."""
    rng = np.random.default_rng(0)
    return [torch.from_numpy(preprocess(draw_scene(rng).image).values)[None] for _ in range(SCENES)]


@torch.inference_mode()
def watch(network: SAMSPL, modules: list[nn.Module], inputs: list[Tensor]) -> Seen:
    """Inputs and outputs of modules while the network, in eval mode, sees ``inputs``."""
    seen: Seen = defaultdict(list)
    hooks = [
        m.register_forward_hook(lambda m, x, y: seen[m].append((x[0].clone(), y.clone()))) for m in modules
    ]
    for images in inputs:
        network(images)
    for hook in hooks:
        hook.remove()
    return seen


def nearest_linear_map(pairs: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Matrix (out, in) and offset (out,) by which the first maps, NCHW, come nearest to the second."""
    x, y = (torch.cat([pair[i].permute(0, 2, 3, 1).flatten(0, 2) for pair in pairs]).double() for i in (0, 1))
    x = torch.cat([x, x.new_ones(len(x), 1)], 1)
    solution = torch.linalg.lstsq(x.T @ x + 1e-6 * torch.eye(x.shape[1]), x.T @ y).solution.T.float()
    return solution[:, :-1], solution[:, -1]


def part_fusion(
    old: SpatialSemanticFusion, new: SubpixelJoin, skipped: list[tuple[Tensor, Tensor]] | None
) -> None:
    """Fill a sub-pixel join from a fusion.

    Args:
        old: In eval mode.
        new: The new fusion's `conv1`.
        skipped: What went through the old skip connection, where the new form has none.
    """
    assert isinstance(old.conv1, ConvNorm)
    scale, shift = norm_affine(old.conv1.norm)
    weight = old.conv1.conv.weight * scale[:, None, None, None]
    bias = torch.addcmul(shift, old.conv1.conv.bias, scale)
    decoder, skip = weight.split((new.decoder.conv.in_channels, new.skip.conv.in_channels), 1)
    if skipped is not None:
        matrix, offset = nearest_linear_map(skipped)
        bias = bias + skip.sum((2, 3)) @ offset
        skip = torch.einsum("osuv,si->oiuv", skip, matrix)
    phases = torch.einsum("pyu,qxv,oiuv->opqiyx", RESIZE, RESIZE, decoder)
    new.skip.conv.weight.copy_(skip)
    new.skip.conv.bias.copy_(bias)
    new.decoder.conv.weight.copy_(phases.flatten(0, 2))
    new.decoder.conv.bias.zero_()
    for part in (new.skip, new.decoder):  # no normalisation, until its statistics are known
        part.norm.reset_parameters()
        part.norm.running_var.fill_(1 - part.norm.eps)


def drop_attention(old: ResidualBlock, new: ResidualBlock, seen: Seen) -> None:
    """Put the mean of the attention maps into the convolution before them."""
    mean = 1.0
    for attention in (old.channel_attention, old.spatial_attention):
        mean = mean * torch.cat([y for _, y in seen[attention]]).mean((0, 2, 3))
    new.conv2.norm.weight.mul_(mean)
    new.conv2.norm.bias.mul_(mean)


def set_statistics(norm: nn.BatchNorm2d, pairs: list[tuple[Tensor, Tensor]]) -> None:
    """Normalise by what came out as long as there was no normalisation, and undo it."""
    maps = torch.cat([y for _, y in pairs])
    norm.running_var.copy_(maps.var((0, 2, 3)))
    norm.running_mean.copy_(maps.mean((0, 2, 3)))
    norm.weight.copy_((norm.running_var + norm.eps).sqrt())
    norm.bias.copy_(norm.running_mean)


@torch.no_grad()
def change_form(weights: Checkpoint, config: ModelConfig) -> dict[str, Tensor]:
    """Tensors of a network of ``config`` that begins near ``weights``."""
    old, new = SAMSPL(weights.config).eval(), SAMSPL(config).eval()
    old.load_state_dict(weights.state)
    own = new.state_dict()
    shared = {name: x for name, x in weights.state.items() if name in own and own[name].shape == x.shape}
    new.load_state_dict(own | shared)

    modules = dict(old.named_modules())
    counterparts = [(modules[name], module) for name, module in new.named_modules() if name in modules]
    fusions = [pair for pair in counterparts if isinstance(pair[1], SpatialSemanticFusion)]
    blocks = [
        (before, after)
        for before, after in counterparts
        if isinstance(after, ResidualBlock) and after.spatial_attention is None and before.spatial_attention
    ]
    inputs = draw_inputs(weights.preprocess or Preprocess())
    attention = [
        part for before, _ in blocks for part in (before.channel_attention, before.spatial_attention)
    ]
    seen = watch(old, [before.skip for before, _ in fusions] + attention, inputs)
    for before, after in blocks:
        drop_attention(before, after, seen)
    for before, after in fusions:
        is_dropped = isinstance(after.skip, nn.Identity) and not isinstance(before.skip, nn.Identity)
        part_fusion(before, after.conv1, seen[before.skip] if is_dropped else None)
    parts = [part for _, after in fusions for part in (after.conv1.skip, after.conv1.decoder)]
    for part, pairs in watch(new, parts, inputs).items():
        set_statistics(part.norm, pairs)
    return new.state_dict()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument(
        "--form", default="", help="fields of the new configuration, as `field=value field=value`"
    )
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    fields = {
        name: yaml.safe_load(value) for name, value in (word.split("=", 1) for word in args.form.split())
    }
    weights = read_checkpoint(args.weights)
    config = weights.config.with_fields(fields)
    if not config.subpixel_fusion or weights.config.subpixel_fusion:
        parser.error(f"{args.weights} must be without sub-pixel fusion, and the form with it")
    state = {name: tensor.contiguous() for name, tensor in change_form(weights, config).items()}
    write_checkpoint(args.out, dataclasses.replace(weights, config=config, state=state))
    print(f"{args.out}: {sum(x.numel() for x in SAMSPL(config).parameters())} parameters")


if __name__ == "__main__":
    main()
