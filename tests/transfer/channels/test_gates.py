"""Squeeze-excite branches that one network has and the other has not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import transfer
from transfer.channels.coupling import coupled_groups
from transfer.channels.gates import lone_gates
from transfer.options import Options
from transfer.structure.records import Block
from zoo_index.catalogues.timm_catalogue import build


class Gate(nn.Module):
    """Multiplies channels by what it makes of their means."""

    def __init__(self, width: int, last: Callable[[torch.Tensor], torch.Tensor] = torch.sigmoid) -> None:
        super().__init__()
        self.squeeze, self.excite, self.last = (
            nn.Conv2d(width, width // 2, 1),
            nn.Conv2d(width // 2, width, 1),
            last,
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = x * self.last(self.excite(self.squeeze(x.mean((2, 3), keepdim=True)).relu()))
        return result


class Chain(nn.Module):
    """Two layers that add to the image what they find in it, channels gated in between."""

    def __init__(self, gate: nn.Module | None = None, width: int = 12) -> None:
        super().__init__()
        self.first = nn.Conv2d(6, width, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.gate = gate
        self.second = nn.Conv2d(width, 6, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.first_norm(self.first(x)).relu()
        result: torch.Tensor = x + self.second_norm(self.second(hidden if self.gate is None else self.gate(hidden)))
        return result


def network(gates: bool, last: Callable[[torch.Tensor], torch.Tensor] = torch.sigmoid) -> nn.Module:
    """Stack a stem, three chains and a classifier."""
    chains = [Chain(Gate(12, last) if gates else None) for _ in range(3)]
    return nn.Sequential(nn.Conv2d(3, 6, 3), *chains, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))


@torch.no_grad()
def trained(model: nn.Module) -> nn.Module:
    """Give every batch norm a scale and a shift, and the statistics of what it reads."""
    random = torch.Generator().manual_seed(0)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.weight.copy_(0.5 + torch.rand(part.weight.shape, generator=random))
            part.bias.copy_(torch.randn(part.bias.shape, generator=random))
            part.momentum = None
    for _ in range(20):
        model.train()(torch.randn(64, 3, 10, 10, generator=random))
    return model.eval()


def images() -> torch.Tensor:
    return torch.randn(64, 3, 10, 10, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("last", [torch.sigmoid, nn.functional.hardsigmoid])
def test_new_gates_let_everything_pass_and_learn(last: Callable[[torch.Tensor], torch.Tensor]) -> None:
    torch.manual_seed(0)
    source, target = trained(network(gates=False)), network(gates=True, last=last).eval()
    transfer.transfer(source, target)
    torch.testing.assert_close(target(images()), source(images()))
    target(images()).square().sum().backward()
    for part in target.modules():
        if isinstance(part, Gate):
            assert part.excite.weight.grad is not None
            assert part.excite.weight.grad.abs().max() > 0
    transfer.transfer(source, target, options=Options(gates=False))
    assert not torch.allclose(target(images()), source(images()), atol=0.01)


@pytest.mark.parametrize(("plain", "gated"), [("resnet18", "seresnet18"), ("regnetx_002", "regnety_002")])
def test_gates_of_timm_are_found_on_both_sides(plain: str, gated: str) -> None:
    with_gates, without = build(gated, device="cpu"), build(plain, device="cpu")
    n_gates = sum(type(part).__name__ in ("SEModule", "SqueezeExcite") for part in with_gates.modules())
    used = {pair.target.path for pair in transfer.plan(without, with_gates).alignment.pairs}
    lone = lone_gates(transfer.standardize(with_gates), used, used)
    opened = [r for r in transfer.plan(without, with_gates).tensors if ".se." in r.name and r.status == "identity"]
    fed = [item for item in transfer.standardize(with_gates).items if isinstance(item, Block)]
    n_fed = sum(any(layer.path in used for layer in item.layers) for item in fed)
    assert n_gates > 0
    assert len(lone) == min(n_gates, n_fed)
    assert len(opened) == 2 * min(n_gates, n_fed)


def test_resnet_becomes_seresnet_without_a_change() -> None:
    torch.manual_seed(0)
    source, target = build("resnet18", device="cpu").eval(), build("seresnet18", device="cpu").eval()
    transfer.transfer(source, target)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(target(x), source(x), rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("as_state", [False, True])
def test_what_lost_gates_did_on_average_goes_into_the_weights(as_state: bool) -> None:
    torch.manual_seed(0)
    source = network(gates=True)
    for part in source.modules():
        if isinstance(part, Gate):
            part.excite.bias.normal_(0, 2)
    trained(source)
    target = network(gates=False).eval()

    def error(*, gates: bool) -> float:
        given = source.state_dict() if as_state else source
        report = transfer.transfer(given, target, options=Options(gates=gates))
        noted = [row.name for row in report.tensors if "average of the gate" in row.reason]
        assert noted == ([f"{i}.second.weight" for i in (1, 2, 3)] if gates else [])
        return float((target(images()) - source(images())).square().mean())

    assert error(gates=True) < 0.2 * error(gates=False)
    for part in source.modules():
        if isinstance(part, Gate):
            part.excite.weight.zero_()
    trained(source)
    assert error(gates=True) < 0.01 * error(gates=False)  # which activations there are can only be guessed


@torch.no_grad()
def test_a_gate_at_the_end_of_a_branch_goes_into_its_norm() -> None:
    torch.manual_seed(0)
    source, target = build("seresnet18", device="cpu").eval(), build("resnet18", device="cpu").eval()
    for part in source.modules():
        if type(part).__name__ == "SEModule":
            part.fc2.weight.zero_()
            part.fc2.bias.normal_()
        if isinstance(part, nn.BatchNorm2d):
            part.bias.normal_()
    transfer.transfer(source, target)
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(target(x), source(x), rtol=1e-4, atol=1e-3)


def test_what_only_looks_like_a_gate_stays_as_it_was() -> None:
    class Mixing(Gate):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = x + self.excite(self.squeeze(x).relu())
            return result * 0 + result.flip(1)

    torch.manual_seed(0)
    source, target = network(gates=False), network(gates=False)
    for part in target.modules():
        if isinstance(part, Chain):
            part.gate = Mixing(12)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items() if "gate" in name}
    report = transfer.transfer(source, target)
    assert {row.status for row in report.tensors if "gate" in row.name} == {"fresh"}
    assert all(torch.equal(target.state_dict()[name], tensor) for name, tensor in before.items())


class Surrounded(nn.Module):
    """A gate with something before it and something after it, added to the input."""

    def __init__(self, before: nn.Module, gate: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.before, self.gate, self.after = before, gate, after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = x + self.after(self.gate(self.before(x)))
        return result


def surrounded(gates: bool, after: Callable[[], nn.Module], act: type[nn.Module] = nn.ReLU) -> nn.Module:
    def before() -> nn.Module:
        first = nn.Conv2d(12, 16, 3, padding=1), nn.BatchNorm2d(16), act()
        return nn.Sequential(*first, nn.Conv2d(16, 12, 3, padding=1), nn.BatchNorm2d(12), act())

    blocks = [Surrounded(before(), Gate(12) if gates else nn.Identity(), after()) for _ in range(2)]
    return nn.Sequential(nn.Conv2d(3, 12, 3), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5))


AFTER: dict[str, Callable[[], nn.Module]] = {
    "depthwise": lambda: nn.Sequential(nn.Conv2d(12, 12, 3, padding=1, groups=12), nn.BatchNorm2d(12)),
    "transposed": lambda: nn.Sequential(nn.ConvTranspose2d(12, 12, 3, padding=1), nn.BatchNorm2d(12)),
    "nothing, behind an activation": nn.Identity,
    "read twice": lambda: Twice(),
}


class Twice(nn.Module):
    """Reads its input by a layer, and passes it on."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(12, 12, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = x + self.layer(x)
        return result


