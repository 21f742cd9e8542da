"""A transfer says whether the target computes what its source does, and leaves both as they were."""

from __future__ import annotations

import dataclasses
import gc
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

import transfer
from transfer.errors import CoverageError, InputError
from transfer.execution import proof
from transfer.execution.proof import Function, compare, prove
from transfer.tracing.given import Example
from zoo_index.catalogues.timm_catalogue import build, build_without_weights


def perturbed(model: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator)
                tensor.mul_(1 + 0.1 * noise).add_(0.01 * noise)
    return model


class Conv(nn.Module):
    """A small classifier of images whose forward can be made to do anything."""

    def __init__(self, n_classes: int = 10, act: Callable[[Any, torch.Tensor], Any] | None = None) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2)
        self.norm = nn.BatchNorm2d(16)
        self.body = nn.Conv2d(16, 32, 3)
        self.fc = nn.Linear(32, n_classes)
        self.act = act

    def forward(self, x: torch.Tensor) -> Any:
        features = self.body(self.norm(self.stem(x)).relu()).mean((2, 3)).relu()
        logits = self.fc(features)
        return logits if self.act is None else self.act(self, logits)


def function(source: nn.Module, target: nn.Module, **options: Any) -> Function:
    found = transfer.transfer(source, target, **options).function
    assert found is not None
    return found


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


def test_resnet50_takes_at_most_five_seconds() -> None:
    source, target = torchvision.models.resnet50(), build("resnet50", device="cpu")
    transfer.transfer(source, target, verify=False)
    started = time.process_time()
    found = prove(source, target)
    assert time.process_time() - started < 5
    assert found.verdict == "equal"


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


def test_what_looks_at_values_is_run_with_them() -> None:
    class Looks(Conv):
        def forward(self, x: torch.Tensor) -> Any:
            return super().forward(x) if float(x.sum()) < 1e9 else None

    assert function(perturbed(Looks()), Looks()).verdict == "equal"


def test_networks_that_take_different_inputs_are_not_compared() -> None:
    found = prove(Conv(), nn.Sequential(nn.Linear(7, 10)))
    assert found == Function("unknown", reason=found.reason)
    assert "cannot be run on" in found.reason


def test_without_a_guess_the_reason_asks_for_an_example() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3 * 5 * 9, 8)

        def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return self.fc(batch["image"].flatten(1))

    source, target = perturbed(Odd()), Odd()
    found = function(source, target)
    assert found.verdict == "unknown"
    assert "example=, or --input" in found.reason
    found = function(source, target, example=({"image": torch.rand(2, 3, 5, 9)},))
    assert found.verdict == "equal"
    assert found.correlation == pytest.approx(1)


def test_names_of_arguments_may_differ() -> None:
    class Named(Conv):
        def forward(self, pixel_values: torch.Tensor) -> Any:
            return super().forward(pixel_values)

    found = function(perturbed(Conv()), Named(), example={"pixel_values": torch.rand(1, 3, 40, 40)})
    assert found.verdict == "equal"


def test_an_input_is_found_that_suits_both() -> None:
    torch.manual_seed(0)
    source = perturbed(build("test_vit", device="cpu"))  # takes 160 pixels, and nothing else
    assert function(source, build("test_vit", device="cpu")).verdict == "equal"
    found = prove(source, build("resnet18", device="cpu"))
    assert found.verdict == "other"
    assert found.difference is not None


def test_tokens_are_words_that_both_know() -> None:
    def network(n: int) -> nn.Module:
        return nn.Sequential(nn.Embedding(n, 16), nn.Linear(16, 16), nn.Linear(16, 9))

    torch.manual_seed(0)
    source = network(50)
    target = network(60)
    found = prove(source, target)
    assert found.verdict == "other"
    assert found.difference is not None
    assert function(source, network(50)).verdict == "equal"


def test_zero_outputs_prove_nothing() -> None:
    torch.manual_seed(0)
    source, target = Conv(), Conv()
    for model in (source, target):
        nn.init.zeros_(model.fc.weight)
        nn.init.zeros_(model.fc.bias)
    found = prove(source, target)
    assert found.verdict == "other"
    assert found.reason.startswith("the source's outputs are all zero")


class Busy(Conv):
    """Does what it should not: counts, caches, draws, prints, changes settings and buffers."""

    calls = 0

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros(1))
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor) -> Any:
        print("busy")
        self.steps += 1
        self.seen.append(x)
        type(self).calls += 1
        random.random(), np.random.rand(), torch.rand(1)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(True)
        self.stem.weight = nn.Parameter(self.stem.weight.detach() * 2)
        self.body.weight.data = self.body.weight.data * 2
        self.norm.train()
        return super().forward(x)


