"""Configuration: what is refused, and that nothing is lost on the way to plain values and back."""

import pytest

from samspl.config import ModelConfig, TrunkConfig, nearest_name
from samspl.errors import ConfigError
from samspl.train_config import TrainConfig


def test_plain_values_lead_back_to_the_same_config():
    config = ModelConfig(embed_dim=32, stages=(1, 2, 8), use_sam_decoder=False)
    assert ModelConfig.from_dict(config.to_dict()) == config


def test_lists_from_yaml_become_tuples():
    assert ModelConfig(stages=[1, 2, 7]) == ModelConfig()
    assert ModelConfig(pos_embed_size=14).pos_embed_size == (14, 14)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"stages": (1, 1, 8)}, r"stages\[1\] is 1; .*at least two"),
        ({"stages": (3,), "window_sizes": (8,), "global_blocks": ()}, "at least two"),
        ({"window_sizes": (8, 4)}, "window_sizes .* and stages"),
        ({"window_sizes": (7, 4, 14)}, "expected 1, 2, 4 or 8"),
        ({"window_sizes": (8, 5, 14)}, "must be even"),
        ({"global_blocks": (5, 10)}, r"global_blocks \[10\]"),
        ({"embed_dim": 98}, "multiple of 4"),
        ({"embed_dim": 100, "num_heads": 3}, "embed_dim 100 .* num_heads 3"),
        ({"width": 40}, "multiple of 16"),
        ({"mlp_width": 0}, "mlp_width is 0"),
        ({"stem_channels": (8, 15)}, "stem_channels is .* two even numbers"),
        ({"stem_blocks": (1, 1)}, "stem_blocks is .* three numbers"),
        ({"light_levels": 6}, "light_levels is 6; expected 0 to 5"),
        ({"subpixel_fusion": 1}, "subpixel_fusion is 1; expected true or false"),
        ({"consultation_kernel": 4}, "consultation_kernel is 4; expected 3, 5 or 7"),
        ({"fusion_floor": 0}, "fusion_floor is 0"),
        ({"num_heads": "2"}, "num_heads is '2'; it must be a whole number"),
        ({"width": 64.0}, "width is 64.0"),
        ({"use_sam_decoder": "no"}, "use_sam_decoder is 'no'; expected true or false"),
        ({"attention_floor": 0}, "attention_floor is 0"),
        ({"stages": "1,2,7"}, "list of whole numbers"),
    ],
)
def test_contradictory_network_is_refused_with_the_field_named(fields, words):
    with pytest.raises(ConfigError, match=words):
        ModelConfig(**fields)


def test_unknown_field_names_the_nearest_known_one():
    with pytest.raises(ConfigError, match="did you mean 'num_heads'"):
        ModelConfig.from_dict({"num_head": 2})


def test_trunk_is_the_shared_part():
    assert ModelConfig().trunk == TrunkConfig(96, 1, (1, 2, 7), (5, 7, 9), (8, 4, 14))


def test_nearest_name_lists_the_known_ones():
    assert nearest_name("spl_x", ["spl_t"]).startswith("did you mean 'spl_t'?")
    assert nearest_name("zebra", ["b", "a"]) == "known: a, b"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"lr": 0.0}, "lr is 0.0"),
        ({"lr": -1.0}, "lr is -1.0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"image_size": 100}, "multiple of 32"),
        ({"precision": "fp16"}, "known: bf16, fp32"),
        ({"augmentation": "board", "patch_size": 64}, "did you mean 'broad'"),
        ({"augmentation": "broad"}, "needs patch_size"),
        (
            {"augmentation": "broad", "patch_size": 64, "normalise": "fixed"},
            "needs patch_size, and normalise frame",
        ),
        ({"crops": "crops"}, "only augmentation broad"),
    ],
)
def test_training_that_cannot_work_is_refused(fields, words):
    with pytest.raises(ConfigError, match=words):
        TrainConfig(dataset="d", data_path=".", sam_weights=None, save_dir="r", **fields)


def test_trunk_is_frozen_by_default_where_sam_weights_are_given():
    def config(**fields):
        return TrainConfig(dataset="d", data_path=".", save_dir="r", **fields)

    assert config(sam_weights="sam.pt").freezes_trunk
    assert not config(sam_weights=None).freezes_trunk
    assert not config(sam_weights="sam.pt", freeze_trunk=False).freezes_trunk
