"""Laws over every architecture of timm, pretrained or not; slow, run by ``make sweep``."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any

import pytest
import torch
from test_laws import check_plan, have_equal_bits
from torch import nn

import transfer
from transfer.planning.planned import PlannedTensor
from transfer.structure.behaviour import facts_of
from transfer.structure.headers import header_of
from zoo_index import open_zoo
from zoo_index.catalogues.timm_catalogue import build
from zoo_index.zoo.zoo import Zoo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

PARTS = range(32)
N_PAIRS = 416
MAX_FILLED = 300e6
"""Networks with more parameters are compared by their plans alone."""

RAMP = torch.arange(1_000_003, dtype=torch.float32)


@cache
def names() -> list[str]:
    import timm

    return list(timm.list_models())


def pairs() -> list[tuple[str, str]]:
    """Draw pairs of source and target, the same ones at every run."""
    chosen = random.Random(0)
    return [(chosen.choice(names()), chosen.choice(names())) for _ in range(N_PAIRS)]


def n_parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def filled(model: nn.Module) -> nn.Module:
    """Give a network on the meta device values on the CPU, no two tensors and no two rows of a tensor alike."""
    model.to_empty(device="cpu")
    for i, tensor in enumerate(model.state_dict().values()):
        flat = tensor.view(-1)
        for part in flat.split(len(RAMP)):
            part.copy_(RAMP[: len(part)])
        flat[:1] = i
    return model


def blank(model: nn.Module) -> nn.Module:
    """Give a network on the meta device values on the CPU that `filled` does not give."""
    model.to_empty(device="cpu")
    for tensor in model.state_dict().values():
        tensor.fill_(-1)
    return model


@pytest.mark.parametrize("part", PARTS)
def test_a_twin_becomes_bit_identical(part: int) -> None:
    for name in names()[part :: len(PARTS)]:
        source, twin = build(name), build(name)
        if n_parameters(source) > MAX_FILLED:
            continue
        report = transfer.transfer(filled(source), blank(twin), verify=False)
        assert {row.status for row in report.tensors} == {"copied"}, name
        assert [row.name for row in report.tensors] == list(twin.state_dict()), name
        assert report.coverage == report.similarity == 1, name
        found = twin.state_dict()
        for key, tensor in source.state_dict().items():
            assert have_equal_bits(found[key], tensor), (name, key)


@pytest.mark.parametrize("part", PARTS)
def test_every_architecture_is_its_own_best_source(part: int) -> None:
    for name in names()[part :: len(PARTS)]:
        model = build(name)
        plan = transfer.plan(model, model)
        state = model.state_dict(keep_vars=True)
        tied = {row.name for row in plan.tensors if row.tied_to and state[row.name] is state[row.tied_to]}
        wrong = [row for row in plan.tensors if row.name not in tied and not is_identity_copy(row)]
        assert wrong == [], name
        check_plan(plan, header_of(model), header_of(model))
        assert plan.similarity == pytest.approx(1, abs=1e-12), name
        paper = transfer.match(model, model, method="paper")
        assert paper.value == pytest.approx(paper.target.n_scoring, rel=1e-12), name
        header = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
        rows = transfer.plan(header, model).tensors  # in the order of registration, and of execution
        assert [row for row in rows if row.name not in tied and not is_identity_copy(row)] == [], name


def is_identity_copy(row: PlannedTensor) -> bool:
    """Whether a row copies the tensor of its own name, whole and as it is."""
    zeros = (0,) * len(row.shape)
    boxes = [(region.source_start, region.target_start, region.size) for region in row.regions]
    return (
        (row.status, row.source, row.source_shape) == ("copied", row.name, row.shape)
        and boxes == [(zeros, zeros, row.shape)]
        and (row.constants, row.transform, row.regions[0].scale) == ((), None, 1)
    )


@pytest.mark.parametrize("part", PARTS)
def test_names_do_not_matter(part: int) -> None:
    for i in range(part, len(names()), len(PARTS)):
        source, target = (build(name).state_dict() for name in (names()[i - 1], names()[i]))
        rename = renaming()
        plan = transfer.plan(source, target)
        renamed = transfer.plan(
            {rename(k): v for k, v in source.items()}, {rename(k): v for k, v in target.items()}
        )
        expected = [with_names(row, rename) for row in plan.tensors]
        assert expected == [with_names(row, str) for row in renamed.tensors], names()[i]


def renaming() -> Callable[[str], str]:
    """Return a function that gives every component of a path but the last a number."""
    numbers: dict[str, str] = {}

    def rename(key: str) -> str:
        *parts, role = key.split(".")
        return ".".join([*(numbers.setdefault(part, f"n{len(numbers)}") for part in parts), role])

    return rename


def with_names(row: PlannedTensor, rename: Callable[[str], str]) -> PlannedTensor:
    regions = tuple(replace(region, tensor=rename(region.tensor)) for region in row.regions)
    source = None if row.source is None else rename(row.source)
    limit = rename(row.no_larger_than) if row.no_larger_than else ""
    named = replace(row, name=rename(row.name), source=source, regions=regions, no_larger_than=limit)
    if row.folding is None:
        return named
    return replace(named, folding=_with_names(row.folding, rename), reason="")  # that is told with names


def _with_names(value: Any, rename: Callable[[str], str]) -> Any:
    """Rename tensors wherever they stand in a record of records."""
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _with_names(getattr(value, f.name), rename) for f in fields(value)})
    return rename(value) if isinstance(value, str) and value else value


@pytest.mark.parametrize("part", PARTS)
def test_plans_between_architectures_are_lawful(part: int) -> None:
    for source, target in pairs()[part :: len(PARTS)]:
        a, b = build(source), build(target)
        check_plan(transfer.plan(a, b), header_of(a), header_of(b))


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    """Open the index that ships with the project."""
    path = tmp_path_factory.mktemp("index") / "zoo.db"
    zoo = open_zoo(path)
    zoo.ensure()
    return zoo


@pytest.mark.parametrize("part", PARTS)
def test_every_pretrained_architecture_finds_itself(part: int, zoo: Zoo) -> None:
    """By its name itself; as a module, itself or one that computes the same."""
    known = sorted({entry["architecture"] for entry in zoo.entries() if entry["catalogue"] == "timm"})
    for name in known[part :: len(PARTS)]:
        assert zoo.recommend(name, k=1).results[0].architecture == name, name
        model = build(name)
        found = zoo.recommend(model, k=1).results[0].architecture
        ours, theirs = transfer.standardize(model), transfer.standardize(build(found))
        assert found == name or (ours.is_like(theirs) and facts_of(ours) == facts_of(theirs)), (name, found)
