"""The flow of channels: what is said to belong together can be permuted together, and nothing less can."""

from __future__ import annotations

import copy
from collections.abc import Callable

import nets
import pytest
import torch
from torch import nn
from torch.nn import functional

import transfer
from transfer.tracing.flow import Flow, trace_flow
from zoo_index.catalogues.timm_catalogue import build

NETWORKS = (
    *("resnet18", "seresnet18", "densenet121", "efficientnet_b0", "ghostnet_100", "rexnet_100", "cs3darknet_s"),
    *("hgnet_tiny", "selecsls42", "hrnet_w18_small", "fasternet_t0", "res2net50_14w_8s", "dla34", "vovnet39a"),
    *("convnext_atto", "mixer_s16_224", "test_vit", "cspnext_s", "repvit_m0_9", "tresnet_m", "nf_resnet26"),
    *("efficientformer_l1", "inception_next_atto", "xception41", "mambaout_femto", "starnet_s1", "poolformer_s12"),
)


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    model = build(name, device="cpu").eval()
    with torch.no_grad():
        for key, tensor in model.state_dict(keep_vars=True).items():
            if tensor.is_floating_point() and (tensor.dim() <= 1 or tensor.std() == 0):
                tensor.add_(torch.rand(tensor.shape) * (0.5 if key.endswith("running_var") else 0.2))
    return model


def mixed(flow: Flow) -> set[int]:
    """Channels that are not free: in heads, of which a flow knows nothing."""
    return {0} | {n for row in flow.writes.values() if len(set(row)) < len(row) for n in row}


def swapped(model: nn.Module, flow: Flow, a: int, b: int) -> nn.Module:
    """Exchange two channels wherever they are read, written or worked on."""
    model = copy.deepcopy(model)
    with torch.no_grad():
        for name, tensor in model.state_dict(keep_vars=True).items():
            for rows, first in ((flow.writes, 0), (flow.along, 0), (flow.reads, 1)):
                dim = tensor.dim() - 1 if name.endswith(("token", "pos_embed")) else first
                if name in rows and tensor.dim() > dim and len(rows[name]) == tensor.shape[dim]:
                    places = torch.arange(tensor.shape[dim])
                    here = [[i for i, n in enumerate(rows[name]) if n == channel] for channel in (a, b)]
                    places[here[0] + here[1]] = torch.tensor(here[1] + here[0], dtype=torch.long)
                    tensor.copy_(tensor.index_select(dim, places))
    return model


