"""The SAM-SPL network: encoder, self-prompt decoder, fusion, three logit maps.

Follows "A Unified SAM-Guided Self-Prompt Learning Framework for Infrared Small Target Detection" (IEEE TGRS 2025).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from samspl.config import ModelConfig
from samspl.models.decoder import PlainBottleneck, SelfPromptLearning, SpatialSemanticFusion
from samspl.models.encoder import ConsultationGenerator, ConsultGuideKnowledgeAdaptation

Logits = tuple[Tensor, Tensor, Tensor]
"""Three maps (B, 1, H, W), finest first; the first is the prediction: target where it is > 0."""


class SAMSPL(nn.Module):
    """The whole network; gives the same three maps in train and eval mode."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = ConsultGuideKnowledgeAdaptation(config)
        channels = self.encoder.channels
        self.decoder: SelfPromptLearning | PlainBottleneck
        if config.use_sam_decoder:
            self.decoder = SelfPromptLearning(config, channels)
            skips = channels[:3]
        else:
            self.decoder = PlainBottleneck(channels[-1])
            skips = channels[:-1]
        fused = [max(config.fusion_floor, c // 2) for c in reversed(skips)]
        self.fusions = nn.ModuleList(
            SpatialSemanticFusion(
                skip,
                decoder,
                out,
                config.squeeze_floor,
                is_light=level < config.light_levels,
                is_subpixel=config.subpixel_fusion,
            )
            for level, skip, decoder, out in zip(
                reversed(range(len(skips))), reversed(skips), (skips[-1], *fused), fused, strict=False
            )
        )
        self.heads = nn.ModuleList(nn.Conv2d(c, 1, 1) for c in fused[-3:])
        self.apply(_initialise)
        for embedding in (self.encoder.trunk.pos_embed, self.encoder.trunk.pos_embed_window):
            nn.init.normal_(embedding, std=0.02)
        self._lay_out_weights()

    def freeze_trunk(self) -> None:
        """Keep the SAM trunk's tensors and its eval mode fixed, whatever `train` is called with later."""
        self.encoder.freeze_trunk()

    def _lay_out_weights(self) -> None:
        """Channels last, as the maps are, so that convolutions need not reorder them."""
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for module in self.modules():
            if isinstance(module, ConsultationGenerator):
                module.lay_out_weights()

    def forward(self, images: Tensor) -> Logits:
        """Detect.

        Args:
            images: (B, 3, H, W) float, preprocessed, H and W multiples of 32.
        Returns:
            Logits of full, half and quarter resolution, each resized to (B, 1, H, W).
        Raises:
            ValueError: for a shape that the network cannot take; names the size to pad to.
        """
        features = self.encoder(images)
        decoder = self.decoder(features)
        maps = []
        for fusion, feature in zip(self.fusions, features[len(self.fusions) - 1 :: -1], strict=True):
            decoder = fusion(feature, decoder)
            maps.append(decoder)
        # The 1x1 convolution comes before the resize: the same numbers as after it, with far fewer operations.
        quarter, half, full = (head(m) for head, m in zip(self.heads, maps[-3:], strict=True))
        size = images.shape[2:]
        return (
            full,
            F.interpolate(half, size, mode="bilinear", align_corners=False),
            F.interpolate(quarter, size, mode="bilinear", align_corners=False),
        )


def _initialise(module: nn.Module) -> None:
    """The published initialisation; biases keep torch's default."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, a=0, mode="fan_in")
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)
