"""Coupled channels can be permuted without changing a function, so those that matter can be made the first ones."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import nets
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import transfer
from transfer.channels.coupling import coupled_groups
from transfer.channels.groups import Group, Port
from transfer.channels.rescaling import is_normalized, rescale_factor
from transfer.narrowing.compensation import Compensated
from transfer.narrowing.confirmation import confirmed_groups
from transfer.narrowing.importance import channel_scores, importance_orders, narrowed
from transfer.narrowing.moments import expected_inputs
from transfer.narrowing.reordering import Reordered, positions
from transfer.options import Options
from transfer.structure.records import Block
from transfer.weights.reading import StateReader
from zoo_index.catalogues.timm_catalogue import build

NETWORKS = [  # name, side, part of all outputs (of layers that mix or scale channels) that can be permuted
    ("resnet18", 64, 0.80),
    ("resnet50", 64, 0.90),
    ("resnext50_32x4d", 64, 0.20),
    ("seresnet18", 64, 0.80),
    ("efficientnet_b0", 64, 0.60),
    ("efficientnet_lite0", 64, 0.50),
    ("mobilenetv2_100", 64, 0.50),
    ("mobilenetv3_small_100", 64, 0.60),
    ("vit_tiny_patch16_224", 224, 0.50),
    ("eva02_tiny_patch14_224", 224, 0.30),
    ("swin_tiny_patch4_window7_224", 224, 0.60),
    ("convnext_atto", 64, 0.70),
    ("convnextv2_atto", 64, 0.70),
    ("vgg11_bn", 32, 0.90),
    ("vgg11", 32, 0.90),
    ("xception41", 64, 0.50),
    ("regnety_002", 64, 0.02),
    ("repvgg_a0", 64, 0.80),
    ("tiny_vit_5m_224", 224, 0.10),
    ("ghostnet_100", 64, 0.02),
]
LEFT_ALONE = [
    "densenet121",
    "inception_v3",
    "resnetv2_50x1_bit",
    "cait_xxs24_224",
    "cs3darknet_s",
    "cs3darknet_focus_m",
]


def network(name: str) -> nn.Module:
    """Build a network in double precision with statistics, biases and scales of its own."""
    torch.manual_seed(0)
    options = {"depth": 2} if name.startswith(("vit", "eva")) else {}
    model = build(name, device="cpu", **options).double().eval()
    with torch.no_grad():
        for key, tensor in model.state_dict(keep_vars=True).items():
            if key.endswith("running_var"):
                tensor.copy_(0.5 + torch.rand(tensor.shape))
            elif tensor.is_floating_point():
                tensor.add_((0.2 if tensor.dim() <= 1 else 0.02) * torch.randn(tensor.shape))
    return model


def groups_of(model: nn.Module) -> tuple[Group, ...]:
    return coupled_groups(transfer.standardize(model))


def reader(model: nn.Module) -> StateReader:
    return StateReader(model.state_dict().__getitem__)


def permuted(model: nn.Module, groups: tuple[Group, ...]) -> dict[str, torch.Tensor]:
    read = Reordered(reader(model), {group: torch.randperm(group.width) for group in groups})
    return {name: read(name) for name in model.state_dict()}


@torch.no_grad()
@pytest.mark.parametrize(("name", "side", "least"), nets.every_nth_fast(NETWORKS, 3))
def test_permuting_every_group_leaves_the_function_as_it_is(name: str, side: int, least: float) -> None:
    model = network(name)
    groups = groups_of(model)
    images = torch.randn(1, 3, side, side, dtype=torch.float64)
    expected = model(images)
    state = permuted(model, groups)
    assert any(not torch.equal(value, state[name]) for name, value in model.state_dict().items())
    model.load_state_dict(state)
    torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max()))
    weights = {key: value for key, value in model.state_dict().items() if value.dim() >= 2}
    n_outputs = sum(len(value) for value in weights.values())
    n_covered = sum(g.width * p.parts for g in groups for p in g.ports if p.tensor in weights and p.dim == 0)
    assert n_covered / n_outputs >= least


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_is_not_understood_is_left_alone(name: str) -> None:
    assert groups_of(build(name)) == ()


def test_each_dimension_is_in_one_group_at_most() -> None:
    for name, _, _ in NETWORKS:
        model = build(name)
        shapes = {key: value.shape for key, value in model.state_dict().items()}
        seen = set()
        for group in groups_of(model):
            for port in group.ports:
                assert (port.tensor, port.dim) not in seen
                seen.add((port.tensor, port.dim))
                assert shapes[port.tensor][port.dim] == group.width * port.parts * port.stride


def test_the_groups_are_those_of_the_architecture() -> None:
    """Stages share their width, each hidden width is on its own, heads and image channels are in none."""
    tensors = {
        name: {
            frozenset(port.tensor for port in group.ports if port.dim == dim) for group in groups_of(build(name))
        }
        for name, dim in (("resnet18", 1), ("vit_tiny_patch16_224", 1))
    }
    assert {"layer1.0.conv2.weight"} in tensors["resnet18"]  # hidden
    assert {
        "layer1.0.conv1.weight",
        "layer1.1.conv1.weight",
        "layer2.0.conv1.weight",
        "layer2.0.downsample.0.weight",
    } in (tensors["resnet18"])
    every = set().union(*tensors["vit_tiny_patch16_224"])
    assert {"blocks.0.attn.qkv.weight", "blocks.0.mlp.fc2.weight", "head.weight"} <= every
    assert not {"blocks.0.attn.proj.weight", "patch_embed.proj.weight"} & every


class PartlyAdded(nn.Module):
    """Adds its input to the first half of the channels, which no header shows."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.conv = nn.Conv2d(4, 8, 1)
        self.hidden = nn.Conv2d(8, 6, 1)
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.stem(x)
        second = self.conv(first)
        second = torch.cat([second[:, :4] + first, second[:, 4:]], 1)
        return self.head(self.hidden(second).relu()).mean((2, 3))


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_network_confirms_its_groups(device: str) -> None:
    with torch.device(device):
        model = PartlyAdded()
    groups = groups_of(model)
    assert sorted(group.width for group in groups) == [4, 6, 8]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    confirmed = confirmed_groups(model, groups)
    assert confirmed is not None
    assert [group.width for group in confirmed] == [6]
    if device == "cpu":
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    resnet = build("resnet18", device=device)
    assert confirmed_groups(resnet, groups_of(resnet)) == groups_of(resnet)


