"""Weights of others: every layout is read, nothing is executed, nothing is silently left out."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import samspl
from samspl.config import ModelConfig
from samspl.errors import CheckpointError, ConfigError
from samspl.models.factory import create_trunk, load_sam_weights
from samspl.models.hiera import Hiera
from samspl.models.network import SAMSPL
from samspl.models.variants import TRUNKS
from samspl.models.weights import (
    infer_config,
    is_authors_layout,
    is_sam_layout,
    load_exactly,
    read_tensors,
    sam_trunk_state,
)
from tests.deterministic import fill, values

HUB_KEYS = Path(__file__).parents[2] / "fixtures" / "hub_trunk_keys_tiny.json"


@pytest.fixture(scope="module")
def tiny() -> Hiera:
    return fill(Hiera(TRUNKS["tiny"]))


def meta_checkpoint(trunk: Hiera) -> dict:
    tensors = {f"image_encoder.trunk.{key}": t for key, t in trunk.state_dict().items()}
    return {"model": {**tensors, "sam_mask_decoder.iou_token.weight": torch.zeros(1, 4)}}


def hub_checkpoint(trunk: Hiera) -> dict[str, torch.Tensor]:
    """Names and shapes as transformers' Sam2Model has them (listed from it), values those of the trunk."""
    inverse = {"layer_norm": "norm", "mlp.proj_in": "mlp.layers.0", "mlp.proj_out": "mlp.layers.1"}
    own = trunk.state_dict()
    result = {}
    for key, shape in json.loads(HUB_KEYS.read_text()).items():
        name = key.replace("patch_embed.projection", "patch_embed.proj")
        for theirs, ours in inverse.items():
            name = name.replace(theirs, ours)
        assert list(own[name].shape) == shape
        result[f"vision_encoder.backbone.{key}"] = own[name].contiguous()
    return {**result, "vision_encoder.neck.convs.0.weight": torch.zeros(2)}


def test_meta_checkpoint_fills_the_trunk_and_says_what_it_did(tiny, tmp_path, caplog):
    torch.save(meta_checkpoint(tiny), tmp_path / "sam2.1_hiera_tiny.pt")
    trunk = Hiera(TRUNKS["tiny"])
    with caplog.at_level("INFO", "samspl"):
        report = load_sam_weights(trunk, tmp_path / "sam2.1_hiera_tiny.pt")
    assert all(torch.equal(t, trunk.state_dict()[key]) for key, t in tiny.state_dict().items())
    assert report.ignored == ("sam_mask_decoder.iou_token.weight",)
    assert "154 tensors" in caplog.text
    assert "1 left aside on purpose" in caplog.text


def test_hub_checkpoint_fills_the_trunk(tiny, tmp_path):
    save_file(hub_checkpoint(tiny), tmp_path / "model.safetensors")
    trunk = create_trunk("tiny", weights=tmp_path / "model.safetensors")
    assert all(torch.equal(t, trunk.state_dict()[key]) for key, t in tiny.state_dict().items())


def test_network_of_three_stages_leaves_the_fourth_aside_and_freezes_the_trunk(tiny, tmp_path):
    torch.save(meta_checkpoint(tiny), tmp_path / "sam.pt")
    model = samspl.create_model("spl_t", sam_weights=tmp_path / "sam.pt")
    assert model.training
    assert not any(p.requires_grad for p in model.encoder.trunk.parameters())
    assert torch.equal(
        model.encoder.trunk.blocks[9].mlp.layers[1].weight, tiny.blocks[9].mlp.layers[1].weight
    )


def test_missing_tensor_of_sam_is_named(tiny, tmp_path):
    content = meta_checkpoint(tiny)
    del content["model"]["image_encoder.trunk.blocks.3.attn.qkv.bias"]
    torch.save(content, tmp_path / "sam.pt")
    with pytest.raises(CheckpointError, match=r"1 missing: blocks\.3\.attn\.qkv\.bias"):
        create_trunk("tiny", weights=tmp_path / "sam.pt")


def test_checkpoint_of_another_trunk_is_refused_with_shapes(tiny, tmp_path):
    torch.save(meta_checkpoint(tiny), tmp_path / "sam.pt")
    with pytest.raises(CheckpointError, match=r"of another shape: .*instead of"):
        create_trunk("large", weights=tmp_path / "sam.pt")


def test_leftover_trunk_tensor_is_named(tiny, tmp_path):
    content = meta_checkpoint(tiny)
    content["model"]["image_encoder.trunk.extra"] = torch.zeros(1)
    torch.save(content, tmp_path / "sam.pt")
    with pytest.raises(CheckpointError, match="1 left over: extra"):
        create_trunk("tiny", weights=tmp_path / "sam.pt")


