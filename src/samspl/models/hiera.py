"""The Hiera trunk of SAM 2: a hierarchical vision transformer over windows.

Follows Meta's SAM 2 (Apache-2.0; Ravi et al., 2024) and Hiera (Ryali et al., ICML 2023); parameter names are Meta's, so
that its checkpoints load unchanged. Tokens are channels last, (B, H, W, C), inside this file only; it gives NCHW maps.
"""

import math
from itertools import accumulate

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import Parameter

from samspl.config import TrunkConfig
from samspl.models.layers import MLP
from samspl.models.windows import Strip, merge, partition, whole_and_rest

INPUT_MULTIPLE = 32
PATCH_STRIDE = 4


def check_input(images: Tensor) -> None:
    """Refuse what the network cannot take.

    Raises:
        ValueError: unless ``images`` is (B, 3, H, W), B at least 1 and H and W multiples of 32; names the size to
            pad to.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images have shape {tuple(images.shape)}; expected (batch, 3, height, width)")
    if not images.shape[0]:
        raise ValueError("images are an empty batch; give at least one")
    h, w = images.shape[2:]
    if h % INPUT_MULTIPLE or w % INPUT_MULTIPLE or not h or not w:
        up_h, up_w = (max(INPUT_MULTIPLE, -(-n // INPUT_MULTIPLE) * INPUT_MULTIPLE) for n in (h, w))
        raise ValueError(
            f"image is {h}x{w} (height x width); the network needs multiples of {INPUT_MULTIPLE} - "
            f"pad to {up_h}x{up_w}"
        )


def max_pool_tokens(x: Tensor) -> Tensor:
    """Maximum over 2x2 tokens: (B, H, W, C) to (B, H // 2, W // 2, C)."""
    return F.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


def _join(parts: list[Tensor], dim: int) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)


