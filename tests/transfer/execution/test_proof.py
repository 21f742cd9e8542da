"""A transfer says whether the target computes what its source does."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from proofs import Conv, function, perturbed
from torch import nn

import transfer
from transfer.errors import CoverageError, InputError
from transfer.execution.proof import prove
from zoo_index.catalogues.timm_catalogue import build


def test_the_same_network_in_the_code_of_two_libraries_is_equal() -> None:
    torch.manual_seed(0)
    found = function(perturbed(torchvision.models.resnet18()), build("resnet18", device="cpu"))
    assert found.verdict == "equal"
    assert found.difference is not None
    assert found.difference < 1e-5
    assert found.reason == ""


def test_a_larger_network_that_computes_the_same_is_equal() -> None:
    torch.manual_seed(0)
    assert function(perturbed(build("resnet18", device="cpu")), build("resnet34", device="cpu")).verdict == "equal"


@pytest.mark.parametrize(("noise", "verdict"), [(0.0, "equal"), (1e-6, "equal"), (0.02, "near"), (2.0, "other")])
def test_the_verdict_follows_the_weights(noise: float, verdict: str) -> None:
    torch.manual_seed(0)
    source, target = perturbed(Conv(40)), Conv(40)
    target.load_state_dict(source.state_dict())
    with torch.no_grad():
        for tensor in target.parameters():
            tensor.add_(noise * tensor.std() * torch.randn(tensor.shape))
    found = prove(source, target)
    assert found.verdict == verdict
    assert found.difference is not None
    assert found.correlation is not None
    assert (found.difference <= 1e-4) == (verdict == "equal")
    assert (found.correlation >= 0.9) == (verdict != "other")


def test_outputs_that_agree_whatever_the_input_do_not_count_as_near() -> None:
    torch.manual_seed(0)
    source, target = Conv(40), Conv(40)
    with torch.no_grad():
        bias = 10 * torch.randn(40)
        source.fc.bias.copy_(bias)
        target.fc.bias.copy_(bias)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        outputs = torch.cat([source.eval()(image), target.eval()(image)])
    assert torch.corrcoef(outputs)[0, 1] > 0.99
    assert prove(source, target).verdict == "other"


def test_of_other_classes_what_the_last_layers_read_is_compared() -> None:
    torch.manual_seed(0)
    source, target = perturbed(Conv(40)), Conv(7)
    found = function(source, target)
    assert found.verdict == "equal"
    assert "outputs are of other sizes: 1x40 and 1x7" in found.reason
    assert "what the last layers read" in found.reason
    with torch.no_grad():
        target.stem.weight.add_(torch.randn(target.stem.weight.shape))
    assert prove(source, target).verdict == "other"


def test_of_other_classes_and_widths_nothing_can_be_compared() -> None:
    found = prove(nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 5)), nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 3)))
    assert found.verdict == "unknown"
    assert found.reason == (
        "outputs are of other sizes: 1x5 and 1x3; what the last layers read cannot be compared either"
    )


def test_a_head_that_was_left_is_told_from_a_body_that_differs() -> None:
    torch.manual_seed(0)
    found = function(perturbed(Conv(40)), Conv(40), options=transfer.Options(head=False))
    assert found.verdict == "other"
    assert found.reason == "what the last layer reads is equal"


@dataclasses.dataclass
class Output:
    loss: torch.Tensor | None
    hidden: torch.Tensor
    logits: torch.Tensor


def logits_last(module: Any, logits: torch.Tensor) -> Output:
    return Output(None, logits.repeat(1, 3), logits)


@pytest.mark.parametrize(
    "act",
    [
        logits_last,
        lambda _, x: (x, x.exp()),
        lambda _, x: {"aux": x.square()[:, :3], "out": x},
        lambda _, x: [x[:, :, None, None], None, 3],
    ],
    ids=["dataclass", "tuple", "dict", "list"],
)
def test_what_is_wrapped_is_compared_with_what_is_not(act: Callable[[Any, torch.Tensor], Any]) -> None:
    torch.manual_seed(0)
    for source, target in ((perturbed(Conv(12, act)), Conv(12)), (perturbed(Conv(12)), Conv(12, act))):
        assert function(source, target).verdict == "equal"


def test_all_outputs_are_compared_where_both_have_them() -> None:
    torch.manual_seed(0)
    source = perturbed(Conv(12, lambda _, x: (x, x + 1)))
    assert function(source, Conv(12, lambda _, x: (x, x + 1))).verdict == "equal"
    assert function(source, Conv(12, lambda _, x: (x, x - 1))).verdict != "equal"


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda *_: None, "returns no tensor of numbers"),
        (lambda *_: 1 / 0, "ZeroDivisionError"),
        (lambda *_: exit(3), "exit(3)"),
        (lambda _, x: x / 0, "NaN or infinity"),
        (lambda module, x: module.fc.weight.zero_() and x, "writes into its parameters"),
        (lambda module, x: module.stem.weight.data.mul_(2).sum() + x, "writes into its parameters"),
    ],
)
def test_what_cannot_be_compared_is_unknown_with_the_reason(act: Any, said: str) -> None:
    class Broken(Conv):
        def forward(self, x: torch.Tensor) -> Any:
            return act(self, self.fc(x.mean((2, 3))[:, :1].expand(1, 32)))

    torch.manual_seed(0)
    source, target = Conv(), Broken()
    before = {name: tensor.clone() for name, tensor in source.state_dict().items()}
    found = function(source, target)
    assert found.verdict in ("other", "unknown")
    assert (found.difference is None) == ("NaN" in said or found.verdict == "unknown")
    assert said in found.reason
    assert all(torch.equal(tensor, before[name]) for name, tensor in source.state_dict().items())
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())


def test_zero_outputs_prove_nothing() -> None:
    torch.manual_seed(0)
    source, target = Conv(), Conv()
    for model in (source, target):
        nn.init.zeros_(model.fc.weight)
        nn.init.zeros_(model.fc.bias)
    found = prove(source, target)
    assert found.verdict == "other"
    assert found.reason.startswith("the source's outputs are all zero")


def test_the_published_method_is_judged_too_and_changes_nothing_else() -> None:
    torch.manual_seed(0)
    source = perturbed(Conv())
    torch.manual_seed(1)
    one, other = Conv(), Conv()
    other.load_state_dict(one.state_dict())
    report = transfer.transfer(source, one, method="paper")
    plain = transfer.transfer(source, other, method="paper", verify=False)
    assert report.function is not None
    assert report.function.verdict in ("near", "other")  # it leaves statistics as they are
    assert plain.function is None
    assert report.tensors == plain.tensors
    state = other.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in one.state_dict().items())


def test_the_report_is_json() -> None:
    report = transfer.transfer(Conv(), Conv())
    found = json.loads(json.dumps(report.to_json(), allow_nan=False))["function"]
    assert found.keys() == {"verdict", "difference", "correlation", "reason"}
    assert found["verdict"] == "equal"
    assert transfer.transfer(Conv(), Conv(), verify=False).to_json()["function"] is None


def test_a_transfer_that_fills_too_little_writes_nothing() -> None:
    torch.manual_seed(0)
    source, target = Conv(), Conv(7)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    covered = transfer.plan(source, target).coverage
    assert covered < 1
    with pytest.raises(CoverageError, match="expected to fill at least 100% of the target, 'Conv' fills"):
        transfer.transfer(source, target, min_coverage=1.0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())
    assert transfer.transfer(source, target, min_coverage=covered).coverage == covered


@pytest.mark.parametrize("least", [-0.1, 1.1, float("nan"), float("inf"), "0.9", None, True])
def test_a_least_coverage_is_a_share(least: Any) -> None:
    with pytest.raises(InputError, match="expected a least coverage from 0 to 1"):
        transfer.transfer(Conv(), Conv(), min_coverage=least)


def test_outputs_of_another_scale_are_not_near() -> None:
    torch.manual_seed(0)
    source, target = Conv(40), Conv(40)
    target.load_state_dict(source.state_dict())
    with torch.no_grad():
        target.fc.weight.mul_(3)
        target.fc.bias.mul_(3)
    found = prove(source, target)
    assert found.verdict == "other"
    assert found.correlation == pytest.approx(1)
