"""Inputs that users give for their networks, and guesses where they give none."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

import transfer
from transfer.errors import InputError
from transfer.tracing import copies, inputs
from transfer.tracing.flow import trace_flow
from transfer.tracing.given import give_example, given_example
from transfer.tracing.inputs import network_examples, runnable
from transfer.tracing.outputs import main_output, named_outputs


class Odd(nn.Module):
    """Takes nothing that anybody would guess: images of 17 by 40 pixels."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Conv2d(width, width, 3, padding=1)
        self.fc = nn.Linear(width * 17 * 40, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[2:] == (17, 40), f"an image of 17x40 is needed, not {tuple(x.shape[2:])}"
        return self.fc(self.body(self.stem(x).relu()).flatten(1))


class Pair(nn.Module):
    """Compares two images, the second by keyword only, and returns a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.fc = nn.Linear(6, 4)

    def forward(self, left: torch.Tensor, *, right: torch.Tensor) -> dict[str, torch.Tensor]:
        one, other = (self.fc(self.conv(x).mean((2, 3))) for x in (left, right))
        return {"distance": (one - other).square().sum(1), "embeddings": one}


class Towers(nn.Module):
    """Has a tower for texts and one for images; every argument has a default that will not do."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.text = nn.Embedding(30, 8), nn.Linear(8, 4)
        self.conv, self.image = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

    def forward(self, input_ids: Any = None, pixel_values: Any = None, attention_mask: Any = None) -> torch.Tensor:
        text = self.text(self.words(input_ids).mean(1))
        return text @ self.image(self.conv(pixel_values).mean((2, 3))).T


class Result(NamedTuple):
    hidden: torch.Tensor
    logits: torch.Tensor


@pytest.mark.parametrize(
    "example",
    [
        torch.rand(2, 3, 17, 40),
        (torch.rand(1, 3, 17, 40),),
        {"x": torch.rand(1, 3, 17, 40)},
        "3x17x40",
        " 3X17X40 ",
    ],
    ids=["tensor", "tuple", "dict", "sizes", "spaces"],
)
def test_a_network_runs_on_what_was_given_for_it(example: object) -> None:
    model = Odd()
    assert runnable(model) is None
    assert trace_flow(model) is None
    give_example(model, example)
    found = runnable(model)
    assert found is not None
    copy, inner = found
    assert all(tensor.is_meta for tensor in (*copy.parameters(), *inner.tensors()))
    assert inner(copy).shape[1:] == (5,)
    flow = trace_flow(model)
    assert flow is not None
    assert flow.writes["stem.weight"] == flow.reads["body.weight"]
    with torch.no_grad():
        assert [tuple(x(model).shape[1:]) for x in network_examples(model)] == [(5,)]


def test_what_is_given_comes_before_guesses_and_keeps_its_values() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1))
    assert runnable(model)[1].described() == "1x3x64x64"  # type: ignore[index]
    image = torch.rand(1, 3, 20, 24, dtype=torch.float64)
    give_example(model, image)
    assert runnable(model)[1].described() == "1x3x20x24"  # type: ignore[index]
    (found,) = network_examples(model)
    torch.testing.assert_close(found.tensors()[0], image.float())


def test_sizes_may_be_those_of_tokens() -> None:
    model = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 3))
    give_example(model, "7")
    example = given_example(model)
    assert example is not None
    assert example.tensors()[0].dtype == torch.long
    assert example.described() == "1x7"


@pytest.mark.parametrize(
    ("example", "said"),
    [
        ([torch.rand(1, 3, 17, 40)], "got list"),
        (3, "got int"),
        (Result(torch.rand(1), torch.rand(1)), "got Result"),
        ({1: torch.rand(1)}, "not names"),
        (torch.rand(1, 3, 64, 64), "1x3x64x64"),
        (torch.rand(3, 17), "3x17"),
        ((torch.rand(1, 3, 17, 40), torch.rand(2)), "1x3x17x40, 2"),
        ({"y": torch.rand(1, 3, 17, 40)}, "unexpected keyword"),
        ((), "missing 1 required"),
        ("3x64x64", "1x3x64x64"),
        ("", "''"),
        ("3x-1x4", "'3x-1x4'"),
        ("3x0x4", "'3x0x4'"),
        ("3*64", "'3*64'"),
        ("3x99999999999999999999", "'3x9999"),
        ("1x" * 20 + "1", "sizes of an input"),
    ],
)
def test_a_bad_example_is_refused_with_what_to_do(example: object, said: str) -> None:
    source, target = Odd(), Odd()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(InputError, match=r"^expected .*give a tensor for model\(x\), a tuple") as caught:
        transfer.transfer(source, target, example=example)
    assert said in str(caught.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())
    assert given_example(target) is None


