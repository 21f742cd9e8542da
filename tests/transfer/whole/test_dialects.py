"""Residual blocks, slices and results as anybody writes them: the run sees them, or shapes have to do."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from nets import perturbed
from torch import nn

import transfer
from transfer.structure.standardization import standardize

Add = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
WIDTH = 16


class Branch(nn.Module):
    """Two convolutions, added to their input in some way."""

    def __init__(self, add: Add) -> None:
        super().__init__()
        self.c1, self.n1 = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH)
        self.c2, self.n2 = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH)
        self.add = add

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.add(x, self.n2(self.c2(self.n1(self.c1(x)).relu())))


class Parallel(nn.Module):
    """Two branches, added to their input at once."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.an = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH)
        self.b, self.bn = nn.Conv2d(WIDTH, WIDTH, 1, bias=False), nn.BatchNorm2d(WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = x + self.an(self.a(x)) + self.bn(self.b(x))
        return result.relu()


class Net(nn.Module):
    """A stem, blocks, and a classifier whose result comes in some form."""

    def __init__(self, block: Callable[[], nn.Module], n: int, wrap: Callable[[Any], Any] = lambda y: y) -> None:
        super().__init__()
        self.stem, self.fc = nn.Conv2d(3, WIDTH, 3), nn.Linear(WIDTH, 10)
        self.blocks = nn.Sequential(*(block() for _ in range(n)))
        self.wrap = wrap

    def forward(self, x: torch.Tensor) -> Any:
        return self.wrap(self.fc(self.blocks(self.stem(x).relu()).mean((2, 3))))


ADDITIONS: dict[str, Add] = {
    "plain": lambda x, y: x + y,
    "in place": lambda x, y: x.clone().add_(y),
    "a Python sum": lambda x, y: torch.as_tensor(sum([x, y])),
    "a difference": lambda x, y: x - y,
    "addcmul": lambda x, y: torch.addcmul(x, y, torch.ones_like(y)),
    "a stack": lambda x, y: torch.stack([x, y]).sum(0),
    "a factor": lambda x, y: x * (1 + y),
    "a mask": lambda x, y: x + y * torch.ones_like(x[:, :1]),
}


@pytest.mark.parametrize("how", ADDITIONS)
def test_a_deeper_network_computes_the_same_however_it_adds(how: str) -> None:
    def block() -> nn.Module:
        return Branch(ADDITIONS[how])

    report = transfer.transfer(perturbed(Net(block, 2)), perturbed(Net(block, 4), 1))
    assert report.counts()["identity"] == 4
    assert report.function is not None
    assert report.function.verdict == "equal"


def test_a_deeper_network_of_parallel_branches_computes_the_same() -> None:
    report = transfer.transfer(perturbed(Net(Parallel, 2)), perturbed(Net(Parallel, 4), 1))
    assert report.function is not None
    assert report.function.verdict == "equal"


def test_results_of_any_kind_are_looked_into() -> None:
    def network(n: int) -> nn.Module:
        return Net(lambda: Branch(ADDITIONS["plain"]), n, lambda y: types.SimpleNamespace(logits=y))

    report = transfer.transfer(perturbed(network(2)), perturbed(network(4), 1))
    assert report.counts()["identity"] == 4
    assert all(layer.wiring is not None for layer in standardize(network(2)).layers())


class Sliced(nn.Module):
    """Writes what two branches give into parts of one tensor."""

    def __init__(self, *, has_norms: bool) -> None:
        super().__init__()
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d if has_norms else lambda n: nn.Identity()
        self.stem = nn.Conv2d(3, 8, 3)
        self.a, self.an = nn.Conv2d(8, 8, 3, padding=1, bias=not has_norms), norm(8)
        self.b, self.bn = nn.Conv2d(8, 8, 1, bias=not has_norms), norm(8)
        self.last, self.fc = nn.Conv2d(16, 16, 1), nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).relu()
        both = x.new_zeros(len(x), 16, *x.shape[2:])
        both[:, :8] = self.an(self.a(x)).relu()
        both[:, 8:] = self.bn(self.b(x)).sigmoid()
        result: torch.Tensor = self.fc(self.last(both).relu().mean((2, 3)))
        return result


def test_what_is_written_into_slices_is_seen() -> None:
    network = Sliced(has_norms=True)
    assert [layer.path for layer in standardize(network).layers()] == ["stem", "a", "an", "b", "bn", "last", "fc"]
    report = transfer.transfer(perturbed(network), Sliced(has_norms=False))
    assert report.function is not None
    assert report.function.verdict == "equal"


class Views(nn.Module):
    """Adds to a view of what another layer reads as a whole."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.n = nn.Conv2d(3, 8, 3), nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.last = nn.Conv2d(8, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        first, second = x.chunk(2, 1)
        second += self.n(self.a(first))
        result: torch.Tensor = self.last(x)
        return result


class Raw(nn.Module):
    """Returns what a layer gives beside the result."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.n, self.fc = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = self.a(x)
        return {"raw": y, "logits": self.fc(self.n(y).relu().mean((2, 3)))}


@pytest.mark.parametrize("network", [Views(), Raw()], ids=["a view", "the caller"])
def test_others_that_read_a_layer_are_seen(network: nn.Module) -> None:
    around = {layer.path: layer.wiring for layer in standardize(network).layers()}
    layer = around["stem" if isinstance(network, Views) else "a"]
    assert layer is not None
    assert layer.feeds == ""


class Fusing(nn.Module):
    """Makes a further layer when it is about to be evaluated, as networks do that are reparametrised."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1)

    def train(self, mode: bool = True) -> Fusing:
        super().train(mode)
        if mode:
            self._modules.pop("fused", None)
        elif "fused" not in self._modules:
            self.fused = nn.Conv2d(8, 8, 3, padding=1, device=self.a.weight.device)
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        return torch.as_tensor(self.fused(x) if "fused" in self._modules else self.a(x) + self.b(x))


def test_layers_that_are_made_for_evaluation_do_no_harm() -> None:
    source = Fusing()
    report = transfer.transfer(source, Fusing(), verify=False)
    assert report.counts()["copied"] == 6


class Constant(nn.Module):
    """Keeps a tensor as a plain attribute."""

    def __init__(self, order: str) -> None:
        super().__init__()
        for name in order:
            setattr(self, name, nn.Linear(8, 8))
        self.std = torch.linspace(0.5, 1, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.b(self.a(x / self.std).relu()).tanh())


def test_tensors_that_are_plain_attributes_do_not_stand_in_the_way() -> None:
    report = transfer.transfer(perturbed(Constant("ba")), perturbed(Constant("ab"), 1), example=torch.rand(5, 8))
    assert report.note == ""
    assert report.function is not None
    assert report.function.verdict == "equal"
