"""The network for one image of one size, as other runtimes plan it best: all shapes known, tokens moved seldom.

Blocks of the trunk that follow each other with windows of the same size keep their tokens in the order of the windows:
what lies between two attentions (norms, perceptron, sums) does not mind the order, nor does attention over the whole
map. So tokens are sorted into windows once for a run of blocks, where `hiera` does it for query, key and value of
every block. The numbers are the same up to rounding.
"""

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samspl.models.hiera import PATCH_STRIDE, HieraBlock, MultiScaleAttention, max_pool_tokens
from samspl.models.inference import InferenceNetwork
from samspl.models.two_way import NUM_HEADS, Attention
from samspl.models.windows import Strip, whole_and_rest

Area = tuple[Strip, Strip]
"""Windows of equal shape: the rows and the columns that they lie in."""


def fix_size(network: InferenceNetwork, size_hw: tuple[int, int]) -> InferenceNetwork:
    """A copy of a network for one image of one size.

    Args:
        network: Left as it is.
        size_hw: Height and width of the input, multiples of 32.
    """
    network = copy.deepcopy(network)
    trunk = network.encoder.trunk
    h, w = (side // PATCH_STRIDE for side in size_hw)
    run: WindowRun | None = None
    for i, block in enumerate(trunk.blocks):
        assert isinstance(block, HieraBlock)
        if block.attn.pools:
            block.attn = PoolingAttention(block.attn, (h, w))  # type: ignore[assignment]
            h, w, run = h // 2, w // 2, None
            continue
        is_last = i in trunk.stage_ends  # gets guidance first, and is looked at afterwards
        if run is None or is_last or not run.takes(block):
            run = WindowRun((h, w), block)
            trunk.blocks[i] = run
        else:
            run.append(block)
            trunk.blocks[i] = nn.Identity()
        if is_last:
            run = None
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, Attention):
                setattr(module, name, FixedAttention(child))
    return network


def areas_of(size_hw: tuple[int, int], window: int | None) -> list[Area]:
    """The map, cut into areas of windows of equal shape: whole ones, and those that the border cuts."""
    h, w = size_hw
    return [
        (row, column) for row in whole_and_rest(h, window or h) for column in whole_and_rest(w, window or w)
    ]


