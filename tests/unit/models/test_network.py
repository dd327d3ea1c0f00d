"""The whole network, in every variant: shapes, freezing, gradients, initialisation."""

import dataclasses

import pytest
import torch

import samspl
from samspl.config import ModelConfig
from samspl.errors import ConfigError
from samspl.models.network import SAMSPL
from samspl.models.variants import VARIANTS, variant_config
from tests.deterministic import fill, image

NARROW = ModelConfig(
    embed_dim=16,
    stages=(1, 2, 2),
    global_blocks=(4,),
    width=32,
    mlp_width=48,
    attention_floor=4,
    squeeze_floor=2,
)
SHAPES = {
    "three stages": NARROW,
    "two stages": dataclasses.replace(NARROW, stages=(1, 3), window_sizes=(8, 4), global_blocks=(3,)),
    "four stages": dataclasses.replace(
        NARROW, stages=(1, 2, 2, 2), window_sizes=(8, 4, 14, 7), global_blocks=(4,)
    ),
    "two heads": dataclasses.replace(NARROW, num_heads=2, pos_embed_size=(14, 14)),
    "no self-prompt decoder": dataclasses.replace(NARROW, use_sam_decoder=False),
    "two stages, no self-prompt decoder": dataclasses.replace(
        NARROW, stages=(1, 3), window_sizes=(8, 4), global_blocks=(3,), use_sam_decoder=False
    ),
    "light forms": dataclasses.replace(NARROW, light_levels=2, stem_blocks=(1, 2, 3), consultation_kernel=3),
    "light forms at all levels, sub-pixel fusion": dataclasses.replace(
        NARROW, light_levels=5, subpixel_fusion=True
    ),
    "sub-pixel fusion, no self-prompt decoder": dataclasses.replace(
        NARROW, light_levels=1, subpixel_fusion=True, use_sam_decoder=False
    ),
    "stem and fusion of their own widths": dataclasses.replace(NARROW, stem_channels=(6, 10), fusion_floor=7),
}


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("size_hw", [(64, 64), (32, 96)])
def test_three_maps_of_the_input_size(config, size_hw):
    model = fill(SAMSPL(config))
    with torch.no_grad():
        logits = model(image(2, *size_hw, seed=0))
    assert [tuple(m.shape) for m in logits] == [(2, 1, *size_hw)] * 3
    assert all(m.std() > 0 for m in logits)


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_features_double_channels_and_halve_size(config):
    with torch.no_grad():
        features = fill(SAMSPL(config)).encoder(image(1, 64, 64, seed=1))
    shallow = [*(config.stem_channels or (4, 8)), 16]
    assert [f.shape[1] for f in features] == shallow + [16 * 2**i for i in range(1, len(config.stages))]
    assert [f.shape[2] for f in features] == [64 // 2**i for i in range(2 + len(config.stages))]


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_every_parameter_gets_a_gradient(config):
    model = SAMSPL(config).train()
    sum(m.square().mean() for m in model(image(2, 64, 64, seed=2))).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("variant", "millions", "trunk_millions"),
    [("spl_t", 25.5, 13.3), ("spl_s", 70.7, 33.9), ("spl_l", 172.7, 149.7)],
)
def test_parameter_counts_are_the_published_ones(variant, millions, trunk_millions):
    with torch.device("meta"):
        model = SAMSPL(VARIANTS[variant])
    # one pair of the authors' tensors is unused and not built: 7x7 patches of the consultation branch
    unused = model.config.embed_dim * (3 * 7 * 7 + 1)
    count = sum(p.numel() for p in model.parameters()) + unused
    assert count / 1e6 == pytest.approx(millions, abs=0.05)
    assert sum(p.numel() for p in model.encoder.trunk.parameters()) / 1e6 == pytest.approx(
        trunk_millions, abs=0.05
    )


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("use_sam_decoder", [True, False])
def test_every_variant_runs(variant, use_sam_decoder):
    with torch.device("meta"):
        model = SAMSPL(variant_config(variant, use_sam_decoder=use_sam_decoder)).eval()
        assert model(torch.empty(1, 3, 64, 96))[0].shape == (1, 1, 64, 96)


def test_create_model_takes_any_field_and_trains():
    model = samspl.create_model(
        "spl_t", embed_dim=16, stages=(1, 2, 2), global_blocks=(4,), width=32, mlp_width=32
    )
    assert model.training
    assert model.config.width == 32
    assert all(p.requires_grad for p in model.parameters())


def test_unknown_variant_and_field_name_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'spl_t'"):
        samspl.create_model("spl-t")
    with pytest.raises(ConfigError, match="did you mean 'width'"):
        samspl.create_model("spl_t", widht=3)


def test_frozen_trunk_stays_frozen_through_train_and_steps():
    model = SAMSPL(NARROW)
    model.freeze_trunk()
    before = {key: t.clone() for key, t in model.encoder.trunk.state_dict().items()}
    for _ in range(2):
        model.train()
        assert not model.encoder.trunk.training
        assert model.encoder.stem.training
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
        sum(m.mean() for m in model(image(2, 64, 64, seed=4))).backward()
        optimizer.step()
        model.eval()
    after = model.encoder.trunk.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(p.grad is None for p in model.encoder.trunk.parameters())
    assert all(p.grad is not None for p in model.encoder.consultations.parameters())


def test_initialisation_is_the_published_one():
    torch.manual_seed(0)
    model = SAMSPL(dataclasses.replace(NARROW, embed_dim=64))
    conv = model.encoder.consultations[0].conv2.conv
    assert conv.weight.std().item() == pytest.approx((2 / (64 * 49)) ** 0.5, rel=0.02)
    norm = model.encoder.residuals[1].conv1.norm
    assert norm.weight.mean().item() == pytest.approx(1, abs=0.01)
    assert 0.01 < norm.weight.std().item() < 0.03
    assert norm.bias.abs().max() == 0
    assert model.encoder.trunk.pos_embed.std().item() == pytest.approx(0.02, rel=0.1)


def test_train_and_eval_give_the_same_kind_of_result():
    model = SAMSPL(NARROW)
    for mode in (True, False):
        assert len(model.train(mode)(image(2, 32, 32, seed=5))) == 3


def test_result_does_not_depend_on_memory_layout():
    model = fill(SAMSPL(NARROW))
    images = image(2, 64, 64, seed=6)
    with torch.no_grad():
        expected = model(images)
        model.to(memory_format=torch.channels_last)
        for ours, other in zip(expected, model(images), strict=True):
            torch.testing.assert_close(ours, other, rtol=1e-4, atol=1e-4)
