"""The mini-zoo: small networks of timm's own classes, in families of several widths and depths.

They take grey images of 32 x 32. Names say family, then what differs from the family's first member.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from timm.models._efficientnet_builder import decode_arch_def, round_channels
from timm.models.convnext import ConvNeXt
from timm.models.efficientnet import EfficientNet
from timm.models.mlp_mixer import MlpMixer
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import nn

SIDE = 32


def residual(
    block: type[nn.Module], layers: tuple[int, ...], channels: tuple[int, ...], num_classes: int
) -> nn.Module:
    return ResNet(
        block, layers, num_classes, in_chans=1, stem_type="deep", stem_width=channels[0] // 2, channels=channels
    )  # type: ignore[arg-type]


def inverted(
    n_blocks: tuple[int, ...], width: float, squeeze_excite: bool, features: int, num_classes: int
) -> nn.Module:
    se = "_se0.25" if squeeze_excite else ""
    channels = ((16, 1), (24, 2), (48, 2), (80, 2))
    definition = [["ds_r1_k3_s1_e1_c16" + se]] + [
        [f"ir_r{n}_k{5 if c == 48 else 3}_s{stride}_e3_c{c}{se}"]
        for n, (c, stride) in zip(n_blocks, channels[1:], strict=True)
    ]
    return EfficientNet(
        decode_arch_def(definition),
        num_classes,
        num_features=features,
        stem_size=16,
        in_chans=1,
        round_chs_fn=partial(round_channels, multiplier=width, divisor=4),
    )


def vit(width: int, depth: int, num_classes: int) -> nn.Module:
    return VisionTransformer(
        img_size=SIDE,
        patch_size=8,
        in_chans=1,
        num_classes=num_classes,
        embed_dim=width,
        depth=depth,
        num_heads=width // 16,
    )


def convnext(depths: tuple[int, ...], dims: tuple[int, ...], num_classes: int) -> nn.Module:
    return ConvNeXt(in_chans=1, num_classes=num_classes, depths=depths, dims=dims, patch_size=2, ls_init_value=0.1)


def mixer(width: int, depth: int, num_classes: int) -> nn.Module:
    return MlpMixer(num_classes, SIDE, in_chans=1, patch_size=8, num_blocks=depth, embed_dim=width)


ONE, TWO = (1, 1, 1, 1), (2, 2, 2, 2)
NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "residual-basic": partial(residual, BasicBlock, ONE, (16, 32, 48, 96)),
    "residual-basic-wide": partial(residual, BasicBlock, ONE, (24, 48, 72, 144)),
    "residual-basic-deep": partial(residual, BasicBlock, TWO, (16, 32, 48, 96)),
    "residual-bottleneck": partial(residual, Bottleneck, ONE, (12, 24, 36, 72)),
    "inverted": partial(inverted, (2, 2, 1), 1.0, False, 640),
    "inverted-wide": partial(inverted, (2, 2, 1), 1.5, False, 960),
    "inverted-deep": partial(inverted, (3, 3, 2), 1.0, False, 640),
    "inverted-se": partial(inverted, (2, 2, 1), 1.0, True, 640),
    "vit": partial(vit, 64, 4),
    "vit-wide": partial(vit, 96, 4),
    "vit-deep": partial(vit, 64, 6),
    "convnext": partial(convnext, (1, 1, 2, 1), (16, 32, 64, 128)),
    "convnext-wide": partial(convnext, (1, 1, 2, 1), (24, 48, 96, 192)),
    "convnext-deep": partial(convnext, (2, 2, 4, 2), (16, 32, 64, 128)),
    "mixer": partial(mixer, 64, 4),
    "mixer-wide": partial(mixer, 96, 4),
    "mixer-deep": partial(mixer, 64, 6),
}


def family(name: str) -> str:
    return name.partition("-")[0]


def build(name: str, num_classes: int, seed: int = 0) -> nn.Module:
    """Build a network of the mini-zoo with random parameters of a seed."""
    torch.manual_seed(seed)
    return NETWORKS[name](num_classes)