def to_windows(x: Tensor, area: Area, scale: int = 1) -> Tensor:
    """Tokens (1, H, W, C) of an area as (windows, tokens of a window, C); its numbers count ``scale`` tokens as one."""
    row, column = area
    (top, bottom, rows), (left, right, columns) = (
        (s.start // scale, s.stop // scale, s.side // scale) for s in (row, column)
    )
    c = x.shape[-1]
    down, across = (bottom - top) // rows, (right - left) // columns
    x = x[0, top:bottom, left:right].reshape(down, rows, across, columns, c)
    return x.transpose(1, 2).reshape(down * across, rows * columns, c)


def from_windows(
    windows: list[Tensor], areas: list[Area], size_hw: tuple[int, int], scale: int = 1
) -> Tensor:
    """Inverse of `to_windows` for all areas of a map of ``size_hw`` tokens: (1, H, W, C)."""
    parts: dict[int, list[Tensor]] = {}
    for tokens, (row, column) in zip(windows, areas, strict=True):
        rows, columns = row.side // scale, column.side // scale
        down, across = ((s.stop - s.start) // s.side for s in (row, column))
        part = tokens.reshape(down, across, rows, columns, -1).transpose(1, 2)
        parts.setdefault(row.start, []).append(part.reshape(1, down * rows, across * columns, -1))
    strips = [part[0] if len(part) == 1 else torch.cat(part, 2) for part in parts.values()]
    return strips[0] if len(strips) == 1 else torch.cat(strips, 1)


def _rows(linear: nn.Linear, start: int, stop: int) -> nn.Linear:
    """The layer that gives some of a layer's outputs."""
    part = nn.Linear(linear.in_features, stop - start)
    part.weight.data = linear.weight.data[start:stop].clone()
    part.bias.data = linear.bias.data[start:stop].clone()
    return part


class WindowAttention(nn.Module):
    """Attention inside windows, from the projections of a `hiera.MultiScaleAttention`."""

    def __init__(self, attention: MultiScaleAttention, areas: list[Area]) -> None:
        """``areas`` are those of the map."""
        super().__init__()
        self.heads = attention.num_heads
        self.areas = areas
        self.window = attention.window
        c = attention.proj.in_features
        # three products spare the cut of one
        self.query, self.key, self.value = (_rows(attention.qkv, i * c, (i + 1) * c) for i in range(3))
        self.proj = attention.proj

    def attend(self, query: Tensor, key: Tensor, value: Tensor, area: Area) -> Tensor:
        """(windows, tokens, C) each, to the shape of ``query``; see `hiera` for what stands for filling tokens."""
        row, column = area
        n, tokens, c = query.shape
        mask = None
        if filling := row.window * column.window - row.side * column.side:
            key_bias, value_bias = (part.bias.expand(n, 1, c) for part in (self.key, self.value))
            key, value = torch.cat([key, key_bias], 1), torch.cat([value, value_bias], 1)
            mask = torch.zeros(1, 1, 1, row.side * column.side + 1)
            mask[..., -1] = math.log(filling)
        query, key, value = (
            x.reshape(n, -1, self.heads, c // self.heads).transpose(1, 2) for x in (query, key, value)
        )
        out = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask
        )  # (n, heads, tokens, C / heads)
        return out.transpose(1, 2).reshape(n, tokens, c)


class PoolingAttention(WindowAttention):
    """The attention of a block that pools: queries are 2x2 tokens each."""

    def __init__(self, attention: MultiScaleAttention, size_hw: tuple[int, int]) -> None:
        """``size_hw`` is the size of the map in tokens."""
        super().__init__(attention, areas_of(size_hw, attention.window))
        self.size_hw = size_hw

    def forward(self, x: Tensor) -> Tensor:
        """(1, H, W, dim) to (1, H / 2, W / 2, dim_out)."""
        query, key, value = max_pool_tokens(self.query(x)), self.key(x), self.value(x)
        found = [
            self.attend(to_windows(query, area, 2), to_windows(key, area), to_windows(value, area), area)
            for area in self.areas
        ]
        return self.proj(from_windows(found, self.areas, self.size_hw, 2))


class OrderedAttention(WindowAttention):
    """Attention over tokens that lie in the order of some windows, or over all of them."""

    def forward(self, x: Tensor) -> Tensor:
        """(1, T, C) to the same shape."""
        query, key, value = self.query(x), self.key(x), self.value(x)
        if self.window is None:
            return self.proj(self.attend(query, key, value, self.areas[0]))
        found, start = [], 0
        c = x.shape[-1]
        for row, column in self.areas:
            tokens, count = row.side * column.side, (row.stop - row.start) * (column.stop - column.start)
            part = slice(start, start + count)
            one, two, three = (t[0, part].reshape(count // tokens, tokens, c) for t in (query, key, value))
            found.append(self.attend(one, two, three, (row, column)).reshape(1, count, c))
            start += count
        return self.proj(found[0] if len(found) == 1 else torch.cat(found, 1))


class WindowRun(nn.Module):
    """Blocks that follow each other and share their windows."""

    def __init__(self, size_hw: tuple[int, int], first: HieraBlock) -> None:
        """Begins with one block, for a map of ``size_hw`` tokens."""
        super().__init__()
        self.size_hw = size_hw
        self.window: int | None = None
        self.blocks = nn.ModuleList()
        self.append(first)

    def takes(self, block: HieraBlock) -> bool:
        """Whether a block can go on in this order of tokens: one over the whole map always can."""
        return None in (block.attn.window, self.window) or block.attn.window == self.window

    def append(self, block: HieraBlock) -> None:
        """Add the block that follows."""
        self.window = self.window or block.attn.window
        areas = areas_of(self.size_hw, block.attn.window)
        block.attn = OrderedAttention(block.attn, areas)  # type: ignore[assignment]
        self.blocks.append(block)

    def forward(self, x: Tensor) -> Tensor:
        """(1, H, W, C) to the same shape."""
        areas = areas_of(self.size_hw, self.window)
        c = x.shape[-1]
        windows = [to_windows(x, area) for area in areas]
        x = torch.cat([tokens.reshape(1, -1, c) for tokens in windows], 1)  # (1, H * W, C)
        for block in self.blocks:
            x = block(x)
        counts = [(row.stop - row.start) * (column.stop - column.start) for row, column in areas]
        return from_windows(list(torch.split(x, counts, 1)), areas, self.size_hw)


class FixedAttention(nn.Module):
    """A `two_way.Attention` of one image."""

    def __init__(self, attention: Attention) -> None:
        """Takes over its parts."""
        super().__init__()
        self.inner = attention

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(1, n, width), (1, m, width), (1, m, width) to (1, n, width)."""
        inner = self.inner
        width = inner.q_proj.out_features
        q, k, v = (
            proj(x).reshape(1, -1, NUM_HEADS, width // NUM_HEADS).transpose(1, 2)
            for proj, x in ((inner.q_proj, q), (inner.k_proj, k), (inner.v_proj, v))
        )
        out = F.scaled_dot_product_attention(q, k, v)  # (1, heads, n, width / heads)
        return inner.out_proj(out.transpose(1, 2).reshape(1, -1, width))
