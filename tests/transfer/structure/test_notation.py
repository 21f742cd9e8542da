"""Architectures survive as JSON, field by field, whatever networks they are of."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from functools import cache
from typing import Any

import nets
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from transfer.planning.comparing import similarity
from transfer.structure.notation import from_values, to_values
from transfer.structure.records import PLACEHOLDER, Architecture, Block, Form, Item, Layer, Tensor
from transfer.structure.standardization import standardize
from transfer.wiring import Branch, Wiring
from zoo_index.catalogues import timm_catalogue

TIMM = ("test_vit", "test_vit3", "test_resnet", "test_efficientnet", "test_convnext", "test_nfnet", "test_mambaout")


def revived(architecture: Architecture) -> Architecture:
    return from_values(json.loads(json.dumps(to_values(architecture), allow_nan=False)))


def layer_fields(layer: Layer) -> list[Any]:
    """Every field, those that `==` passes over included."""
    tensors = [tuple(getattr(tensor, field.name) for field in fields(tensor)) for tensor in layer.tensors]
    return [tensors, *(getattr(layer, field.name) for field in fields(layer))]


def assert_same(found: Architecture, wanted: Architecture) -> None:
    assert found == wanted
    assert (found.form, found.is_executed, found.fingerprint) == (
        wanted.form,
        wanted.is_executed,
        wanted.fingerprint,
    )
    assert [isinstance(item, Block) for item in found.items] == [isinstance(item, Block) for item in wanted.items]
    assert [layer_fields(layer) for layer in found.layers()] == [layer_fields(layer) for layer in wanted.layers()]


@cache
def built(name: str) -> torch.nn.Module:
    if name in TIMM:
        return timm_catalogue.build(name, device="meta")
    module: torch.nn.Module = getattr(nets, name)()
    return module


@settings(max_examples=24)
@given(st.sampled_from((*TIMM, "TiedHead", "IndexBuffer", "AllKinds")), st.sampled_from(("paper", "dpiat")))
def test_built_networks(name: str, form: Form) -> None:
    architecture = standardize(built(name), method=form)
    found = revived(architecture)
    assert_same(found, architecture)
    if form == "dpiat" and name in TIMM:
        assert architecture.is_executed
        assert any(layer.facts for layer in found.layers())
        assert any(layer.wiring for layer in found.layers())
    assert similarity(found, architecture, measure=form) == similarity(architecture, architecture, measure=form)


texts = st.text(max_size=6)
counts = st.integers(0, 2**62)
sizes = st.lists(counts, max_size=4).map(tuple)
tensors = st.builds(Tensor, texts, sizes, texts, texts, st.booleans())
branches = st.lists(st.builds(Branch, counts, counts, st.booleans()), max_size=2).map(tuple)
layers = st.builds(
    Layer,
    texts,
    st.lists(tensors, max_size=3).map(tuple),
    texts,
    counts,
    counts,
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
    sizes,
    st.none() | st.builds(Wiring, texts, texts, branches, branches),
    st.booleans(),
).map(lambda layer: layer if layer.tensors else replace(layer, kind=PLACEHOLDER))
items: st.SearchStrategy[Item] = layers | st.lists(layers, max_size=3).map(lambda some: Block(tuple(some)))


@given(
    st.builds(
        Architecture, st.sampled_from(("paper", "dpiat")), st.lists(items, max_size=4).map(tuple), st.booleans()
    )
)
def test_any_architecture(architecture: Architecture) -> None:
    assert_same(revived(architecture), architecture)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def places(values: Any) -> list[tuple[Any, Any]]:
    """Every container and key in JSON values."""
    keys = list(values) if isinstance(values, dict) else range(len(values)) if isinstance(values, list) else ()
    return [place for key in keys for place in ((values, key), *places(values[key]))]


@given(st.data())
def test_whatever_else_is_refused_in_one_way(data: st.DataObject) -> None:
    """One value is replaced: what comes out is an architecture or a ValueError, nothing else."""
    wiring = Wiring("a", "b", (Branch(1, 2),), (Branch(1, 2, True),))
    layer = Layer("conv", (Tensor("weight", (2, 3), "a.weight"),), "a", 1, 1, True, 0.5, "relu", (2,), wiring, True)
    values = to_values(Architecture("dpiat", (layer, Block((layer,)))))
    container, key = data.draw(st.sampled_from(places(values)))
    container[key] = data.draw(json_values)
    try:
        assert isinstance(from_values(values), Architecture)
    except ValueError as error:
        message = str(error)
        assert message.startswith("expected ")


@pytest.mark.parametrize("values", [None, [], {}, "x", {"form": "dpiat", "items": [], "is_executed": 1}])
def test_no_architecture(values: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        from_values(values)


@pytest.mark.parametrize(
    ("kind", "tensors"),
    [
        ("conv2d", []),
        ("linear", [["weight", [4], "w", "", False]]),
        ("norm", [["weight", [], "w", "", False]]),
        ("linear", [["weight", [4, -4], "w", "", False]]),
        ("linear", [["weight", [4, 2**63], "w", "", False]]),
        ("linear", [["weight", [1] * 65, "w", "", False]]),
    ],
)
def test_layers_that_no_network_has_are_refused(kind: str, tensors: list[Any]) -> None:
    with pytest.raises(ValueError, match=r"^expected "):
        from_values({"form": "dpiat", "is_executed": False, "items": [{"kind": kind, "tensors": tensors}]})
