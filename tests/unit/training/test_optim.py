"""Optimiser, learning rate and running mean."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from samspl.training.optim import make_average, make_optimizer, make_schedule
from tests.unit.training.tiny import tiny_config


def rates(**changes: object) -> list[float]:
    config = tiny_config(Path("mine"), Path("run"), **changes)
    optimizer = make_optimizer(nn.Linear(1, 1), config)
    schedule = make_schedule(optimizer, config)
    found = []
    for _ in range(config.epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return [*found, optimizer.param_groups[0]["lr"]]


def test_published_schedule_is_a_cosine_from_1e_2_to_1e_6() -> None:
    found = rates(epochs=300)
    expected = [1e-6 + (1e-2 - 1e-6) * (1 + math.cos(math.pi * k / 300)) / 2 for k in range(301)]
    assert found == pytest.approx(expected, rel=1e-6)


def test_warm_up_rises_to_the_learning_rate_and_the_cosine_follows() -> None:
    found = rates(epochs=10, warmup_epochs=4)
    assert found[0] == pytest.approx(1e-4)
    assert found[:5] == sorted(found[:5])
    assert found[4] == pytest.approx(1e-2)
    assert found[4:] == sorted(found[4:], reverse=True)
    assert found[-1] == pytest.approx(1e-6)


def test_a_small_learning_rate_does_not_rise_to_the_cosines_end() -> None:
    assert rates(epochs=3, lr=1e-7) == pytest.approx([1e-7] * 4)


def test_frozen_weights_are_not_in_the_optimiser() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    for name in ("adan", "adamw", "muon"):
        optimizer = make_optimizer(model, tiny_config(Path("m"), Path("r"), optimizer=name))
        held = [p for group in optimizer.param_groups for p in group["params"]]
        assert len(held) == 2
        assert all(p is q for p, q in zip(held, model[1].parameters(), strict=True))


def test_adan_is_the_published_update_by_hand() -> None:
    # first step of Adan: m = g (1 - b1), v = 0, n = g^2 (1 - b3), each bias-corrected to g, 0, g^2; the update is
    # lr g / |g|, the decay a division by 1 + lr wd
    weight = nn.Parameter(torch.tensor([2.0, -3.0]))
    config = tiny_config(Path("m"), Path("r"), lr=0.1, weight_decay=0.5)
    optimizer = make_optimizer(nn.ParameterList([weight]), config)
    weight.grad = torch.tensor([0.3, 0.7])
    optimizer.step()
    expected = (torch.tensor([2.0, -3.0]) - 0.1) / (1 + 0.1 * 0.5)
    torch.testing.assert_close(weight.detach(), expected, rtol=1e-6, atol=1e-6)


def test_muon_turns_matrices_by_hand_and_leaves_all_else_to_adam() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 1, groups=3), nn.Conv2d(6, 1, 1))
    model.to(memory_format=torch.channels_last)
    config = tiny_config(Path("m"), Path("r"), optimizer="muon", lr=0.1, weight_decay=0.5)
    optimizer = make_optimizer(model, config)
    assert [len(group["params"]) for group in optimizer.param_groups] == [1, 5]
    before = [p.detach().clone() for p in model.parameters()]
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    # the first step's direction is the gradient itself: momentum and Nesterov only scale it; five rounds of
    # Newton-Schulz in float64, then Moonlight's length of the step, 0.2 sqrt(longer side)
    x = model[0].weight.grad.double().flatten(1)
    x = x / x.norm()
    for _ in range(5):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    step = 0.1 * 0.2 * math.sqrt(27) * x.reshape(6, 3, 3, 3).float()
    gradients = [p.grad.clone() for p in model.parameters()]
    optimizer.step()
    after = [p.detach() for p in model.parameters()]
    # in bfloat16 it would be off by a hundredth
    torch.testing.assert_close(after[0], before[0] * (1 - 0.1 * 0.5) - step, rtol=1e-4, atol=1e-5)
    for old, new, gradient in list(zip(before, after, gradients, strict=True))[1:]:
        torch.testing.assert_close(new, old * (1 - 0.1 * 0.5) - 0.1 * gradient.sign())


def test_running_mean_by_hand_with_batch_norm_and_frozen_weights() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    model[0].requires_grad_(False)
    frozen = model[0].weight.clone()
    average = make_average(model, 0.75)
    average.update_parameters(model)  # the first update copies
    with torch.no_grad():
        model[1].weight.fill_(5.0)
        model[1].running_mean.fill_(8.0)
    for _ in range(50):
        average.update_parameters(model)
        if _ == 0:
            assert average.module[1].weight.tolist() == pytest.approx([2.0] * 3)  # 0.75 x 1 + 0.25 x 5
            assert average.module[1].running_mean.tolist() == pytest.approx([2.0] * 3)
    assert torch.equal(average.module[0].weight, frozen)
    assert not any(p.requires_grad for p in average.parameters())
    assert not average.training
