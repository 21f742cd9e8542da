"""How networks are run for a proof: on which input, from where, and left as they were."""

from __future__ import annotations

import gc
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from proofs import Conv, function, perturbed
from safetensors.torch import save_file
from torch import nn

import transfer
from transfer.execution import proof
from transfer.execution.proof import Function, compare, prove
from transfer.tracing.given import Example
from zoo_index.catalogues.timm_catalogue import build, build_without_weights


def test_resnet50_takes_at_most_five_seconds() -> None:
    source, target = torchvision.models.resnet50(), build("resnet50", device="cpu")
    transfer.transfer(source, target, verify=False)
    started = time.process_time()
    found = prove(source, target)
    assert time.process_time() - started < 5
    assert found.verdict == "equal"


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