def test_file_without_sam_is_refused(tmp_path):
    torch.save({"some.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=r"no tensor of a SAM 2 trunk.*some\.weight"):
        create_trunk("tiny", weights=tmp_path / "other.pt")


def test_large_trunk_with_one_head_is_warned_about(tmp_path, caplog):
    config = ModelConfig(embed_dim=144, stages=(1, 2), global_blocks=(2,), window_sizes=(8, 4)).trunk
    torch.save(meta_checkpoint(Hiera(config)), tmp_path / "sam.pt")
    load_sam_weights(Hiera(config), tmp_path / "sam.pt")
    assert "num_heads=2" in caplog.text


def test_absent_file_and_unfetched_name_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMSPL_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match="run: samspl weights fetch sam2.1_hiera_tiny"):
        create_trunk("tiny", weights="sam2.1_hiera_tiny")
    with pytest.raises(ConfigError, match="did you mean 'sam2.1_hiera_tiny'"):
        create_trunk("tiny", weights="sam2_hiera_tiny.pt")


# -- what a file is


class Evil:
    """Leaves a trace if it is ever unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return (Path.touch, (self.trace,))


@pytest.mark.parametrize("protocol", ["torch", "pickle"])
def test_code_in_a_pickle_is_refused_and_not_run(tmp_path, protocol):
    trace, file = tmp_path / "trace", tmp_path / "evil.pt"
    content = {"model_state_dict": {"w": torch.zeros(1)}, "args": Evil(trace)}
    if protocol == "torch":
        torch.save(content, file)
    else:
        file.write_bytes(pickle.dumps(Evil(trace)))
    with pytest.raises(CheckpointError, match=r"evil\.pt was refused and nothing in it was run"):
        read_tensors(file)
    assert not trace.exists()


@pytest.mark.parametrize("part", [0.5, 0.98])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_truncated_file_is_refused(tmp_path, suffix, part):
    file = tmp_path / f"w{suffix}"
    tensors = {"a": torch.randn(100, 100)}
    torch.save(tensors, file) if suffix == ".pt" else save_file(tensors, file)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * part)])
    with pytest.raises(CheckpointError, match=rf"w{suffix} is damaged or truncated"):
        read_tensors(file)


@pytest.mark.parametrize(
    "content", [b"", b"x", b"<!DOCTYPE html><html>", b"PK\x03\x04 not really a zip", b"\x80\x02}q"]
)
def test_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"w\.pt"):
        read_tensors(tmp_path / "w.pt")


def test_folder_and_absent_file_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="is not a file"):
        read_tensors(tmp_path)
    with pytest.raises(CheckpointError, match="is not a file"):
        read_tensors(tmp_path / "absent.pt")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {}, torch.zeros(2)])
def test_checkpoint_without_named_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="state dictionary"):
        read_tensors(tmp_path / "w.pt")


@pytest.mark.parametrize("wrapper", [None, "model_state_dict", "state_dict", "model"])
def test_trainers_files_are_unwrapped(tmp_path, wrapper):
    state = {"module.a.weight": torch.ones(2)}
    content = state if wrapper is None else {"epoch": 7, "best_iou": np.float64(0.9), wrapper: state}
    torch.save(content, tmp_path / "w.pt")
    assert list(read_tensors(tmp_path / "w.pt")[0]) == ["a.weight"]


def test_old_format_of_torch_is_read(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert read_tensors(tmp_path / "w.pth")[0]["a"].tolist() == [1, 1]


# -- fitting


def test_exact_loading_lists_all_three_kinds_and_loads_nothing():
    layer = torch.nn.Linear(2, 3)
    before = layer.weight.clone()
    with pytest.raises(CheckpointError) as caught:
        load_exactly(layer, {"weight": torch.zeros(3, 5), "scale": torch.zeros(1)}, "file")
    text = str(caught.value)
    assert "1 missing: bias" in text
    assert "weight (3, 5) instead of (3, 2)" in text
    assert "1 left over: scale" in text
    assert torch.equal(layer.weight, before)


def test_counter_of_batch_norm_may_be_missing():
    norm = torch.nn.BatchNorm2d(2)
    state = {k: t for k, t in norm.state_dict().items() if k != "num_batches_tracked"}
    load_exactly(norm, state, "file")


def test_long_lists_of_keys_are_cut():
    with pytest.raises(CheckpointError, match="and 18 more"):
        load_exactly(torch.nn.Module(), {f"k{i:02}": torch.zeros(1) for i in range(30)}, "file")


def test_layouts_are_told_apart_by_keys(tiny):
    sam = meta_checkpoint(tiny)["model"]
    assert is_sam_layout(sam)
    assert not is_authors_layout(sam)
    assert is_sam_layout(hub_checkpoint(tiny))
    authors = {**sam, "image_encoder.inc0.0.0.conv1.weight": torch.zeros(1)}
    assert is_authors_layout(authors)
    assert not is_sam_layout(authors)


def test_configuration_that_no_variant_has_is_named():
    state = SAMSPL(ModelConfig(embed_dim=16, stages=(1, 2, 2), global_blocks=(4,), width=32)).state_dict()
    with pytest.raises(CheckpointError, match="no variant has embed_dim 16 and 5 trunk blocks"):
        infer_config(state)


def test_blocks_beyond_the_trunk_are_left_aside():
    tensors = {f"image_encoder.trunk.blocks.{i}.norm1.weight": values("x", (96,)) for i in (0, 9, 10, 11)}
    state, ignored = sam_trunk_state(tensors, ModelConfig().trunk)
    assert sorted(state) == ["blocks.0.norm1.weight", "blocks.9.norm1.weight"]
    assert ignored == (
        "image_encoder.trunk.blocks.10.norm1.weight",
        "image_encoder.trunk.blocks.11.norm1.weight",
    )
