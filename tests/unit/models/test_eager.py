"""The network as torch runs it on a CPU: the numbers of the plain form."""

import pytest
import torch
from torch import nn

from samspl.backends.pytorch import TorchBackend
from samspl.models.eager import BlockwiseJoin, SlicedMaxPool, suit_eager
from samspl.models.inference import prepare_for_inference
from samspl.models.network import SAMSPL
from tests.deterministic import fill, image
from tests.unit.models.test_network import SHAPES

SUBPIXEL = SHAPES["light forms at all levels, sub-pixel fusion"]


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_numbers_are_those_of_the_plain_form(config):
    network = prepare_for_inference(fill(SAMSPL(config)))
    x = image(2, 64, 96, seed=0)
    with torch.inference_mode():
        plain = network(x)
        torch.testing.assert_close(suit_eager(network)(x), plain, atol=1e-4, rtol=1e-5)


def test_other_copies_of_the_network_keep_their_form_and_numbers():
    model = fill(SAMSPL(SUBPIXEL))
    x = image(1, 32, 32, seed=1)
    with torch.inference_mode():
        before = model(x)[0]
        suit_eager(prepare_for_inference(model))
        assert torch.equal(model(x)[0], before)
    assert not any(isinstance(m, BlockwiseJoin | SlicedMaxPool) for m in model.modules())


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_sliced_maximum_is_that_of_pooling(layout):
    x = torch.randn(2, 5, 8, 6, generator=torch.Generator().manual_seed(0)).to(memory_format=layout)
    assert torch.equal(SlicedMaxPool()(x), nn.MaxPool2d(2)(x))


def test_backend_on_a_cpu_runs_this_form():
    modules = list(TorchBackend(fill(SAMSPL(SUBPIXEL)), "cpu").model.modules())
    assert any(isinstance(m, SlicedMaxPool) for m in modules)
    assert sum(isinstance(m, BlockwiseJoin) for m in modules) == 3
