"""The form of the network that runs: the same numbers with less work, the original untouched."""

import pytest
import torch
from torch import nn

from samspl.models.inference import prepare_for_inference
from samspl.models.layers import ConvNorm
from samspl.models.network import SAMSPL
from tests.deterministic import fill, image
from tests.unit.models.test_network import SHAPES


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_finest_map_is_that_of_the_network(config):
    model = fill(SAMSPL(config))
    x = image(2, 64, 96, seed=0)
    with torch.no_grad():
        expected = model(x)[0]
        found = prepare_for_inference(model)(x)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)


def test_no_normalisation_over_batches_is_left():
    network = prepare_for_inference(fill(SAMSPL(SHAPES["three stages"])))
    assert not [m for m in network.modules() if isinstance(m, nn.BatchNorm2d | ConvNorm)]
    assert not any(p.requires_grad for p in network.parameters())


def test_given_network_stays_as_it_is_and_shares_nothing():
    model = SAMSPL(SHAPES["three stages"]).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    x = image(1, 32, 32, seed=1)
    network = prepare_for_inference(model)
    with torch.no_grad():
        logits = network(x)
        for parameter in model.parameters():
            parameter.zero_()
        again = network(x)
    assert model.training
    assert all(p.requires_grad for p in model.parameters())
    assert torch.equal(logits, again)
    assert before.keys() == model.state_dict().keys()


def test_wrong_size_names_the_size_to_pad_to():
    with pytest.raises(ValueError, match="pad to 64x64"):
        prepare_for_inference(SAMSPL(SHAPES["three stages"]))(torch.zeros(1, 3, 50, 64))


def test_position_embedding_follows_the_size_of_the_frame():
    model = fill(SAMSPL(SHAPES["three stages"]))
    network = prepare_for_inference(model)
    with torch.no_grad():
        for hw in ((64, 64), (32, 128), (64, 64), (64, 64)):  # as many tokens, of another shape
            x = image(1, *hw, seed=2)
            torch.testing.assert_close(network(x), model(x)[0], atol=1e-4, rtol=1e-5)
