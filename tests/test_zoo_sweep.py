"""Laws over every architecture of timm, pretrained or not; slow, run by ``make sweep``."""

from __future__ import annotations

import pytest

import transfer
from zoo_index.catalogues.timm_catalogue import build

pytestmark = pytest.mark.slow

N_PARTS = 32


@pytest.mark.parametrize("part", range(N_PARTS))
def test_every_architecture_is_its_own_best_source(part: int) -> None:
    import timm

    for name in timm.list_models()[part::N_PARTS]:
        model = build(name)
        plan = transfer.plan(model, model)
        wrong = [row.name for row in plan.tensors if row.status != "copied" or row.source != row.name]
        assert wrong == [], name
        assert plan.similarity == pytest.approx(1, abs=1e-12), name
        paper = transfer.match(model, model, method="paper")
        assert paper.value == pytest.approx(paper.target.n_scoring, rel=1e-12), name
        header = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
        assert transfer.standardize(header).fingerprint == plan.alignment.target.fingerprint, name
