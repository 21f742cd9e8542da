"""Pictures for papers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from matplotlib.image import imread
from torch import nn

import transfer
import zoo_index
from transfer.errors import InputError, OutputError
from zoo_index.recommending.answers import Recommendation, Recommendations


def net(width: int, depth: int) -> nn.Sequential:
    body = [nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width)) for _ in range(depth)]
    return nn.Sequential(nn.Linear(3, width), *body, nn.Linear(width, 4))


def ranking(*names: str) -> Recommendations:
    known: dict[str, Any] = {
        "paper_similarity": None,
        "license": "mit",
        "top1": None,
        "benefit": "some",
        "evidence": "",
    }
    results = [
        Recommendation(
            i, name, name, "made", "timm", params=5, available=True, input_size="", n_classes=1, n_weights=1,
            similarity=1 / i, coverage=0.5, **known,
        )
        for i, name in enumerate(names, start=1)
    ]  # fmt: skip
    values = {"name": "mine $x^", "params": 5, "layers": 1, "blocks": 1, "fingerprint": ""}
    return Recommendations(values, "dpiat", tuple(results), 2, 2, 0.1)


def texts(svg: Path) -> list[str]:
    """Words of a picture, which stand in comments beside their outlines."""
    return [part.split("-->")[0].strip() for part in svg.read_text().split("<!--")[1:]]


def test_a_picture_of_a_plan_names_blocks_and_is_the_same_each_time(tmp_path: Path) -> None:
    plan = transfer.plan(net(8, 2), net(12, 4))
    for name in ("a.svg", "b.svg"):
        zoo_index.save_plot(plan, tmp_path / name, source="small", target="large")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    said = texts(tmp_path / "a.svg")
    assert {"small", "large", "grown", "similarity of the layers"} <= set(said)
    assert "<dc:date>" not in (tmp_path / "a.svg").read_text()
    assert any(text.startswith("1.0") for text in said)
    zoo_index.save_plot(plan, tmp_path / "a.png")
    assert imread(tmp_path / "a.png").shape[1] == 1050  # a column at 300 dots an inch
    zoo_index.save_plot(plan, tmp_path / "a.pdf")
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")


def test_deep_networks_are_drawn_by_neighbours_to_stay_readable(tmp_path: Path) -> None:
    with torch.device("meta"):
        deep = [timm.create_model("vit_tiny_patch16_224", depth=depth).state_dict() for depth in (12, 80)]
    zoo_index.save_plot(transfer.plan(*deep), tmp_path / "deep.png")
    assert imread(tmp_path / "deep.png").shape[0] < 3200  # fits a page


@pytest.mark.parametrize("name", ["$\\frac{", "\u05d0\u4e2d\u202e", "<b>" + "a" * 5000, "\x00\x1b[31m", "_^{}"])
def test_foreign_names_are_drawn_as_they_are(tmp_path: Path, name: str) -> None:
    module = nn.ModuleDict({name.replace(".", "") or "x": nn.Linear(2, 3)})
    zoo_index.save_plot(transfer.plan(module, module), tmp_path / "a.png", source=name, target=name)
    zoo_index.save_plot(ranking(name), tmp_path / "b.svg")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_nothing_in_common_is_drawn_too(tmp_path: Path) -> None:
    zoo_index.save_plot(transfer.plan(nn.Linear(2, 3), nn.BatchNorm1d(6)), tmp_path / "a.svg")
    assert "0.0% of the target is filled" in texts(tmp_path / "a.svg")


def test_a_ranking_is_drawn_in_its_order(tmp_path: Path) -> None:
    zoo_index.save_plot(ranking("first", "second"), tmp_path / "r.svg")
    said = texts(tmp_path / "r.svg")
    assert said.index("first") < said.index("second")
    assert "Sources for mine $x^" in said


@pytest.mark.parametrize("longest", ["short.in1k", "vit_betwixt_patch16_reg4_gap_256.sbb2_e200_in12k_ft_in1k"])
def test_names_of_a_ranking_have_the_room_they_need(tmp_path: Path, longest: str) -> None:
    names = ["first", longest, "third"]
    for name in ("a.svg", "b.svg", "a.png"):
        zoo_index.save_plot(ranking(*names), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert set(names) <= set(texts(tmp_path / "a.svg"))
    picture = imread(tmp_path / "a.png")
    assert picture.shape[1] == 1050
    assert all((edge == 1).all() for edge in (picture[:, :4], picture[:, -4:], picture[:4], picture[-4:]))


def test_long_rankings_fit_a_page(tmp_path: Path) -> None:
    zoo_index.save_plot(ranking(*(f"{i:02}{'a' * 80}" for i in range(60))), tmp_path / "a.png")
    assert imread(tmp_path / "a.png").shape[0] < 3200


def test_what_cannot_be_drawn_is_refused_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = transfer.plan(net(8, 1), net(8, 1))
    with pytest.raises(InputError, match=r"ends in \.png, \.svg or \.pdf"):
        zoo_index.save_plot(plan, tmp_path / "a.gif")
    with pytest.raises(OutputError, match="existing folder"):
        zoo_index.save_plot(plan, tmp_path / "none" / "a.png")
    (tmp_path / "a.png").write_text("old")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("zoo_index.reports.saving.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'zoo-index\[plot\]'"):
        zoo_index.save_plot(plan, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