def test_both_networks_and_all_settings_are_left_as_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    source, target = Busy().eval(), Busy().train()
    hooked: list[str] = []
    for model in (source, target):
        model.body.eval()
        model.register_forward_hook(lambda *_: hooked.append("forward"))
        model.stem.register_forward_pre_hook(lambda *_: hooked.append("pre"))
    target.body.weight.grad = torch.ones_like(target.body.weight)
    transfer.transfer(source, target, verify=False)
    parts = [(id(p), p.data_ptr(), p.clone()) for model in (source, target) for p in model.parameters()]
    modes = [part.training for model in (source, target) for part in model.modules()]
    draws = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    found = prove(source, target)
    assert found.verdict == "equal"
    assert hooked == []
    assert capsys.readouterr().out == ""
    now = [p for model in (source, target) for p in model.parameters()]
    for parameter, (key, place, value) in zip(now, parts, strict=True):
        assert (id(parameter), parameter.data_ptr()) == (key, place)
        assert torch.equal(parameter, value)
        assert parameter.requires_grad
    assert [part.training for model in (source, target) for part in model.modules()] == modes
    assert target.body.weight.grad is not None
    assert float(source.steps + target.steps) == 0
    assert source.seen == target.seen == []
    assert Busy.calls == 0
    assert torch.equal(torch.get_rng_state(), draws[0])
    assert random.getstate() == draws[1]
    assert np.array_equal(np.random.get_state()[1], draws[2])
    assert torch.get_default_dtype() == torch.float32
    with torch.no_grad():
        target(torch.rand(1, 3, 9, 9))
    torch.set_default_dtype(torch.float32)
    assert hooked == ["pre", "forward"]


def test_a_wrapped_network_is_run_as_it_is() -> None:
    torch.manual_seed(0)
    source, target = perturbed(Conv()), Conv()
    assert function(nn.DataParallel(source), target).verdict == "equal"
    assert function(source, nn.DataParallel(target)).verdict == "equal"


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_networks_of_other_types_are_run_in_them(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    found = function(perturbed(Conv(40)), Conv(40).to(dtype))
    assert found.verdict == ("equal" if dtype == torch.float64 else "near")


def test_what_would_take_long_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "_MOST_OPERATIONS", {"cpu": 1e5, "cuda": 1e5})
    source = Conv()
    found = function(source, Conv())
    assert found.verdict == "unknown"
    assert "more than 4e+05 operations" in found.reason
    assert compare(source, source, Example((torch.rand(1, 3, 20, 20),), {})).verdict == "equal"


def test_compare_runs_on_the_example_it_is_given() -> None:
    seen = []

    class Watching(Conv):
        def forward(self, x: torch.Tensor) -> Any:
            seen.append(tuple(x.shape))
            return super().forward(x)

    torch.manual_seed(0)
    model = Watching(40)
    found = compare(model, model, Example((torch.rand(2, 3, 20, 30),), {}))
    assert found.verdict == "equal"
    assert set(seen) == {(2, 3, 20, 30)}
    assert compare(model, model, Example((torch.rand(2, 4),), {})).verdict == "unknown"


class Tables(Conv):
    """Has a table that its weights do not hold."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("order", torch.arange(32).flip(0), persistent=False)
        self.fc = nn.Linear(32, 40)

    def forward(self, x: torch.Tensor) -> Any:
        return self.fc(self.body(self.norm(self.stem(x)).relu()).mean((2, 3))[:, self.order])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_file_is_run_where_its_module_is_known(tmp_path: Path, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    source = perturbed(Tables())
    path = tmp_path / "model.safetensors"
    state = source.state_dict()
    save_file({name: x.to(dtype) if x.is_floating_point() else x for name, x in state.items()}, path)
    with torch.device("meta"):
        structure = Tables()
    target = Tables()
    found = transfer.transfer(path, target, source_structure=Tables()).function
    assert found is not None
    assert (found.verdict, found.reason) == ("equal", "")
    found = transfer.transfer(path, Tables(), source_structure=structure).function
    assert found is not None
    assert found.verdict == "unknown"
    assert "no values for 'order'" in found.reason
    found = transfer.transfer(path, Tables()).function
    assert found is not None
    assert found.verdict == "equal"
    assert "in the target's own code" in found.reason
    renamed = {f"net.{name}": tensor for name, tensor in source.state_dict().items()}
    found = transfer.transfer(renamed, target).function
    assert found is not None
    assert found.verdict == "unknown"
    assert "without a module" in found.reason


def test_running_a_file_takes_no_copy_of_it(tmp_path: Path) -> None:
    source = Conv()
    path = tmp_path / "model.safetensors"
    save_file(source.state_dict(), path)
    target = Conv()
    transfer.transfer(path, target)
    gc.collect()
    path.unlink()
    with torch.no_grad():  # the file is no longer in use, the target is its own
        target(torch.rand(1, 3, 20, 20))


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


def test_networks_of_the_zoo_are_built_with_their_tables_and_without_weights() -> None:
    for name in ("swin_tiny_patch4_window7_224", "test_vit", "eva02_tiny_patch14_224"):
        network = build_without_weights(name)
        assert all(parameter.is_meta for parameter in network.parameters())
        real = build(name, device="cpu")
        saved = network.state_dict(keep_vars=True)
        assert {k: v.shape for k, v in saved.items()} == {k: v.shape for k, v in real.state_dict().items()}
        wanted = dict(real.named_buffers())
        for key, buffer in network.named_buffers():
            if key not in saved:
                assert torch.equal(buffer, wanted[key]), key
    assert not any(p.is_meta for p in nn.Linear(2, 2).parameters())


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
