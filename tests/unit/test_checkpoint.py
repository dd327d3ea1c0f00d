"""Our weights files, and the authors'."""

import re

import pytest
import torch
from safetensors.torch import load_file, save_file

import samspl
from samspl.checkpoint import Checkpoint, find_weights, load_model, read_checkpoint, write_checkpoint
from samspl.config import ModelConfig
from samspl.errors import CheckpointError, ConfigError
from samspl.models.network import SAMSPL
from samspl.models.variants import variant_config
from samspl.models.weights import _AUTHORS_RENAMES
from samspl.preprocess import Preprocess
from tests.deterministic import fill, image

NARROW = ModelConfig(embed_dim=16, stages=(1, 2, 2), global_blocks=(4,), width=32, mlp_width=48)
PREPROCESS = Preprocess(mean=(107.80905,), std=(33.02275,), image_size=64)


@pytest.fixture
def written(tmp_path):
    model = fill(SAMSPL(NARROW))
    path = tmp_path / "run" / "best.safetensors"
    write_checkpoint(
        path, Checkpoint(NARROW, model.state_dict(), PREPROCESS, 0.4, {"validation_ids": ["a", "b"]})
    )
    return path


def test_file_alone_rebuilds_network_and_preprocessing(written):
    checkpoint = read_checkpoint(written)
    assert checkpoint.config == NARROW
    assert checkpoint.preprocess == PREPROCESS
    assert checkpoint.threshold == 0.4
    assert checkpoint.record == {"validation_ids": ["a", "b"]}
    model = samspl.load_model(written)
    assert not model.training
    x = image(1, 64, 64, seed=0)
    with torch.no_grad():
        assert torch.equal(model(x)[0], fill(SAMSPL(NARROW))(x)[0])


def test_training_folder_stands_for_its_best_weights(written, tmp_path):
    assert find_weights(written.parent) == written
    with pytest.raises(ConfigError, match=r"folder without best\.safetensors"):
        find_weights(tmp_path)
    with pytest.raises(ConfigError, match=r"absent\.pt do not exist"):
        find_weights(tmp_path / "absent.pt")


def test_loading_says_what_it_loaded(written, caplog):
    with caplog.at_level("INFO", "samspl"):
        load_model(written)
    assert f"loaded {len(SAMSPL(NARROW).state_dict())} tensors from samspl weights" in caplog.text


def test_wrong_variant_for_our_file_is_refused(written):
    with pytest.raises(CheckpointError, match="another network than variant spl_s"):
        load_model(written, variant="spl_s")


def test_override_that_does_not_fit_lists_the_keys(written):
    with pytest.raises(CheckpointError, match="of another shape: .*mlp"):
        load_model(written, mlp_width=64)
    with pytest.raises(ConfigError, match="did you mean 'mlp_width'"):
        load_model(written, mlp_widht=64)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("config", "{"),
        ("config", '{"depth": 3}'),
        ("preprocess", '{"std": [0]}'),
        ("threshold", '"x"'),
        ("record", None),
        ("record", "[1, 2]"),
        ("threshold", "7"),
        ("preprocess", '{"image_size": 64.5}'),
        ("preprocess", '{"std": [NaN]}'),
        ("config", '{"use_sam_decoder": "no"}'),
    ],
)
def test_damaged_description_is_refused(written, key, value):
    from safetensors import safe_open

    with safe_open(str(written), "pt") as file:
        metadata = dict(file.metadata())
    if value is None:
        del metadata[key]
    else:
        metadata[key] = value
    save_file(load_file(written), written, metadata)
    with pytest.raises(CheckpointError, match="its description is damaged"):
        read_checkpoint(written)


def test_failed_write_leaves_the_earlier_file(written):
    before = written.read_bytes()
    blocked = written / "below_a_file.safetensors"
    with pytest.raises(CheckpointError, match="cannot be written"):
        write_checkpoint(blocked, Checkpoint(NARROW, {}))
    assert written.read_bytes() == before
    assert list(written.parent.iterdir()) == [written]


