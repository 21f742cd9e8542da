"""Blocks that begin a stage are fed by blocks that begin one, and blocks that go on by such as go on."""

from __future__ import annotations

import numpy as np
import pytest

import transfer
from transfer.alignment.roles import by_role
from transfer.structure.meaning import residual_exits
from transfer.structure.records import Block
from zoo_index.catalogues.timm_catalogue import build


@pytest.mark.parametrize(
    ("source", "target"), [("mobilenetv2_100", "mnasnet_100"), ("mnasnet_100", "mobilenetv2_100")]
)
def test_the_first_block_of_a_stage_is_fed_by_a_first_block(source: str, target: str) -> None:
    alignment = transfer.plan(build(source, device="meta"), build(target, device="meta")).alignment
    seen = 0
    for pair in alignment.pairs:
        own, other = alignment.source.items[pair.source_item], alignment.target.items[pair.target_item]
        if isinstance(own, Block) and isinstance(other, Block):
            assert bool(residual_exits(own)) == bool(residual_exits(other)), (pair.source.path, pair.target.path)
            seen += 1
    assert seen > 80


def test_scores_of_like_blocks_and_of_layers_stay() -> None:
    architecture = transfer.standardize(build("mobilenetv2_100", device="meta"))
    n = len(architecture.items)
    found = by_role(np.ones((n, n)), architecture, architecture)
    assert (np.diag(found) == 1).all()
    single = [i for i, item in enumerate(architecture.items) if not isinstance(item, Block)]
    assert (found[single] == 1).all()
    assert (found[:, single] == 1).all()
    assert (found < 1).any()
