"""Networks that exist in two libraries, in pairs."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

Maker = Callable[[], nn.Module]

TINY = {
    "hidden_size": 192,
    "num_hidden_layers": 12,
    "num_attention_heads": 3,
    "intermediate_size": 768,
    "layer_norm_eps": 1e-6,
}
REGNET = {
    "embedding_size": 32,
    "hidden_sizes": [48, 104, 208, 440],
    "depths": [1, 3, 6, 6],
    "groups_width": 8,
    "layer_type": "y",
}
CLIP = TINY | {"patch_size": 16, "projection_dim": 512, "layer_norm_eps": 1e-5}
DINO = {"hidden_size": 192, "num_hidden_layers": 3, "num_attention_heads": 3, "image_size": 70, "patch_size": 14}
SMALL = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 256,
    "layer_norm_eps": 1e-6,
    "image_size": 64,
    "patch_size": 16,
}
SMALL_TIMM = {"img_size": 64, "embed_dim": 64, "depth": 2, "num_heads": 2}
STAGES = {"embed_dim": 32, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 4, 8)}
GPT = {"vocab_size": 500, "n_positions": 64, "n_embd": 96, "n_layer": 3, "n_head": 3}


def vision(name: str) -> nn.Module:
    import torchvision

    model: nn.Module = torchvision.models.get_model(name, weights=None)
    return model


def timm(name: str, **options: Any) -> nn.Module:
    from zoo_index.catalogues.timm_catalogue import build

    return build(name, device="cpu", **options)


def hugging(kind: str, config: str, **options: Any) -> nn.Module:
    transformers = importlib.import_module("transformers")
    transformers.logging.set_verbosity_error()
    made = getattr(transformers, config)(**options)
    model: nn.Module = getattr(transformers, kind)(made)
    return model


classifier = partial(hugging, num_labels=1000)

PAIRS: dict[str, tuple[Maker, Maker, tuple[int, ...]]] = {
    "resnet50": (partial(vision, "resnet50"), partial(timm, "resnet50"), (3, 64, 64)),
    "vit": (partial(vision, "vit_b_16"), partial(timm, "vit_base_patch16_224"), (3, 224, 224)),
    "convnext": (partial(vision, "convnext_tiny"), partial(timm, "convnext_tiny"), (3, 64, 64)),
    "efficientnet": (partial(vision, "efficientnet_b0"), partial(timm, "efficientnet_b0"), (3, 64, 64)),
    "mobilenetv3": (partial(vision, "mobilenet_v3_large"), partial(timm, "mobilenetv3_large_100"), (3, 64, 64)),
    "swin": (partial(vision, "swin_t"), partial(timm, "swin_tiny_patch4_window7_224"), (3, 224, 224)),
    "densenet": (partial(vision, "densenet121"), partial(timm, "densenet121"), (3, 64, 64)),
    "vgg": (partial(vision, "vgg11_bn"), partial(timm, "vgg11_bn"), (3, 224, 224)),
    "regnet": (partial(vision, "regnet_y_400mf"), partial(timm, "regnety_004"), (3, 64, 64)),
    "mnasnet": (partial(vision, "mnasnet1_0"), partial(timm, "mnasnet_100"), (3, 64, 64)),
    "hf-vit": (
        partial(classifier, "ViTForImageClassification", "ViTConfig", **TINY),
        partial(timm, "vit_tiny_patch16_224"),
        (3, 224, 224),
    ),
    "hf-deit": (
        partial(classifier, "DeiTForImageClassificationWithTeacher", "DeiTConfig", **TINY),
        partial(timm, "deit_tiny_distilled_patch16_224"),
        (3, 224, 224),
    ),
    "hf-convnext": (
        partial(classifier, "ConvNextForImageClassification", "ConvNextConfig"),
        partial(timm, "convnext_tiny"),
        (3, 64, 64),
    ),
    "hf-resnet": (
        partial(classifier, "ResNetForImageClassification", "ResNetConfig"),
        partial(timm, "resnet50"),
        (3, 64, 64),
    ),
    "hf-regnet": (
        partial(classifier, "RegNetForImageClassification", "RegNetConfig", **REGNET),
        partial(timm, "regnety_004"),
        (3, 64, 64),
    ),
    "hf-dinov2": (
        partial(hugging, "Dinov2Model", "Dinov2Config", **DINO),
        partial(timm, "vit_small_patch14_dinov2", img_size=70, embed_dim=192, depth=3, num_heads=3),
        (3, 70, 70),
    ),
    "hf-clip": (
        partial(hugging, "CLIPVisionModelWithProjection", "CLIPVisionConfig", **CLIP),
        partial(timm, "vit_base_patch16_clip_quickgelu_224", embed_dim=192, num_heads=3, num_classes=512),
        (3, 224, 224),
    ),
    "hf-swin": (
        partial(classifier, "SwinForImageClassification", "SwinConfig", **STAGES),
        partial(timm, "swin_tiny_patch4_window7_224", **STAGES),
        (3, 224, 224),
    ),
    "hf-swinv2": (
        partial(
            classifier, "Swinv2ForImageClassification", "Swinv2Config", image_size=256, window_size=8, **STAGES
        ),
        partial(timm, "swinv2_tiny_window8_256", **STAGES),
        (3, 256, 256),
    ),
    "hf-beit": (
        partial(classifier, "BeitForImageClassification", "BeitConfig", use_relative_position_bias=True, **SMALL),
        partial(timm, "beit_base_patch16_224", init_values=0.1, **SMALL_TIMM),
        (3, 64, 64),
    ),
    "hf-pvtv2": (
        partial(classifier, "PvtV2ForImageClassification", "PvtV2Config"),
        partial(timm, "pvt_v2_b0"),
        (3, 64, 64),
    ),
    "hf-siglip": (
        partial(hugging, "SiglipVisionModel", "SiglipVisionConfig", hidden_act="gelu", **SMALL),
        partial(timm, "vit_base_patch16_siglip_224", num_classes=0, **SMALL_TIMM),
        (3, 64, 64),
    ),
    "hf-convnextv2": (
        partial(
            classifier,
            "ConvNextV2ForImageClassification",
            "ConvNextV2Config",
            hidden_sizes=[16, 32, 64, 128],
            depths=[1, 2, 1, 1],
        ),
        partial(timm, "convnextv2_atto", dims=(16, 32, 64, 128), depths=(1, 2, 1, 1)),
        (3, 64, 64),
    ),
    "hf-mobilenetv1": (
        partial(classifier, "MobileNetV1ForImageClassification", "MobileNetV1Config", tf_padding=False),
        partial(timm, "mobilenetv1_100"),
        (3, 64, 64),
    ),
}
FAST = ("mnasnet", "regnet", "hf-dinov2", "hf-clip", "hf-beit")
"""They take little time; the others run in the sweep."""

ONE_SIDED = ("mask_token", "relative_position_index", "num_batches_tracked")
"""Tensors that only one of the two codes has, and that do not enter the output."""


def changed(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for tensor in (
            *model.parameters(),
            *(model.get_buffer(n) for n in model.state_dict() if _is_buffer(model, n)),
        ):
            if tensor.is_floating_point():
                tensor.mul_(1 + 0.1 * torch.rand_like(tensor)).add_(0.01 * torch.rand_like(tensor))
    return model


def _is_buffer(model: nn.Module, name: str) -> bool:
    return name in dict(model.named_buffers())


def with_one_epsilon(model: nn.Module) -> nn.Module:
    """That two libraries differ in the epsilon of their norms is no matter of weights."""
    for part in model.modules():
        if isinstance(getattr(part, "eps", None), float):
            part.eps = 1e-5
    return model.eval()


def output(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    is_pooled = getattr(model, "attn_pool", None) is not None
    found = model.forward_features(x) if getattr(model, "num_classes", 1) == 0 and not is_pooled else model(x)
    for name in ("logits", "image_embeds", "pooler_output" if hasattr(model, "head") else "", "last_hidden_state"):
        named: torch.Tensor | None = getattr(found, name, None)
        if named is not None:
            return named
    return found if isinstance(found, torch.Tensor) else found[0]