class Looks(nn.Module):
    """Prepares its input in a way that needs values; what is registered first runs last but one."""

    def __init__(self, prepare: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.late, self.early, self.fc = nn.Conv2d(4, 8, 3), nn.Conv2d(3, 4, 3), nn.Linear(8, 5)
        self.prepare = prepare

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.fc(self.late(self.early(self.prepare(x)).relu()).mean((2, 3)))
        return result


def in_range(x: torch.Tensor) -> torch.Tensor:
    if x.max() > 10 or torch.isnan(x).any():
        raise ValueError("expected an image")
    return x


def in_its_own_precision(x: torch.Tensor) -> torch.Tensor:
    with torch.autocast(device_type=x.device.type, dtype=torch.bfloat16, enabled=False):
        return x * 1


def without_empty_ones(x: torch.Tensor) -> torch.Tensor:
    return x[x.abs().sum((1, 2, 3)).nonzero()[:, 0]]


LOOKING = [
    in_range,
    in_its_own_precision,
    without_empty_ones,
    lambda x: x / max(x.abs().max().item(), 1.0),
    lambda x: x + torch.from_numpy(x.detach().numpy().mean(keepdims=True)),
]


@pytest.mark.parametrize("prepare", LOOKING)
@pytest.mark.parametrize("example", [None, torch.rand(1, 3, 20, 24), "3x20x24"], ids=["guess", "tensor", "sizes"])
def test_what_looks_at_values_is_run_with_some(
    prepare: Callable[[torch.Tensor], torch.Tensor], example: object
) -> None:
    model = Looks(prepare)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    if example is not None:
        assert transfer.standardize(model).is_executed  # on a guess
        give_example(model, example)
    architecture = transfer.standardize(model)
    assert [layer.path for layer in architecture.layers()] == ["early", "late", "fc"]
    found = runnable(model)
    assert found is not None
    assert [x.shape[-2:] for x in found[1].tensors()] == [(64, 64) if example is None else (20, 24)]
    flow = trace_flow(model)
    assert flow is not None
    assert flow.writes["early.weight"] == flow.reads["late.weight"]
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_what_is_too_large_to_copy_takes_its_example_on_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_MOST_ELEMENTS", 10)
    model = Looks(in_range)
    give_example(model, torch.rand(1, 3, 20, 24))
    assert given_example(model) is not None
    assert runnable(model) is None
    assert not transfer.standardize(model).is_executed


def test_what_a_network_makes_by_itself_may_lie_anywhere() -> None:
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places, self.fc = nn.Embedding(9, 4), nn.Embedding(32, 4), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fc(self.words(x) + self.places(torch.arange(x.shape[1])))  # no device: CPU

    model = Positions()
    flow = trace_flow(model)
    assert flow is not None
    assert flow.along["words.weight"] == flow.along["places.weight"] == flow.reads["fc.weight"]
    assert len(list(network_examples(model))) == 1
    give_example(model, torch.zeros(1, 5, dtype=torch.long))
    assert trace_flow(model) == flow
    with pytest.raises(InputError, match="expected an input that Positions takes"):
        give_example(model, torch.rand(3))


def test_an_example_needs_a_module() -> None:
    header = {"fc.weight": (3, 3)}
    with pytest.raises(InputError, match="expected a module as target of an example input, got dict"):
        transfer.plan(header, header, example="3")


def test_examples_go_with_their_networks_and_are_tried_on_sources() -> None:
    source, target = Odd(), Odd(12)
    planned = transfer.plan(source, target, example="3x17x40")
    assert given_example(source) is not None
    assert planned.coverage > 0.6
    gone = weakref.ref(target)
    del target, planned
    gc.collect()
    assert gone() is None


def test_with_an_example_a_wider_network_computes_what_its_source_does() -> None:
    torch.manual_seed(0)
    source, target = Odd(), Odd(12)
    image = torch.rand(2, 3, 17, 40)
    transfer.transfer(source, target, example=image)
    with torch.no_grad():
        torch.testing.assert_close(target(image), source(image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", [Pair, Towers])
def test_several_inputs_are_guessed(network: Callable[[], nn.Module]) -> None:
    model = network()
    found = runnable(model)
    assert found is not None
    flow = trace_flow(model)
    assert flow is not None
    assert flow.reads["conv.weight"]


def test_outputs_are_found_by_name() -> None:
    hidden, logits = torch.rand(1, 4), torch.rand(1, 3)
    assert main_output(Result(hidden, logits)) is logits
    assert main_output((hidden, logits)) is hidden
    assert main_output({"out": logits, "aux": hidden}) is logits
    assert main_output([torch.arange(3), {"a": (hidden,)}]) is hidden
    assert main_output(None) is None
    assert list(named_outputs([torch.arange(3), {"a": (hidden,), "b": logits}])) == ["1.a.0", "1.b"]


def test_a_given_example_that_is_looked_at_comes_before_guesses() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.mix, self.fc = nn.Conv2d(3, 4, 3), nn.Conv2d(1, 4, 3), nn.Linear(4, 5)

        def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
            x = self.conv(x)
            if mask is not None:
                if not mask.any():
                    raise ValueError("expected a mask")
                x = x * self.mix(mask)
            result: torch.Tensor = self.fc(x.mean((2, 3)))
            return result

    model = Masked()
    give_example(model, (torch.rand(1, 3, 20, 24), torch.ones(1, 1, 20, 24)))
    found = runnable(model)
    assert found is not None
    assert [tuple(x.shape[-2:]) for x in found[1].tensors()] == [(20, 24), (20, 24)]
    assert [layer.path for layer in transfer.standardize(model).layers()] == ["conv", "mix", "fc"]


def test_what_looks_at_values_is_not_run_if_that_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "_MOST_PRODUCTS", 1000)
    assert runnable(Looks(in_range)) is None
    assert runnable(Looks(lambda x: x)) is not None