def test_a_network_that_cannot_be_run_confirms_nothing() -> None:
    assert confirmed_groups(nn.Bilinear(3, 4, 5), ()) is None


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 6), st.integers(1, 3), st.integers(1, 3), st.randoms())
def test_an_order_of_channels_is_one_of_indices(width: int, parts: int, stride: int, random: Random) -> None:
    order = list(range(width))
    random.shuffle(order)
    found = positions(Port("w", 0, "reads", parts, stride), torch.tensor(order))
    values = torch.arange(parts * width * stride).reshape(parts, width, stride)
    assert torch.equal(found, values[:, order].flatten())


def test_a_part_of_a_reordered_tensor_is_read_alike() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    (group,) = groups_of(model)
    read = Reordered(reader(model), {group: torch.tensor([4, 2, 0, 1, 3])})
    for name in ("0.weight", "0.bias", "2.weight", "2.bias"):
        whole = read(name)
        index = tuple(slice(1, n) for n in whole.shape)
        assert torch.equal(read(name, index), whole[index])
    assert torch.equal(read("2.weight"), model[2].weight[:, [4, 2, 0, 1, 3]])


@torch.no_grad()
def test_narrowing_keeps_the_channels_that_matter() -> None:
    source = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4))
    target = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 4))
    for layer, alive in ((source[2], [1, 5, 6]), (source[4], [0, 3])):
        dead = [i for i in range(layer.in_features) if i not in alive]
        layer.weight[:, dead] = 0
    planned = transfer.plan(source, target)
    read = reader(source)
    groups = narrowed(groups_of(source), planned)
    orders = importance_orders(groups, read)
    assert [set(orders[group][:n].tolist()) for group, n in zip(groups, (3, 2), strict=True)] == [{1, 5, 6}, {0, 3}]
    transfer.transfer(source, target, options=Options(channels="importance", rescale=False))
    x = torch.randn(5, 3)
    torch.testing.assert_close(target(x), source(x))


def test_orders_descend_and_keep_ties_in_order() -> None:
    model = network("efficientnet_lite0")
    read = reader(model)
    for group, order in importance_orders(groups_of(model), read).items():
        scores = channel_scores(group, read)[order].tolist()
        assert all(a >= b for a, b in pairwise(scores))
    group = Group(3, (Port("w", 1, "reads"),))
    assert importance_orders([group], StateReader({"w": torch.ones(2, 3)}.__getitem__))[group].tolist() == [0, 1, 2]