@torch.no_grad()
@pytest.mark.parametrize("kind", AFTER)
def test_gates_that_nothing_beside_them_makes_up_for_are_left_alone(kind: str) -> None:
    torch.manual_seed(0)
    plain, gated = (trained(surrounded(gates, AFTER[kind], nn.SiLU)) for gates in (False, True))
    for source, target in ((plain, gated), (gated, plain)):
        before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
        report = transfer.transfer(source, target)
        for row in report.tensors:
            if row.status == "fresh":
                assert torch.equal(target.state_dict()[row.name], before[row.name])
            elif row.source == row.name:
                assert torch.equal(target.state_dict()[row.name], source.state_dict()[row.name]), row
        assert not any(row.status == "identity" for row in report.tensors if "gate" in row.name)


@torch.no_grad()
@pytest.mark.parametrize("as_state", [False, True])
def test_an_adapter_of_the_source_is_no_gate(as_state: bool) -> None:
    class Adapter(Gate):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = x + self.excite(self.squeeze(x).relu())
            return result

    torch.manual_seed(0)
    source = network(gates=False)
    for part in source.modules():
        if isinstance(part, Chain):
            part.gate = Adapter(12)
            part.gate.excite.weight.mul_(0.1)
    trained(source)
    target = network(gates=False)
    report = transfer.transfer(source.state_dict() if as_state else source, target)
    assert not any("gate" in row.reason for row in report.tensors)
    assert torch.equal(target.get_submodule("1.second").weight, source.get_submodule("1.second").weight)


@torch.no_grad()
def test_a_shortcut_is_not_taken_for_what_reads_a_gate() -> None:
    from timm.layers.create_attn import get_attn
    from timm.models.resnet import BasicBlock, ResNet

    def made(gates: bool) -> nn.Module:
        gate = {"attn_layer": get_attn("se")} if gates else {}
        torch.manual_seed(0)
        model = ResNet(BasicBlock, (1, 1, 1, 1), 5, channels=(32,) * 4, block_args=gate)
        return trained(model)

    plain, gated = made(False), made(True)
    transfer.transfer(plain, gated)
    torch.testing.assert_close(gated(images()), plain(images()), rtol=1e-4, atol=1e-4)
    report = transfer.transfer(gated, plain)
    noted = {row.name.rpartition(".")[0] for row in report.tensors if "average of the gate" in row.reason}
    assert noted == {f"layer{i}.0.bn2" for i in (1, 2, 3, 4)}


def test_gates_are_not_fed_from_their_neighbours() -> None:
    source, target = build("tf_mobilenetv3_large_minimal_100"), build("mobilenetv3_large_100")
    rows = [row for row in transfer.plan(source, target).tensors if ".se." in row.name]
    assert {row.source for row in rows} == {None}
    assert sum(row.status == "identity" for row in rows) == len(rows) / 2 > 0


def test_the_first_layer_for_grey_images_is_no_depthwise_one() -> None:
    widths = {
        n: [group.width for group in coupled_groups(transfer.standardize(build("resnet18", in_chans=n)))]
        for n in (1, 3)
    }
    assert widths[1] == widths[3] != []