class PatchEmbed(nn.Module):
    """Overlapping 7x7 patches at stride 4 as tokens."""

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, embed_dim, 7, PATCH_STRIDE, padding=3)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to tokens (B, H / 4, W / 4, C)."""
        return self.proj(images).permute(0, 2, 3, 1)


class MultiScaleAttention(nn.Module):
    """Self-attention in windows (or over the whole map), with queries pooled 2x2 on request."""

    def __init__(self, dim: int, dim_out: int, num_heads: int, window: int | None, pools: bool) -> None:
        """A ``window`` of None attends over the whole map."""
        super().__init__()
        self.num_heads = num_heads
        self.window = window
        self.pools = pools
        self.qkv = nn.Linear(dim, 3 * dim_out)
        self.proj = nn.Linear(dim_out, dim_out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, dim) to (B, H, W, dim_out), or half of H and W where queries are pooled."""
        h, w = x.shape[1:3]
        q, k, v = self.qkv(x).chunk(3, dim=-1)  # each (B, H, W, C)
        if self.pools:
            q = max_pool_tokens(q)
        rows = whole_and_rest(h, self.window or h)
        columns = whole_and_rest(w, self.window or w)
        parts = [_join([self._attend(q, k, v, row, column) for column in columns], 2) for row in rows]
        return self.proj(_join(parts, 1))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, row: Strip, column: Strip) -> Tensor:
        """Attention inside the windows where a strip of rows crosses a strip of columns: (B, H', W', C)."""
        scale = 2 if self.pools else 1
        side_hw = (row.side, column.side)
        pooled_hw = (row.side // scale, column.side // scale)
        rows, columns = slice(row.start, row.stop), slice(column.start, column.stop)
        key, value = (self._heads(partition(t[:, rows, columns], side_hw)) for t in (k, v))
        rows, columns = (slice(s.start // scale, s.stop // scale) for s in (row, column))
        q = q[:, rows, columns]
        query = self._heads(partition(q, pooled_hw))
        mask = None
        if padding := row.window * column.window - row.side * column.side:
            # SAM 2 pads windows with zero tokens after the norm, and they take part in attention: key and value of
            # each are the bias alone. All are equal, so one stands for them, with log(how many) added to its score.
            _, key_bias, value_bias = self.qkv.bias.reshape(3, self.num_heads, 1, -1)
            key = torch.cat([key, key_bias.expand(len(key), -1, -1, -1)], 2)
            value = torch.cat([value, value_bias.expand(len(value), -1, -1, -1)], 2)
            mask = torch.zeros(1, 1, 1, key.shape[2], dtype=query.dtype, device=query.device)
            mask[..., -1] = math.log(padding)
        # (N, heads, tokens, C / heads)
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return merge(out.transpose(1, 2).flatten(2), pooled_hw, (q.shape[1], q.shape[2]))

    def _heads(self, windows: Tensor) -> Tensor:
        """(N, tokens, C) to (N, heads, tokens, C / heads)."""
        n, tokens, c = windows.shape
        return windows.reshape(n, tokens, self.num_heads, c // self.num_heads).transpose(1, 2)


class HieraBlock(nn.Module):
    """Attention and perceptron, each with its norm and residual."""

    def __init__(self, dim: int, dim_out: int, num_heads: int, window: int | None, pools: bool) -> None:
        """The first block of a later stage changes ``dim`` to ``dim_out`` and pools."""
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = MultiScaleAttention(dim, dim_out, num_heads, window, pools)
        self.norm2 = nn.LayerNorm(dim_out, eps=1e-6)
        self.mlp = MLP((dim_out, 4 * dim_out, dim_out), nn.GELU())
        self.proj = nn.Linear(dim, dim_out) if pools else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, dim) to (B, H, W, dim_out), or half of H and W in a pooling block."""
        normed = self.norm1(x)
        shortcut = x if self.proj is None else max_pool_tokens(self.proj(normed))
        x = shortcut + self.attn(normed)
        return x + self.mlp(self.norm2(x))


class Hiera(nn.Module):
    """The trunk: patch embedding, position embedding, and blocks in stages."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        self.config = config
        ends = list(accumulate(config.stages))
        self.stage_ends = tuple(end - 1 for end in ends)
        """Index of the last block of each stage."""
        self.channels = tuple(config.embed_dim * 2**k for k in range(len(ends)))
        """Channels of each stage's output."""
        first = config.window_sizes[0]
        self.patch_embed = PatchEmbed(config.embed_dim)
        self.pos_embed = Parameter(torch.zeros(1, config.embed_dim, *config.pos_embed_size))
        self.pos_embed_window = Parameter(torch.zeros(1, config.embed_dim, first, first))
        self.blocks = nn.ModuleList()
        for k, (blocks, dim) in enumerate(zip(config.stages, self.channels, strict=True)):
            for j in range(blocks):
                index = len(self.blocks)
                pools = k > 0 and j == 0
                window = config.window_sizes[
                    k - 1 if pools else k
                ]  # a pooling block works on the previous map
                self.blocks.append(
                    HieraBlock(
                        dim // 2 if pools else dim,
                        dim,
                        config.num_heads * 2**k,
                        None if index in config.global_blocks else window,
                        pools,
                    )
                )

    def embed(self, images: Tensor) -> Tensor:
        """Tokens with their positions: (B, 3, H, W) to (B, H / 4, W / 4, C).

        Raises:
            ValueError: for a shape that the network cannot take.
        """
        check_input(images)
        x = self.patch_embed(images)
        return x + self.positions(x.shape[1], x.shape[2])

    def positions(self, h: int, w: int) -> Tensor:
        """Position embedding of a map of h x w tokens: (1, h, w, C)."""
        position = F.interpolate(self.pos_embed, size=(h, w), mode="bicubic")
        side = self.pos_embed_window.shape[-1]
        position = position + self.pos_embed_window.tile(1, 1, h // side, w // side)
        return position.permute(0, 2, 3, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) to the stages' outputs, NCHW, strides 4, 8, 16, 32, channels doubling."""
        x = self.embed(images)
        outputs = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.stage_ends:
                outputs.append(x.permute(0, 3, 1, 2))
        return outputs