def test_only_groups_that_the_target_narrows_are_kept() -> None:
    source = build("resnet18")
    groups = groups_of(source)
    assert narrowed(groups, transfer.plan(source, build("resnet18"))) == []
    assert narrowed(groups, transfer.plan(source, build("resnet10t"))) != list(groups)


def normalized_pair(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, width, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU6(),
        nn.Conv2d(width, 12, 1, bias=False),
        nn.BatchNorm2d(12),
    ).eval()


@torch.no_grad()
def trained(width: int) -> nn.Sequential:
    """Give both batch norms the statistics of what they read."""
    torch.manual_seed(0)
    model = normalized_pair(width)
    model[1].weight.uniform_(0.5, 1.5)
    model[1].bias.normal_()
    model.train()
    for norm in (model[1], model[4]):
        norm.momentum = None
    for _ in range(20):
        model(torch.randn(64, 3, 8, 8))
    return model.eval()


@torch.no_grad()
def test_running_means_tell_the_activation() -> None:
    model = trained(16)
    architecture = transfer.standardize(model)
    every = {layer.path for layer in architecture.layers()}
    (expected,) = expected_inputs(architecture, coupled_groups(architecture), reader(model), every).values()
    hidden = model[:3](torch.randn(500, 3, 4, 4))
    torch.testing.assert_close(expected.whole.mean, hidden.mean((0, 2, 3)), atol=0.1, rtol=0.1)
    assert expected.left is not expected.whole
    assert torch.equal(expected.left.mean, expected.whole.mean)
    model[4].running_mean.normal_()
    assert expected_inputs(architecture, coupled_groups(architecture), reader(model), every) == {}


@torch.no_grad()
def test_compensation_makes_up_for_constant_channels_exactly_and_for_others_in_part() -> None:
    source, target = trained(16), normalized_pair(10)
    images = torch.randn(64, 3, 8, 8)

    def error(*, compensate: bool) -> float:
        report = transfer.transfer(source, target, options=Options(compensate=compensate, channels="leading"))
        assert any("left out" in row.reason for row in report.tensors) == compensate
        return float((target(images) - source(images)).square().mean())

    assert error(compensate=True) < 0.7 * error(compensate=False)
    source[1].weight[10:] = 0  # these channels return their bias, whatever they are given
    source[4].running_mean.copy_(source[:4](images).mean((0, 2, 3)))
    assert error(compensate=True) < 0.01 < error(compensate=False)


def test_nothing_is_compensated_where_nothing_is_cut() -> None:
    source = trained(16)
    read = Compensated(reader(source), transfer.plan(source, normalized_pair(16)), groups_of(source))
    assert all(torch.equal(read(name), value) for name, value in source.state_dict().items())
    assert torch.equal(read("4.running_mean", (slice(2, 5),)), source[4].running_mean[2:5])


def test_a_factor_where_no_norm_follows() -> None:
    def block(name: str) -> tuple[Block, ...]:
        items = transfer.standardize(build(name, depth=1) if "vit" in name else build(name)).items
        return tuple(item for item in items if isinstance(item, Block))

    (small,), (tiny,) = block("vit_small_patch16_224"), block("vit_tiny_patch16_224")
    factors = {
        layer.path.rpartition(".")[2]: rescale_factor(tiny.layers, i, small.layers[i], layer)
        for i, layer in enumerate(tiny.layers)
    }
    half = pytest.approx(2**0.5)
    # the norm after the projection has as many channels, but normalizes the residual stream
    assert factors == {"norm1": 1, "qkv": half, "proj": half, "norm2": 1, "fc1": half, "fc2": half}
    wide, narrow = block("wide_resnet50_2")[1], block("resnet50")[1]
    pairs = zip(wide.layers, narrow.layers, strict=True)
    assert all(rescale_factor(narrow.layers, i, a, b) == 1 for i, (a, b) in enumerate(pairs))
    assert is_normalized(narrow.layers, 0)
    assert rescale_factor(small.layers, 1, tiny.layers[1], small.layers[1]) == 1  # grown


@torch.no_grad()
def test_factors_keep_the_spread_of_activations() -> None:
    torch.manual_seed(0)
    source = nn.Sequential(nn.Linear(64, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10))
    target = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10))
    for layer in source[::2]:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    x = torch.randn(200, 64)
    transfer.transfer(source, target, options=Options(rescale=False))
    assert float(target(x).std() / source(x).std()) < 0.4
    transfer.transfer(source, target)
    assert 0.7 < float(target(x).std() / source(x).std()) < 1.4
