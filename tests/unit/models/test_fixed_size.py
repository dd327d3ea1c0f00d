"""The network for one size: the same numbers as for any size, with its tokens moved less often."""

import dataclasses

import pytest
import torch
from torch import nn

from samspl.models.fixed_size import WindowRun, areas_of, fix_size, from_windows, to_windows
from samspl.models.inference import prepare_for_inference
from samspl.models.network import SAMSPL
from tests.deterministic import fill, image
from tests.unit.models.test_network import NARROW, SHAPES


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("size_hw", [(64, 64), (32, 96), (256, 160)])
def test_logits_are_those_of_the_network(config, size_hw):
    network = prepare_for_inference(fill(SAMSPL(config)))
    x = image(1, *size_hw, seed=0)
    with torch.no_grad():
        torch.testing.assert_close(fix_size(network, size_hw)(x), network(x), atol=1e-4, rtol=0)


def test_blocks_of_a_stage_share_one_run_up_to_the_guided_one():
    config = dataclasses.replace(NARROW, stages=(1, 2, 6), global_blocks=(5, 8))
    network = fix_size(prepare_for_inference(SAMSPL(config)), (64, 64))
    blocks = network.encoder.trunk.blocks
    runs = {i: len(block.blocks) for i, block in enumerate(blocks) if isinstance(block, WindowRun)}
    assert runs == {0: 1, 2: 1, 4: 4, 8: 1}  # 1 and 3 pool
    assert all(isinstance(blocks[i], nn.Identity) for i in (5, 6, 7))


def test_given_network_stays_as_it_is():
    network = prepare_for_inference(SAMSPL(NARROW))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    fix_size(network, (32, 32))
    assert before.keys() == network.state_dict().keys()
    assert not any(isinstance(m, WindowRun) for m in network.modules())


@pytest.mark.parametrize("size_hw", [(8, 8), (7, 9), (3, 4), (16, 5)])
@pytest.mark.parametrize("window", [None, 4])
def test_tokens_come_back_to_their_places(size_hw, window):
    h, w = size_hw
    x = torch.arange(h * w * 2.0).reshape(1, h, w, 2)
    areas = areas_of(size_hw, window)
    assert torch.equal(from_windows([to_windows(x, area) for area in areas], areas, size_hw), x)


def test_windows_hold_neighbours():
    x = torch.arange(16.0).reshape(1, 4, 4, 1)
    (area,) = areas_of((4, 4), 2)
    assert to_windows(x, area)[..., 0].tolist() == [
        [0, 1, 4, 5],
        [2, 3, 6, 7],
        [8, 9, 12, 13],
        [10, 11, 14, 15],
    ]
