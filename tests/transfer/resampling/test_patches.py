"""Patches, kernels and input channels are brought to size as timm does it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from resamplings import VIT, decide, resampled, timm_model
from timm.layers import resample_patch_embed
from timm.models import adapt_input_conv
from torch import nn
from torch.nn import functional

import transfer
from transfer.resampling.inputs import input_layers, is_patch_kernel
from transfer.resampling.recognition import resampling
from transfer.resampling.transforms import AdaptChannels, Chain, ResamplePatches
from zoo_index.catalogues.timm_catalogue import build


@pytest.mark.parametrize(("old", "new"), [(16, 32), (16, 8), (14, 16), (4, 2)])
def test_patch_embeddings_are_resized_as_flexivit_does(old: int, new: int) -> None:
    source, target = (timm_model(VIT, depth=1, patch_size=size, img_size=size * 2) for size in (old, new))
    weight = source.state_dict()["patch_embed.proj.weight"]
    expected = resample_patch_embed(weight, [new, new])
    torch.testing.assert_close(resampled(source, target, "proj.weight"), expected, atol=1e-6, rtol=0)


def test_a_resized_patch_embedding_embeds_enlarged_images_alike() -> None:
    weight, image = torch.randn(5, 3, 4, 4), torch.randn(2, 3, 4, 4)
    larger = functional.interpolate(image, (8, 8), mode="bicubic", antialias=True)
    expected = functional.conv2d(image, weight)
    found = functional.conv2d(larger, ResamplePatches((8, 8))(weight))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("size", "stride", "is_patch"),
    [
        ((16, 16), None, True),
        ((14, 14), None, True),
        ((4, 4), None, True),
        ((2, 2), None, True),
        ((3, 3), None, False),
        ((7, 7), None, False),
        ((1, 1), None, False),
        ((4, 3), None, False),
        ((7, 7), (7, 7), True),
        ((16, 16), (8, 8), False),
    ],
)
def test_patches_are_told_from_overlapping_kernels(
    size: tuple[int, int], stride: tuple[int, int] | None, is_patch: bool
) -> None:
    assert is_patch_kernel(size, stride) is is_patch


@pytest.mark.parametrize("n", [1, 2, 4, 6, 12])
@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "convnext_atto"])
def test_input_channels_are_adapted_as_timm_does(name: str, n: int) -> None:
    source = timm_model(name)
    given_networks = transfer.standardize(source), transfer.standardize(build(name, in_chans=n))
    (tensor, _), *others = [
        (t, found)
        for layers in zip(*(network.layers() for network in given_networks), strict=True)
        for s, t in zip(*(layer.tensors for layer in layers), strict=True)
        if (found := resampling(s, t, *layers, *given_networks)) is not None
    ]
    assert others == []
    weight = source.state_dict()[tensor.name]
    found = decide(*given_networks, tensor.name)
    assert found is not None
    assert found.operator == "adapt input channels"
    torch.testing.assert_close(found.transform(weight), adapt_input_conv(n, weight))


@pytest.mark.parametrize(("old", "new"), [(3, 1), (3, 6), (4, 1), (1, 5), (2, 8), (12, 1)])
def test_grey_images_give_the_same_response(old: int, new: int) -> None:
    weight, image = torch.randn(5, old, 3, 3), torch.randn(2, 1, 9, 9)
    expected = functional.conv2d(image.expand(-1, old, -1, -1), weight)
    found = functional.conv2d(image.expand(-1, new, -1, -1), AdaptChannels(new)(weight))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_patches_and_channels_are_adapted_together() -> None:
    source = timm_model(VIT, depth=1)
    target = build(VIT, depth=1, patch_size=8, in_chans=1)
    weight = source.state_dict()["patch_embed.proj.weight"]
    found = decide(transfer.standardize(source), transfer.standardize(target), "proj.weight")
    assert found is not None
    assert isinstance(found.transform, Chain)
    assert found.operator == "adapt input channels, resample patches"
    expected = resample_patch_embed(weight.sum(1, keepdim=True), [8, 8])
    torch.testing.assert_close(found.transform(weight), expected, atol=1e-5, rtol=0)


def test_pixels_of_space_to_depth_are_adapted_one_by_one() -> None:
    source, target = timm_model("tresnet_m"), build("tresnet_m", in_chans=1)
    name = "body.conv1.conv.weight"
    weight = source.state_dict()[name]
    found = decide(transfer.standardize(source), transfer.standardize(target), name)
    assert found is not None
    torch.testing.assert_close(found.transform(weight), adapt_input_conv(1, weight))


@pytest.mark.parametrize(
    ("name", "options", "paths"),
    [
        ("resnext50_32x4d", {"in_chans": 4}, {"conv1"}),
        ("mobilenetv2_100", {"in_chans": 1}, {"conv_stem"}),
        ("crossvit_9_240", {}, {"patch_embed.0.proj", "patch_embed.1.proj"}),
        ("repvgg_a0", {}, {"stem.conv_kxk.conv", "stem.conv_1x1.conv"}),
        ("mixer_s32_224", {}, {"stem.proj"}),
    ],
)
def test_input_layers(name: str, options: dict[str, Any], paths: set[str]) -> None:
    assert {layer.path for layer in input_layers(transfer.standardize(build(name, **options)))} == paths


def test_kernels_keep_their_middle() -> None:
    def network(n: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, n, groups=4))

    for n_source, n_target in ((5, 3), (3, 5)):
        source, target = network(n_source), network(n_target)
        assert decide(transfer.standardize(source), transfer.standardize(target), "1.weight") is None
        transfer.transfer(source, target)
        smaller, larger = sorted((source[1].weight, target[1].weight), key=torch.Tensor.numel)
        assert torch.equal(smaller, larger[:, :, 1:4, 1:4])


@pytest.mark.parametrize("n_channels", [1, 4, 6])
def test_a_stem_takes_any_number_of_channels_as_with_timm(n_channels: int) -> None:
    source, target = build("resnet18", device="cpu"), build("resnet18", device="cpu", in_chans=n_channels)
    report = transfer.transfer(source, target)
    assert {row.name: row.operator for row in report.tensors}["conv1.weight"] == "adapt input channels"
    expected = adapt_input_conv(n_channels, source.conv1.weight.detach().clone())
    torch.testing.assert_close(target.conv1.weight, expected)
