"""What a picture of a plan is drawn from."""

from __future__ import annotations

import json

import pytest
from torch import nn

import transfer
from transfer.planning.outline import outline, outlined


class Encoder(nn.Sequential):
    def __init__(self, width: int = 8) -> None:
        super().__init__(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3))


class Both(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16), nn.Linear(16, 4))


@pytest.mark.parametrize("method", ["dpiat", "paper"])
def test_every_pair_of_a_plan_is_found_again(method: str) -> None:
    plan = transfer.plan(Encoder(), Encoder(12), method=method)
    drawn = json.loads(json.dumps(outlined(plan, "small")))["outline"]
    ours, theirs = (
        [layer for block in blocks for layer in block]
        for blocks in (drawn["sources"][0]["blocks"], drawn["target"])
    )
    found = [(ours[a][0], theirs[b][0], score) for i, a, b, score in drawn["pairs"] if i == 0]
    assert found == [(pair.source.path, pair.target.path, pair.score) for pair in plan.alignment.pairs]
    assert found
    listed = {name: tuple(shape) for layer in theirs for name, shape in layer[2]}
    assert listed.items() <= {row.name: row.shape for row in plan.tensors}.items()
    if method == "dpiat":
        assert set(listed) == {row.name for row in plan.tensors}


def test_several_sources_are_drawn_with_the_whole_target() -> None:
    target = Both()
    plan = transfer.plan([Encoder(), target.decoder], Both(), source_names=["left", "right"])
    drawn = outlined(plan, "")["outline"]
    assert [source["name"] for source in drawn["sources"]] == ["left", "right"]
    assert {name for block in drawn["target"] for layer in block for name, _ in layer[2]} == set(
        target.state_dict()
    )
    assert {i for i, *_ in drawn["pairs"]} == {0, 1}


def test_a_report_knows_what_was_matched_and_does_not_print_it() -> None:
    report = transfer.transfer(Encoder(), Encoder())
    assert len(report.alignments[0].pairs) == 3
    assert "alignments" not in report.to_json()
    assert "alignments" not in repr(report)
    assert outlined(report, "mine")["outline"]["pairs"]


def test_blocks_without_tensors_are_left_out() -> None:
    plan = transfer.plan(Encoder(), Encoder(), method="paper")
    assert any(layer.dims is None for layer in plan.alignment.target.layers())
    assert all(layer[2] for block in outline(plan.alignments, ["x"])["target"] for layer in block)
