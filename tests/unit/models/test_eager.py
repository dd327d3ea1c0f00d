"""The network as torch runs it on a CPU: the numbers of the plain form, which stays as it is."""

import dataclasses

import pytest
import torch
from torch import nn

from samspl.backends.pytorch import TorchBackend
from samspl.models.eager import BlockwiseJoin, SlicedMaxPool, suit_eager
from samspl.models.inference import prepare_for_inference
from samspl.models.network import SAMSPL
from tests.deterministic import fill, image
from tests.unit.models.test_network import NARROW, SHAPES

SUBPIXEL = dataclasses.replace(NARROW, light_levels=5, subpixel_fusion=True, fusion_floor=6)


@pytest.mark.parametrize("config", [*SHAPES.values(), SUBPIXEL], ids=[*SHAPES, "sub-pixel"])
def test_numbers_are_those_of_the_plain_form(config):
    network = prepare_for_inference(fill(SAMSPL(config)))
    x = image(2, 64, 96, seed=0)
    with torch.inference_mode():
        torch.testing.assert_close(suit_eager(network)(x), network(x), atol=1e-4, rtol=1e-5)


def test_given_network_keeps_its_form_and_its_weights():
    network = prepare_for_inference(fill(SAMSPL(SUBPIXEL)))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    suited = suit_eager(network)
    assert any(isinstance(m, BlockwiseJoin) for m in suited.modules())
    assert not any(isinstance(m, BlockwiseJoin | SlicedMaxPool) for m in network.modules())
    for parameter in suited.parameters():
        parameter.zero_()
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_sliced_maximum_is_that_of_pooling(layout):
    x = torch.randn(2, 5, 8, 6, generator=torch.Generator().manual_seed(0)).to(memory_format=layout)
    assert torch.equal(SlicedMaxPool()(x), nn.MaxPool2d(2)(x))


def test_backend_on_a_cpu_runs_this_form():
    modules = list(TorchBackend(fill(SAMSPL(SUBPIXEL)), "cpu").model.modules())
    assert any(isinstance(m, SlicedMaxPool) for m in modules)
    assert sum(isinstance(m, BlockwiseJoin) for m in modules) == 3