@pytest.mark.parametrize("name", nets.every_nth_fast(NETWORKS, 2))
def test_channels_that_belong_together_can_be_exchanged_together(name: str) -> None:
    model = network(name)
    flow = trace_flow(model)
    assert flow is not None
    state = model.state_dict()
    grouped = {  # a group's channels cannot leave it
        n for key, row in flow.reads.items() if len(row) != state[key].shape[1] for n in (*row, *flow.writes[key])
    }
    barred = mixed(flow) | grouped
    pairs = {}
    for key, row in flow.writes.items():
        free = [n for n in row if n not in barred]
        if (
            len(free) >= 2
            and not key.startswith(("head", "fc", "classifier"))
            and row != list(flow.writes.values())[-1]
        ):
            pairs[free[0]] = (free[0], free[-1])
    for tensors in (flow.reads, flow.along):
        for row in tensors.values():  # as often here as there, or one could not take the other's place
            for first, (a, b) in list(pairs.items()):
                if row.count(a) != row.count(b):
                    del pairs[first]
    assert len(pairs) >= 3
    size = model.default_cfg["input_size"]
    image = torch.randn(1, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model(image)
        chosen = list(pairs.values())
        for a, b in chosen[:: max(1, len(chosen) // 4)]:
            found = swapped(model, flow, a, b)(image)
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * float(expected.abs().max()))


class Net(nn.Module):
    """Two convolutions with something between them."""

    def __init__(self, between: Callable[[torch.Tensor], torch.Tensor], n_inputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1)
        self.second = nn.Conv2d(n_inputs, 2, 1)
        self.between = between

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the second convolution makes of what lies between."""
        result: torch.Tensor = self.second(self.between(self.first(x)))
        return result


def labels(row: list[int], first: list[int]) -> str:
    """Letters of the first layer's outputs; a dot for anything else."""
    return "".join("abcd"[first.index(n)] if n in first else "." for n in row)


@pytest.mark.parametrize(
    ("between", "n_inputs", "read"),
    [
        (functional.gelu, 4, "abcd"),
        (lambda x: torch.cat([x, x.relu()], 1), 8, "abcdabcd"),
        (lambda x: x[:, 2:], 2, "cd"),
        (lambda x: x.chunk(2, 1)[1], 2, "cd"),
        (lambda x: x.flip(1), 4, "dcba"),
        (lambda x: functional.pad(x, (1, 1, 1, 1)), 4, "abcd"),
        (lambda x: functional.adaptive_avg_pool2d(x, 1), 4, "abcd"),
        (lambda x: functional.interpolate(x, scale_factor=2.0), 4, "abcd"),
        (lambda x: x.mean((2, 3), keepdim=True), 4, "abcd"),
        (lambda x: x.flatten(2).transpose(1, 2).softmax(-1).transpose(1, 2).unflatten(2, (-1, 64)), 4, "abcd"),
        (lambda x: x.unflatten(1, (2, 2)).transpose(1, 2).flatten(1, 2), 4, "acbd"),
        (lambda x: functional.pixel_unshuffle(x, 2), 16, "aaaabbbbccccdddd"),
        (lambda x: torch.cat([x[:, :2] * x[:, 2:], x[:, 2:]], 1), 4, "aaaa"),
        (lambda x: x.mean(1, keepdim=True), 1, "."),  # no channel of its own
        (lambda x: x.roll(1, 1), 4, "dabc"),
        (lambda x: x * x.mean(1, keepdim=True), 4, "abcd"),
        (lambda x: x * x[:, :1], 4, "abcd"),  # one channel meets all: a map, not a partner
        (lambda x: x[:, :3] / x[:, 3:], 3, "abc"),
        (lambda x: torch.stack([x, x], 2).flatten(1, 2), 8, "aabbccdd"),
        (lambda x: functional.max_pool2d(x, 2), 4, "abcd"),
        (lambda x: functional.max_pool2d(functional.pad(x, (1, 1, 1, 1), value=float("-inf")), 3), 4, "abcd"),
        (lambda x: functional.pad(x, (0, 0, 0, 0, 1, 0), value=1.0), 5, ".abcd"),
        (lambda x: x.new_zeros(x.shape).copy_(x), 4, "abcd"),
    ],
)
def test_what_is_read_is_told_channel_by_channel(
    between: Callable[[torch.Tensor], torch.Tensor], n_inputs: int, read: str
) -> None:
    flow = trace_flow(Net(between, n_inputs))
    assert flow is not None
    found = labels(flow.reads["second.weight"], flow.writes["first.weight"])
    if read == "aaaa":  # gate and gated are one: a with c, b with d
        assert found == "abab"
    else:
        assert found == read


def test_partners_of_an_addition_are_one() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1)
            self.scale = nn.Parameter(torch.ones(4, 1, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.a(x)
            return self.c(x + self.scale * self.b(x))  # type: ignore[no-any-return]

    flow = trace_flow(Residual())
    assert flow is not None
    assert flow.writes["a.weight"] == flow.writes["b.weight"] == flow.reads["c.weight"] == flow.along["scale"]
    assert len(set(flow.writes["a.weight"])) == 4


def test_queries_and_keys_are_told_from_values() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.qkv, self.proj = nn.Conv2d(3, 4, 8, 8), nn.Linear(4, 12), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.embed(x).flatten(2).transpose(1, 2)
            q, k, v = self.qkv(x).unflatten(-1, (2, 6)).transpose(1, 2).split(2, -1)  # head by head
            x = (q @ k.transpose(-1, -2)).softmax(-1) @ v
            return self.proj(x.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    flow = trace_flow(Attention())
    assert flow is not None
    row = flow.writes["qkv.weight"]
    assert row[0:2] == row[2:4]
    assert row[6:8] == row[8:10]
    assert len(set(row)) == 8
    assert set(row) & flow.attended == {*row[0:2], *row[6:8]}
    assert flow.reads["proj.weight"] == [*row[4:6], *row[10:12]]


def test_nothing_of_the_network_changes() -> None:
    model = build("test_resnet", device="cpu").train()
    calls = []
    model.conv1[0].register_forward_hook(lambda *_: calls.append(1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    assert trace_flow(model) is not None
    assert model.training
    assert not calls
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("error", [ValueError, SystemExit, RecursionError])
def test_a_network_that_does_not_run_has_no_flow(error: type[BaseException]) -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise error

    assert trace_flow(Broken()) is None


def test_a_reader_of_a_concatenation_keeps_what_did_not_change() -> None:
    class Twice(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.a, self.b, self.fc = nn.Conv2d(3, width, 3), nn.Conv2d(2 * width, 16, 1), nn.Linear(16, 7)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.a(x)
            return self.fc(self.b(torch.cat([x, x.relu()], 1)).mean((2, 3)))  # type: ignore[no-any-return]

    source, target = Twice(12).eval(), Twice(24).eval()
    report = transfer.transfer(source, target)
    status = {row.name: (row.status, row.operator) for row in report.tensors}
    assert status["b.weight"] == ("grown", "leading by bundle")
    assert status["b.bias"] == status["fc.weight"] == ("copied", "copy")
    image = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(target(image), source(image))


def test_a_module_that_refuses_to_be_copied_is_left_alone() -> None:
    class Frozen(nn.Conv2d):
        def __deepcopy__(self, memo: object) -> Frozen:
            return self

    net = nn.Sequential(nn.Conv2d(3, 8, 1), Frozen(8, 8, 1), nn.BatchNorm2d(8)).train()
    net[1].register_forward_hook(lambda *_: None)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    transfer.plan(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)), net)
    assert net[1].training
    assert len(net[1]._forward_hooks) == 1
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
