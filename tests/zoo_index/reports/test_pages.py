"""Pages of plans, transfers and rankings: their data, and what is refused."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from click.testing import CliRunner, Result
from torch import nn

import transfer
import zoo_index
from transfer.planning.outline import outlined
from zoo_index.commands.main import cli
from zoo_index.reports import html
from zoo_index.reports.html import document
from zoo_index.reports.html import map as map_pages
from zoo_index.reports.html import pages as report_pages
from zoo_index.reports.html.pages import plan_page
from zoo_index.reports.outlines import ShownOutline
from zoo_index.zoo.zoo import Zoo

HOSTILE = '</script><script>alert(1)</script>\u202egpj.\U0001f600&amp;"' + "a" * 5000


def net(width: int, depth: int = 2, classes: int = 4) -> nn.Sequential:
    body = [nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width)) for _ in range(depth)]
    return nn.Sequential(nn.Linear(3, width), *body, nn.Linear(width, classes))


def data_of(page: str) -> Any:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(text)


def names_of(side: Any, texts: list[str]) -> list[str]:
    found, first = [], 0
    for i in range(0, len(side["layers"]), 3):
        path, end = texts[side["layers"][i]], side["layers"][i + 2]
        for stored in side["names"][first:end]:
            found.append(texts[-1 - stored] if stored < 0 else f"{path}.{texts[stored]}")
        first = end
    return found


@pytest.mark.parametrize("method", ["dpiat", "paper"])
def test_the_data_are_those_of_the_plan(method: str) -> None:
    plan = transfer.plan(net(8), net(12, depth=3, classes=5), method=method)
    drawing = data_of(plan_page(outlined(plan, "s"), source="s", target="t"))["drawing"]
    texts = drawing["texts"]
    ours, (theirs,) = names_of(drawing["target"], texts), (names_of(s, texts) for s in drawing["sources"])
    rows = {row.name: row for row in plan.tensors}
    assert sorted(ours) == sorted(rows)
    for i, name in enumerate(ours):
        assert drawing["written"][i] == rows[name].n_written
        assert texts[drawing["reason"][i]] == rows[name].reason
        assert texts[drawing["target"]["shapes"][i]] == "×".join(map(str, rows[name].shape))
    links = drawing["links"]
    found: dict[str, dict[str, int]] = {}
    for t, source, u, n in zip(*(links[i::4] for i in range(4)), strict=True):
        assert source == 0
        found.setdefault(ours[t], {})[theirs[u]] = n
    assert {name: sum(each.values()) for name, each in found.items()} == {
        name: row.n_written for name, row in rows.items() if row.regions
    }
    assert all(set(found[name]) <= set(rows[name].sources) for name in found)


def test_each_of_several_sources_has_its_own_column() -> None:
    encoder, decoder = net(8), nn.Sequential(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 7, 3), nn.Conv2d(7, 9, 3))
    target = nn.ModuleDict({"a": net(8), "b": copy.deepcopy(decoder)})
    plan = transfer.plan([encoder, decoder], target, source_names=["one", "two"])
    drawing = data_of(plan_page(outlined(plan, ""), source="one + two", target="t"))["drawing"]
    assert [side["name"] for side in drawing["sources"]] == ["one", "two"]
    assert {drawing["links"][i] for i in range(1, len(drawing["links"]), 4)} == {0, 1}
    assert sum(side["coverage"] for side in drawing["sources"]) == pytest.approx(plan.coverage)


def test_a_network_of_two_hundred_blocks_stays_below_a_megabyte() -> None:
    with torch.device("meta"):
        source = timm.create_model("vit_tiny_patch16_224", depth=12)
        target = timm.create_model("vit_tiny_patch16_224", depth=200)
    plan = transfer.plan(source.state_dict(), target.state_dict())  # a plan of modules would run them
    page = plan_page(outlined(plan, "s"), source="s", target="t")
    assert len(data_of(page)["drawing"]["target"]["blocks"]) > 200
    assert len(page.encode()) < 500_000


def test_foreign_text_is_data_and_nothing_else() -> None:
    target = nn.Sequential(nn.Linear(3, 4))
    values = outlined(transfer.plan(nn.Sequential(nn.Linear(3, 4)), target), HOSTILE)
    renamed = json.loads(json.dumps(values).replace('"0.weight"', json.dumps(HOSTILE)))
    page = plan_page(renamed, source=HOSTILE, target=HOSTILE, command=HOSTILE)
    assert page.count("<script") == 2
    assert "alert(1)</script>" not in page
    assert "\u202e" not in page
    assert "default-src 'none'" in page
    assert not re.search(r"https?://(?!www\.w3\.org/(?:2000/svg|1999/xhtml))", page)


def test_every_script_is_of_one_idea_and_in_a_page() -> None:
    folder = Path(html.__file__).parent
    lines = {path.name: path.read_text().count("\n") for path in folder.glob("*.js")}
    assert {name: n for name, n in lines.items() if n > 300} == {}
    named = {
        name for pages in (document.__file__, map_pages.__file__, report_pages.__file__) for name in _words(pages)
    }
    assert {Path(name).stem for name in lines} <= named
    with pytest.raises(AssertionError, match="no_such_part"):
        document.document("t", "", {}, parts=("no_such_part",))


def _words(module: str | None) -> set[str]:
    assert module is not None
    return set(re.findall(r'"(\w+)"', Path(module).read_text()))


WRONG: list[Any] = [
    None,
    [],
    {},
    {"target": [], "sources": [], "pairs": []},
    {"target": [[["p", "k", [["n", [1, -1]]]]]], "sources": [{"name": "s", "blocks": []}], "pairs": []},
    {"target": [[["p", "k", [["n", [True]]]]]], "sources": [{"name": "s", "blocks": []}], "pairs": []},
    {"target": [[["p", "k"]]], "sources": [{"name": "s", "blocks": []}], "pairs": []},
    {"target": "x", "sources": [{"name": "s", "blocks": []}], "pairs": []},
    {"target": [], "sources": [{"name": 1, "blocks": []}], "pairs": []},
    {"target": [], "sources": [{"name": "s", "blocks": []}], "pairs": [[0, 0, 0, 1.0]]},
    {
        "target": [[["p", "k", []]]],
        "sources": [{"name": "s", "blocks": [[["p", "k", []]]]}],
        "pairs": [[0, 0, 0, float("nan")]],
    },
    {"target": [[["p", "k", []] * 1] * 100_001], "sources": [{"name": "s", "blocks": []}], "pairs": []},
    {"target": [], "sources": [{"name": "s", "blocks": []}] * 101, "pairs": []},
]


@pytest.mark.parametrize("values", WRONG, ids=range(len(WRONG)))
def test_what_is_no_outline_is_refused(values: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        ShownOutline.from_json(values)


def test_a_plan_whose_outline_lists_other_tensors_is_drawn_all_the_same() -> None:
    values = outlined(transfer.plan(net(8), net(8)), "s")
    values["outline"] = {
        "target": [[["x", "linear", [["x.y", [3]], ["x.y", [3]]]]]],
        "sources": [{"name": "s", "blocks": []}],
        "pairs": [],
    }
    drawing = data_of(plan_page(values, source="s", target="t"))["drawing"]
    assert len(drawing["status"]) == len(drawing["target"]["names"]) > 2


def test_numbers_that_are_none_are_left_out_or_refused() -> None:
    model = net(8)
    values = outlined(transfer.transfer(net(8), model), "s")
    values["function"] = {"verdict": "other", "difference": float("nan"), "correlation": float("inf"), "reason": ""}
    data = data_of(plan_page(values, source="s", target="t"))
    assert (data["function"]["difference"], data["function"]["correlation"]) == (None, None)
    with pytest.raises(ValueError, match="'coverage' to be finite"):
        plan_page({**values, "coverage": float("nan")}, source="s", target="t")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, list(map(str, arguments)), prog_name="zoo")


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text("import timm\ndef build_model():\n    return timm.create_model('test_resnet', num_classes=3)\n")
    return path


def test_commands_write_pages_and_say_how_to_make_them_again(
    zoo: Zoo, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_DB", str(zoo.store.place))
    file = code.parent / "re port.html"
    done = run(
        "plan", "-t", code, "-s", "test_resnet", "--no-head", "--without", "rescale", "--html", file, "--json"
    )
    assert done.exit_code == 0, done.output
    assert "outline" not in json.loads(done.stdout)
    data = data_of(file.read_text())
    assert data["coverage"] == json.loads(done.stdout)["coverage"]
    wanted = f"zoo plan --target {code} --source test_resnet --without rescale --no-head --html '{file}'"
    assert sorted(data["command"].split()) == sorted(wanted.split())
    assert {"zoo", "torch", "timm", "Python"} <= set(data["versions"])

    torch.save(timm.create_model("test_resnet").state_dict(), code.parent / "w.pth")
    page = code.parent / "done.html"
    done = run(
        "transfer", "-t", code, "-s", code.parent / "w.pth", "-o", code.parent / "o.safetensors", "--html", page
    )
    assert done.exit_code == 0, done.output
    assert f"page written to {page}" in done.output
    data = data_of(page.read_text())
    assert data["function"]["verdict"] in ("equal", "near", "other", "unknown")
    assert data["output"] == str(code.parent / "o.safetensors")


def test_a_ranking_is_drawn_with_the_plans_of_sources_that_differ(
    zoo: Zoo, code: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZOO_DB", str(zoo.store.place))
    page = code.parent / "r.html"
    done = run("recommend", "-t", code, "--html", page, "--license", "apache-2.0")
    assert done.exit_code == 0, done.output
    data = data_of(page.read_text())
    assert data["results"][0]["name"].startswith("test_resnet")
    assert data["advice"].startswith("Use test_resnet")
    assert data["plans"]["1"]["drawing"]["links"]
    assert len(data["plans"]) == min(3, len(data["results"]))
    assert data["results"][0]["next"] == f"zoo transfer --target {code} --source {data['results'][0]['name']}"
    assert "--license apache-2.0" in data["command"]


@pytest.mark.parametrize(
    ("option", "name", "what"),
    [
        ("--html", "report.txt", "ends in .html or .htm with --html"),
        ("--plot", "plot.jpg", "ends in .png, .svg or .pdf with --plot"),
        ("--html", "none/report.html", "an existing folder"),
        ("--plot", "none/plot.png", "an existing folder"),
    ],
)
@pytest.mark.parametrize(
    "command", [("plan", "-s", "none"), ("recommend",), ("transfer", "-s", "none")], ids=" ".join
)
def test_bad_places_are_refused_before_anything_is_done(
    command: tuple[str, ...], option: str, name: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*command, "-t", "no_such_target.py", option, tmp_path / name)
    assert done.exit_code == 2
    assert what in done.output
    assert "--output" not in done.output
    assert list(tmp_path.iterdir()) == []


def test_one_file_is_not_written_twice(tmp_path: Path) -> None:
    done = run("transfer", "-t", "x.py", "-s", "y", "-o", tmp_path / "a.html", "--html", tmp_path / "a.html")
    assert done.exit_code == 2
    assert "is named twice" in done.output


def test_a_report_and_a_plan_are_saved_from_python(tmp_path: Path) -> None:
    model = net(8)
    report = transfer.transfer(net(8), model)
    zoo_index.save_html(report, tmp_path / "report.html")
    zoo_index.save_html(transfer.plan(net(8), model), tmp_path / "plan.html", source="mine", target="yours")
    assert data_of((tmp_path / "report.html").read_text())["function"]["verdict"] == "equal"
    assert data_of((tmp_path / "plan.html").read_text())["drawing"]["target"]["name"] == "yours"
    with pytest.raises(ValueError, match=r"\.html"):
        zoo_index.save_html(report, tmp_path / "report.doc")
