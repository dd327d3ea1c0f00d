"""The trunk: layout, windows at the border against SAM 2's padding done literally, refusals."""

import pytest
import torch
import torch.nn.functional as F

from samspl.config import TrunkConfig
from samspl.models.factory import create_trunk
from samspl.models.hiera import Hiera, MultiScaleAttention
from samspl.models.variants import TRUNKS
from tests.deterministic import fill, image

NARROW = TrunkConfig(16, 1, (1, 2, 2), (4,), (8, 4, 14))


def attention_with_real_padding(attention: MultiScaleAttention, x: torch.Tensor) -> torch.Tensor:
    """What SAM 2 does: pad tokens with zeros, cut windows, attend in each, put together, crop."""
    window, heads = attention.window, attention.num_heads
    b, h, w, _ = x.shape
    padded = F.pad(x, (0, 0, 0, -w % window, 0, -h % window))
    hp, wp = padded.shape[1:3]
    step = window // 2 if attention.pools else window
    dim_out = attention.proj.in_features
    out = torch.zeros(b, hp // (window // step), wp // (window // step), dim_out)
    for n in range(b):
        for i, top in enumerate(range(0, hp, window)):
            for j, left in enumerate(range(0, wp, window)):
                tokens = padded[n, top : top + window, left : left + window]
                q, k, v = attention.qkv(tokens).chunk(3, -1)  # (window, window, C)
                if attention.pools:
                    q = F.max_pool2d(q.permute(2, 0, 1), 2).permute(1, 2, 0)
                q, k, v = (t.reshape(-1, heads, dim_out // heads).transpose(0, 1) for t in (q, k, v))
                weight = torch.softmax(q @ k.transpose(1, 2) / (dim_out // heads) ** 0.5, -1)
                done = (weight @ v).transpose(0, 1).reshape(step, step, dim_out)
                out[n, i * step : (i + 1) * step, j * step : (j + 1) * step] = done
    scale = window // step
    return attention.proj(out[:, : h // scale, : w // scale])


@pytest.mark.parametrize("pools", [False, True])
@pytest.mark.parametrize("size_hw", [(16, 16), (4, 30), (14, 14), (28, 2), (32, 18)])
def test_windows_cut_by_the_border_equal_padded_ones(pools, size_hw):
    torch.manual_seed(0)
    attention = MultiScaleAttention(6, 12 if pools else 6, 2, 14, pools)
    torch.nn.init.normal_(attention.qkv.bias, std=2.0)  # the padding speaks through the bias
    x = torch.randn(2, *size_hw, 6)
    with torch.no_grad():
        expected = attention_with_real_padding(attention, x)
        torch.testing.assert_close(attention(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", TRUNKS)
def test_every_trunk_has_four_stages_of_the_published_shapes(name):
    with torch.device("meta"):
        trunk = Hiera(TRUNKS[name])
        stages = trunk(torch.empty(1, 3, 64, 96))
    c = TRUNKS[name].embed_dim
    assert [tuple(s.shape) for s in stages] == [
        (1, c, 16, 24),
        (1, 2 * c, 8, 12),
        (1, 4 * c, 4, 6),
        (1, 8 * c, 2, 3),
    ]


def test_create_trunk_without_weights_is_random_and_trainable():
    trunk = create_trunk("tiny")
    assert trunk.pos_embed.std() > 0
    assert all(p.requires_grad for p in trunk.parameters())


def test_images_of_a_batch_do_not_mix():
    trunk = fill(Hiera(NARROW))
    images = image(2, 64, 96, seed=3)
    with torch.no_grad():
        for whole, alone in zip(trunk(images), trunk(images[1:]), strict=True):
            torch.testing.assert_close(whole[1:], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 3, 250, 250), "image is 250x250 .* pad to 256x256"),
        ((1, 3, 64, 100), "image is 64x100 .* pad to 64x128"),
        ((1, 1, 64, 64), r"shape \(1, 1, 64, 64\); expected \(batch, 3"),
        ((3, 64, 64), r"expected \(batch, 3, height, width\)"),
        ((1, 3, 0, 64), "pad to 32x64"),
        ((0, 3, 64, 64), "empty batch"),
    ],
)
def test_wrong_input_is_refused_with_the_size_to_pad_to(shape, words):
    with pytest.raises(ValueError, match=words):
        Hiera(NARROW)(torch.zeros(shape))
