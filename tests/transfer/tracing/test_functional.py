"""Networks that call functions on parameters of their own, named or in lists, meet those made of modules."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial, reduce
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as f

import transfer

SIZES = ((3, 16), (16, 24), (24, 32))


class Modules(nn.Module):
    """Convolutions and norms as torch has them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.BatchNorm2d(b, track_running_stats=True), nn.ReLU())
                for a, b in SIZES
            )
        )
        self.fc = nn.Linear(32, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.fc(self.body(x).mean((2, 3)))
        return result


class Named(nn.Module):
    """The same from bare parameters with names that say nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.v, self.c = nn.Parameter(torch.randn(10, 32)), nn.Parameter(torch.randn(10))
        for i, (a, b) in enumerate(SIZES):
            values = {"g": torch.ones(b), "h": torch.zeros(b), "w": torch.randn(b, a, 3, 3), "b": torch.zeros(b)}
            for name, value in values.items():
                self.register_parameter(f"{name}{i}", nn.Parameter(value))
            self.register_buffer(f"m{i}", torch.zeros(b))
            self.register_buffer(f"s{i}", torch.ones(b))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i in range(len(SIZES)):
            w, b, g, h, mean, var = (getattr(self, f"{name}{i}") for name in "wbghms")
            x = f.batch_norm(f.conv2d(x, w, b, 2, 1), mean, var, g, h).relu()
        return f.linear(x.mean((2, 3)), self.v, bias=self.c)


class Listed(nn.Module):
    """The same from lists."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.norms = nn.ParameterList(), nn.ParameterList()
        for a, b in SIZES:
            self.layers.extend([nn.Parameter(torch.randn(b, a, 3, 3)), nn.Parameter(torch.zeros(b))])
            values = (torch.ones(b), torch.zeros(b), torch.zeros(b), torch.ones(b))
            self.norms.extend([nn.Parameter(value, requires_grad=i < 2) for i, value in enumerate(values)])
        self.layers.extend([nn.Parameter(torch.randn(10, 32)), nn.Parameter(torch.randn(10))])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i in range(len(SIZES)):
            weight, bias, mean, var = self.norms[4 * i : 4 * i + 4]
            x = f.conv2d(x, self.layers[2 * i], bias=self.layers[2 * i + 1], stride=2, padding=1)
            x = f.batch_norm(x, running_mean=mean, running_var=var, weight=weight, bias=bias).relu()
        return f.linear(x.mean((2, 3)), *self.layers[-2:])


class Perceptron(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(20, 48), nn.LayerNorm(48), nn.Tanh(), nn.Linear(48, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.net(x)
        return result


class Multiplied(nn.Module):
    """The same, inputs first, as in a textbook."""

    def __init__(self, *, is_at_once: bool = False) -> None:
        super().__init__()
        self.is_at_once = is_at_once
        self.w_in, self.b_in = nn.Parameter(torch.randn(20, 48)), nn.Parameter(torch.randn(48))
        self.gain, self.shift = nn.Parameter(torch.ones(48)), nn.Parameter(torch.zeros(48))
        self.w_out, self.b_out = nn.Parameter(torch.randn(48, 5)), nn.Parameter(torch.randn(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.addmm(self.b_in, x, self.w_in) if self.is_at_once else x @ self.w_in + self.b_in
        x = f.layer_norm(y, (48,), self.gain, self.shift).tanh()
        return self.b_out + torch.matmul(x, self.w_out)


def perturbed(model: nn.Module) -> nn.Module:
    """Move all values up: a variance cannot be told by its name here, and stays positive."""
    torch.manual_seed(1)
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value += 0.3 * torch.rand_like(value)
    return model.eval()


Build = Callable[[], nn.Module]
IMAGE, VECTOR = (2, 3, 32, 32), (2, 20)
PAIRS: list[tuple[Build, Build, tuple[int, ...]]] = [
    (Modules, Named, IMAGE),
    (Modules, Listed, IMAGE),
    (Named, Listed, IMAGE),
    (Perceptron, Multiplied, VECTOR),
    (Perceptron, partial(Multiplied, is_at_once=True), VECTOR),
]
BOTH_WAYS = [*PAIRS, *((b, a, size) for a, b, size in PAIRS)]


@pytest.mark.parametrize(("source", "target", "size"), BOTH_WAYS)
def test_functions_and_modules_compute_the_same(source: Build, target: Build, size: tuple[int, ...]) -> None:
    one, other = perturbed(source()), target().eval()
    report = transfer.transfer(one, other)
    assert report.similarity == 1
    assert {row.status for row in report.tensors if "num_batches" not in row.name} == {"copied"}
    x = torch.randn(size)
    torch.testing.assert_close(one(x), other(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("build", [Named, Listed, Multiplied])
def test_a_shuffled_file_goes_into_the_network_it_is_from(build: Build, tmp_path: Path) -> None:
    one, other = perturbed(build()), build()
    state = list(one.state_dict().items())
    random.Random(0).shuffle(state)
    save_file(dict(state), tmp_path / "weights.safetensors")
    report = transfer.transfer(tmp_path / "weights.safetensors", other)
    assert report.coverage == report.similarity == 1
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in state)


def test_a_file_of_modules_goes_into_functions(tmp_path: Path) -> None:
    one, other = perturbed(Modules()), Named().eval()
    save_file(one.state_dict(), tmp_path / "weights.safetensors")
    assert transfer.transfer(tmp_path / "weights.safetensors", other).coverage == 1
    x = torch.randn(IMAGE)
    torch.testing.assert_close(one(x), other(x), atol=1e-4, rtol=1e-4)


class Shared(nn.Module):
    """One weight with two biases, in place and otherwise; norms that share their scale."""

    def __init__(self) -> None:
        super().__init__()
        self.w, self.b, self.my_bias = (
            nn.Parameter(torch.randn(20, 8)),
            nn.Parameter(torch.zeros(8)),
            nn.Parameter(torch.zeros(8)),
        )
        self.v, self.c = nn.Parameter(torch.randn(5, 8)), nn.Parameter(torch.zeros(5))
        self.g = nn.Parameter(torch.ones(8))
        for name in ("m0", "m1"):
            self.register_buffer(name, torch.zeros(8))
        for name in ("s0", "s1"):
            self.register_buffer(name, torch.ones(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x @ self.w
        y = torch.tanh(y + self.b) * torch.sigmoid(y + self.my_bias)
        y = f.batch_norm(y, self.m0, self.s0, self.g) + f.batch_norm(y, self.m1, self.s1, self.g)
        return f.linear(y, self.v, self.c)


def test_no_tensor_takes_the_place_of_another_one(tmp_path: Path) -> None:
    one, other = perturbed(Shared()), Shared().eval()
    assert {t.name for t in transfer.standardize(one).tensors()} == set(one.state_dict())
    assert transfer.transfer(one, other).counts()["copied"] == len(one.state_dict())
    save_file(one.state_dict(), tmp_path / "w.safetensors")
    other = Shared()
    transfer.transfer(tmp_path / "w.safetensors", other)
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize("sizes", [(12, 12, 12), (20, 16, 5)])
def test_a_sorted_file_goes_into_the_same_code_with_other_names(sizes: tuple[int, ...], tmp_path: Path) -> None:
    class Chain(nn.Module):
        def __init__(self, matrix: str, vector: str) -> None:
            super().__init__()
            self.names = [(f"{matrix}{i}", f"{vector}{i}") for i in range(len(sizes) - 1)]
            for (w, b), n_in, n_out in zip(self.names, sizes[:-1], sizes[1:], strict=True):
                self.register_parameter(w, nn.Parameter(torch.randn(n_in, n_out)))
                self.register_parameter(b, nn.Parameter(torch.randn(n_out)))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for w, b in self.names:
                x = (x @ getattr(self, w) + getattr(self, b)).tanh()
            return x

    one, other = perturbed(Chain("w", "b")), Chain("matrix", "vector").eval()
    save_file(one.state_dict(), tmp_path / "w.safetensors")
    assert transfer.transfer(tmp_path / "w.safetensors", other).counts()["copied"] == 4
    x = torch.randn(3, sizes[0])
    torch.testing.assert_close(one(x), other(x), atol=1e-4, rtol=1e-4)


def called(network: nn.Module) -> dict[str, str]:
    """Kinds of layers by their paths."""
    return {layer.path: layer.kind for layer in transfer.standardize(network).layers()}


class Applied(nn.Module):
    """A matrix, a vector, and some function of both."""

    def __init__(self, function: Callable[..., torch.Tensor], *shape: int) -> None:
        super().__init__()
        self.w, self.p, self.v = (
            nn.Parameter(torch.randn(12, 12)),
            nn.Parameter(torch.randn(shape)),
            nn.Parameter(torch.randn(12, 5)),
        )
        self.function = function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x, self.w, self.p) @ self.v


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (lambda x, w, p: (x @ w).relu_() + p, (12,)),  # in place: what p is added to is no product any more
        (lambda x, w, p: torch.add(x @ w, p, alpha=0.5), (12,)),
        (lambda x, w, p: x @ w + p, (16, 1)),  # a number for each token
        (lambda x, w, p: (x @ w) * (x @ p)[..., None], (12,)),  # pooled by a vector
    ],
    ids=["in place", "scaled", "by token", "pooled"],
)
def test_what_is_no_bias_stays_a_parameter(function: Callable[..., torch.Tensor], shape: tuple[int, ...]) -> None:
    assert called(Applied(function, *shape))["p"] == "parameter:p"


def test_the_bias_of_a_weight_that_is_made_of_others_stays_with_it() -> None:
    made = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 4, 3)), nn.ReLU(), nn.Conv1d(4, 5, 3))
    assert "0.bias" in called(made)


def test_a_sum_of_very_many_terms_is_read() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(1200))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            a = b = x
            for _ in range(60):  # twice as many ways with each step
                a, b = b, a + b
            return reduce(torch.add, (layer(b) for layer in self.layers))

    assert transfer.standardize(Sum()).is_executed
