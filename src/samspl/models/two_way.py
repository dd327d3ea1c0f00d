"""Bidirectional interaction: SAM's two-way transformer between the output token and the latent map.

Follows the mask decoder of Segment Anything (Kirillov et al., ICCV 2023) and SAM 2 (both Apache-2.0).
"""

import torch.nn.functional as F
from torch import Tensor, nn

from samspl.models.layers import MLP

NUM_HEADS = 8
DEPTH = 2


class Attention(nn.Module):
    """Multi-head attention whose inner width may be smaller than its outer one."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(B, n, width), (B, m, width), (B, m, width) to (B, n, width)."""
        q, k, v = (
            proj(x).unflatten(-1, (NUM_HEADS, -1)).transpose(1, 2)
            for proj, x in ((self.q_proj, q), (self.k_proj, k), (self.v_proj, v))
        )
        out = F.scaled_dot_product_attention(q, k, v)  # (B, heads, n, inner / heads)
        return self.out_proj(out.transpose(1, 2).flatten(2))


class TwoWayLayer(nn.Module):
    """Tokens attend to themselves and to the map, then the map attends to the tokens."""

    def __init__(self, width: int, mlp_width: int, is_first: bool) -> None:
        """In the first layer self-attention sees no positions and replaces the tokens, without residual."""
        super().__init__()
        self.is_first = is_first
        self.self_attn = Attention(width, width)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = Attention(width, width // 2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP((width, mlp_width, width), nn.ReLU())
        self.norm3 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = Attention(width, width // 2)
        self.norm4 = nn.LayerNorm(width)

    def forward(
        self, tokens: Tensor, latent: Tensor, token_pos: Tensor, prompt: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens (B, n, width) and latent (B, hw, width), with their positions, to their next values."""
        if self.is_first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            q = tokens + token_pos
            tokens = tokens + self.self_attn(q, q, tokens)
        tokens = self.norm1(tokens)
        k = latent + prompt
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + token_pos, k, latent))
        tokens = self.norm3(tokens + self.mlp(tokens))
        latent = self.norm4(latent + self.cross_attn_image_to_token(k, tokens + token_pos, tokens))
        return tokens, latent


class TwoWayTransformer(nn.Module):
    """Two layers and a last look of the tokens at the map."""

    def __init__(self, width: int, mlp_width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayLayer(width, mlp_width, i == 0) for i in range(DEPTH))
        self.final_attn_token_to_image = Attention(width, width // 2)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, latent: Tensor, prompt: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, n, width), which are their own positions, and latent and prompt (B, hw, width)."""
        token_pos = tokens
        for layer in self.layers:
            tokens, latent = layer(tokens, latent, token_pos, prompt)
        out = self.final_attn_token_to_image(tokens + token_pos, latent + prompt, latent)
        return self.norm_final_attn(tokens + out), latent
