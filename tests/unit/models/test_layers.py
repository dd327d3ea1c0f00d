"""Building blocks against the sentences of the paper, written out plainly."""

import pytest
import torch
import torch.nn.functional as F

from samspl.models.decoder import MutualCalibration, SkipConnection, SpatialSemanticFusion, SubpixelJoin
from samspl.models.layers import ChannelAttention, ConvNorm, LayerNorm2d, ResidualBlock
from tests.deterministic import fill


@pytest.mark.parametrize("kernel", [1, 3, 7])
@pytest.mark.parametrize("size", [4, 32])
def test_conv_norm_in_eval_equals_convolution_then_norm(kernel, size):
    layer = fill(ConvNorm(6, 5, kernel))
    x = torch.randn(2, 6, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(layer(x), layer.norm(layer.conv(x)), rtol=1e-5, atol=1e-5)


def test_conv_norm_in_training_uses_and_updates_batch_statistics():
    layer = ConvNorm(3, 4, 3).train()
    x = torch.randn(4, 3, 8, 8)
    y = layer(x)
    torch.testing.assert_close(y.mean((0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
    assert layer.norm.num_batches_tracked == 1


def test_channel_attention_of_constant_map_sees_mean_and_maximum_alike():
    attention = fill(ChannelAttention(8))
    x = torch.ones(1, 8, 5, 5)
    mlp = attention.fc2(F.relu(attention.fc1(torch.ones(1, 8, 1, 1))))
    torch.testing.assert_close(attention(x), torch.sigmoid(2 * mlp))


def test_attention_floor_widens_the_hidden_layer():
    assert ChannelAttention(8).fc1.out_channels == 2
    assert ChannelAttention(8, floor=6).fc1.out_channels == 6


def test_residual_block_is_what_the_paper_says():
    block = fill(ResidualBlock(3, 8))
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        y = F.relu(block.conv1.norm(block.conv1.conv(x)))
        y = block.conv2.norm(block.conv2.conv(y))
        y = y * block.channel_attention(y)
        y = y * block.spatial_attention(y)
        expected = F.relu(y + block.shortcut.norm(block.shortcut.conv(x)))
        torch.testing.assert_close(block(x), expected, rtol=1e-5, atol=1e-5)


def test_layer_norm_2d_normalises_over_channels():
    norm = LayerNorm2d(16, eps=1e-6)
    y = norm(torch.randn(2, 16, 3, 5))
    torch.testing.assert_close(y.mean(1), torch.zeros(2, 3, 5), atol=1e-5, rtol=0)


def test_skip_connection_in_eval_equals_its_parts():
    skip = fill(SkipConnection(32))
    x = torch.randn(2, 32, 8, 8, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        expected = F.gelu(skip.conv(F.gelu(skip.norm(x * skip.squeeze_excite(x)))))
        torch.testing.assert_close(skip(x), expected, rtol=1e-5, atol=1e-5)


def test_fusion_calibrates_the_upsampled_map():
    """Ours shifts before the resize; the paper after it. Both must agree, borders included."""
    fusion = fill(SpatialSemanticFusion(8, 6, 4))
    generator = torch.Generator().manual_seed(3)
    feature, decoder = (
        torch.randn(2, 8, 16, 12, generator=generator),
        torch.randn(2, 6, 8, 6, generator=generator),
    )
    with torch.no_grad():
        skip = fusion.skip(feature)
        up = F.interpolate(decoder, scale_factor=2, mode="bilinear", align_corners=True)
        up = up + fusion.calibration.from_skip(skip.mean((2, 3)))[:, :, None, None]
        skip = skip + fusion.calibration.from_decoder(decoder.mean((2, 3)))[:, :, None, None]
        x = torch.cat([up, skip], 1)
        for layer in (fusion.conv1, fusion.conv2):
            x = F.relu(layer.norm(layer.conv(x)))
        torch.testing.assert_close(fusion(feature, decoder), x, rtol=1e-5, atol=1e-5)


def test_subpixel_join_lays_four_values_out_for_each_pixel():
    join = fill(SubpixelJoin(3, 5, 2))
    generator = torch.Generator().manual_seed(4)
    skip, decoder = (
        torch.randn(1, 3, 8, 6, generator=generator),
        torch.randn(1, 5, 4, 3, generator=generator),
    )
    with torch.no_grad():
        joined = join(skip, decoder)
        plain, four = (part.norm(part.conv(x)) for part, x in ((join.skip, skip), (join.decoder, decoder)))
    four = four.reshape(2, 2, 2, 4, 3)  # channel, row and column within the pixel, pixel
    for row in range(2):
        for column in range(2):
            found = joined[0, :, row::2, column::2] - plain[0, :, row::2, column::2]
            torch.testing.assert_close(found, four[:, row, column], rtol=1e-5, atol=1e-5)


def test_light_subpixel_fusion_has_no_other_convolution_on_its_skip():
    fusion = fill(SpatialSemanticFusion(8, 6, 4, is_light=True, is_subpixel=True))
    assert not list(fusion.skip.parameters())


def test_calibration_of_zero_maps_gives_the_biases():
    calibration = fill(MutualCalibration(4, 6))
    skip, decoder = calibration(torch.zeros(1, 4, 4, 4), torch.zeros(1, 6, 2, 2))
    assert torch.equal(skip[0, :, 0, 0], calibration.from_decoder.bias)
    assert torch.equal(decoder[0, :, 0, 0], calibration.from_skip.bias)
