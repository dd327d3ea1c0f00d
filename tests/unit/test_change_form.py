"""`tools/change_form.py`: weights carried into the form with sub-pixel fusion."""

import dataclasses
import sys

import pytest
import torch
import torch.nn.functional as F

from samspl.checkpoint import Checkpoint, load_model, read_checkpoint, write_checkpoint
from samspl.models.decoder import SpatialSemanticFusion
from samspl.models.network import SAMSPL
from samspl.preprocess import Preprocess
from tests.deterministic import fill
from tests.unit.models.test_network import NARROW

change_form = pytest.importorskip("tools.change_form", reason="needs the project's folder")

FRAME = Preprocess(normalise="frame")


@torch.no_grad()
def test_parted_fusion_resizes_and_convolves_as_before():
    old = fill(SpatialSemanticFusion(8, 6, 4))
    new = SpatialSemanticFusion(8, 6, 4, is_subpixel=True).eval()
    change_form.part_fusion(old, new.conv1, None)
    generator = torch.Generator().manual_seed(0)
    skip, decoder = (
        torch.randn(1, 8, 16, 12, generator=generator),
        torch.randn(1, 6, 8, 6, generator=generator),
    )
    up = F.interpolate(decoder, scale_factor=2, mode="bilinear", align_corners=False)
    expected = old.conv1(torch.cat([up, skip], 1))
    inside = (..., slice(2, -2), slice(2, -2))  # at the border one pads before the resize, the other after it
    torch.testing.assert_close(new.conv1(skip, decoder)[inside], expected[inside], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_skip_connection_is_replaced_by_the_nearest_linear_map():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, 3, 9, 9, generator=generator)
    matrix, offset = torch.randn(5, 3, generator=generator), torch.randn(5, generator=generator)
    y = torch.einsum("oi,bihw->bohw", matrix, x) + offset[:, None, None]
    found = change_form.nearest_linear_map([(x[..., :4], y[..., :4]), (x[..., 4:], y[..., 4:])])
    torch.testing.assert_close(found, (matrix, offset), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_what_both_forms_have_is_kept_and_statistics_are_those_of_the_new_parts():
    config = dataclasses.replace(NARROW, light_levels=5, subpixel_fusion=True)
    weights = Checkpoint(NARROW, fill(SAMSPL(NARROW)).state_dict(), FRAME)
    state = change_form.change_form(weights, config)
    for name in ("encoder.trunk.blocks.0.attn.qkv.weight", "fusions.2.conv2.conv.weight", "heads.2.weight"):
        assert torch.equal(state[name], weights.state[name])
    new = SAMSPL(config).eval()
    new.load_state_dict(state)
    parts = [part for fusion in new.fusions for part in (fusion.conv1.skip, fusion.conv1.decoder)]
    for part, pairs in change_form.watch(new, parts, change_form.draw_inputs(FRAME)).items():
        maps = torch.cat([part.conv(x) for x, _ in pairs])
        torch.testing.assert_close(part.norm.running_mean, maps.mean((0, 2, 3)), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(part.norm.running_var, maps.var((0, 2, 3)), rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(
            part.norm(maps), maps, rtol=1e-3, atol=1e-3
        )  # so far, nothing is normalised


def test_file_holds_the_new_form_and_another_form_is_refused(tmp_path, monkeypatch, capsys):
    weights, out = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    write_checkpoint(weights, Checkpoint(NARROW, fill(SAMSPL(NARROW)).state_dict(), FRAME))
    monkeypatch.setattr(change_form, "SCENES", 2)
    words = ["change_form.py", str(weights), "--out", str(out), "--form"]
    monkeypatch.setattr(sys, "argv", [*words, "light_levels=2 subpixel_fusion=true"])
    change_form.main()
    assert read_checkpoint(out).config == dataclasses.replace(NARROW, light_levels=2, subpixel_fusion=True)
    load_model(out)
    monkeypatch.setattr(sys, "argv", [*words, "light_levels=2"])
    with pytest.raises(SystemExit):
        change_form.main()
    assert "must be without sub-pixel fusion" in capsys.readouterr().err