def authors_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Our tensors under the authors' names: the renames read backwards, for the test of the way forward."""
    result = {}
    for key, tensor in state.items():
        name = key
        name = re.sub(r"^decoder\.project\.0\.conv\.", "S.0.", name)
        name = re.sub(r"^decoder\.project\.0\.norm\.", "S.1.", name)
        name = re.sub(r"^decoder\.project\.(\d)\.", lambda m: f"S.{int(m[1]) + 1}.", name)
        bottleneck = "proj_block." if "decoder.output_token" in state else "deep_conv_block."
        name = name.replace("S.", bottleneck, 1) if name.startswith("S.") else name
        name = re.sub(r"^decoder\.latent\.", "deep_conv_block.", name)
        name = re.sub(r"^encoder\.stem\.", "image_encoder.inc0.", name)
        name = re.sub(r"^encoder\.residuals\.(\d)\.", r"image_encoder.incs.\1.0.", name)
        generator = "image_encoder.trunk.promote_genertor.blocks."
        for part, index in (("conv1.conv", 0), ("conv1.norm", 1), ("conv2.conv", 3), ("conv2.norm", 4)):
            name = re.sub(rf"^encoder\.consultations\.(\d)\.{part}\.", rf"{generator}\1.blk.{index}.", name)
        name = re.sub(r"^encoder\.trunk\.", "image_encoder.trunk.", name)
        if name.startswith(("image_encoder.inc0", "image_encoder.incs")):
            name = re.sub(r"\.conv(\d)\.conv\.", r".conv\1.", name)
            name = re.sub(r"\.conv(\d)\.norm\.", r".bn\1.", name)
            name = name.replace(".shortcut.conv.", ".shortcut.0.").replace(".shortcut.norm.", ".shortcut.1.")
            name = name.replace(".channel_attention.", ".ca.").replace(
                ".spatial_attention.conv.", ".sa.conv1."
            )
        halvings = max(
            [
                int(m[1])
                for k in state
                if (m := re.match(r"decoder\.prompt_generator\.branches\.0\.down\.(\d)", k))
            ]
            or [0]
        )
        match = re.match(r"decoder\.prompt_generator\.branches\.(\d)\.(down|project)\.(.*)", name)
        if match:
            branch, kind, rest = int(match[1]), match[2], match[3]
            steps = halvings + 1 - branch
            if kind == "down":
                name = f"image_pe_encoder.proj_blocks.{branch}.{rest}".replace(".norm.", ".bn.")
            else:
                rest = rest.replace("conv.", f"{steps}.").replace("norm.", f"{steps + 1}.")
                name = f"image_pe_encoder.proj_blocks.{branch}.{rest}"
        for ours, theirs in (
            (r"^decoder\.prompt_generator\.mix\.", "image_pe_encoder.proj.0."),
            (r"^decoder\.output_token$", "mask_token.weight"),
            (r"^decoder\.transformer\.", "decoder_transformer."),
            (r"^decoder\.upscale\.", "output_upscaling."),
            (r"^decoder\.token_mlp\.", "output_hypernetworks_mlp."),
            (r"^fusions\.(\d)\.skip\.squeeze_excite\.fc1\.", r"skip_convs.\1.0.fc.0."),
            (r"^fusions\.(\d)\.skip\.squeeze_excite\.fc2\.", r"skip_convs.\1.0.fc.2."),
            (r"^fusions\.(\d)\.skip\.norm\.", r"skip_convs.\1.1."),
            (r"^fusions\.(\d)\.skip\.conv\.", r"skip_convs.\1.3."),
            (r"^fusions\.(\d)\.calibration\.from_skip\.", r"up_decoders.\1.cross_att.se_input_att.fc.1."),
            (r"^fusions\.(\d)\.calibration\.from_decoder\.", r"up_decoders.\1.cross_att.se_skip_att.fc.1."),
            (r"^fusions\.(\d)\.conv1\.", r"up_decoders.\1.nConvs.0."),
            (r"^fusions\.(\d)\.conv2\.", r"up_decoders.\1.nConvs.1."),
            (r"^heads\.", "reduction_convs."),
        ):
            name = re.sub(ours, theirs, name)
        result[name] = tensor
    result["image_encoder.trunk.promote_genertor.patchEmded.0.weight"] = torch.zeros(1)
    return result


@pytest.mark.parametrize("use_sam_decoder", [True, False])
@pytest.mark.parametrize("wrapped", [True, False])
def test_authors_file_loads_without_naming_the_variant(tmp_path, use_sam_decoder, wrapped):
    config = variant_config("spl_t", use_sam_decoder=use_sam_decoder)
    model = fill(SAMSPL(config))
    state = authors_names(model.state_dict())
    content = (
        {"epoch": 3, "model_state_dict": {f"module.{k}": v for k, v in state.items()}} if wrapped else state
    )
    torch.save(content, tmp_path / "NUDT-SIRST.pt")
    loaded = load_model(tmp_path / "NUDT-SIRST.pt")
    assert loaded.config == config
    assert all(torch.equal(t, loaded.state_dict()[key]) for key, t in model.state_dict().items())
    checkpoint = read_checkpoint(tmp_path / "NUDT-SIRST.pt", variant="spl_t")
    assert checkpoint.preprocess is None
    assert len(checkpoint.ignored) == 1


def test_bare_state_of_ours_loads_too(tmp_path):
    model = fill(SAMSPL(variant_config("spl_t")))
    torch.save(model.state_dict(), tmp_path / "state.pt")
    assert load_model(tmp_path / "state.pt").config == variant_config("spl_t")


def test_sam_checkpoint_is_recognised_and_refused(tmp_path):
    torch.save({"model": {"image_encoder.trunk.pos_embed": torch.zeros(1, 96, 7, 7)}}, tmp_path / "sam.pt")
    with pytest.raises(CheckpointError, match="is a SAM 2 checkpoint, which detects nothing"):
        load_model(tmp_path / "sam.pt")


def test_weights_of_something_else_are_refused(tmp_path):
    torch.save({"fc.weight": torch.zeros(3)}, tmp_path / "resnet.pt")
    with pytest.raises(CheckpointError, match=r"no SAM-SPL weights; the file holds fc\.weight"):
        load_model(tmp_path / "resnet.pt")


def test_renames_reach_every_part_of_the_network():
    """A rename that no key of ours needs would be dead."""
    names = authors_names(SAMSPL(variant_config("spl_t")).state_dict())
    step = list(names)
    for pattern, replacement in _AUTHORS_RENAMES:
        renamed = [re.sub(pattern, replacement, name) for name in step]
        assert renamed != step, pattern
        step = renamed
