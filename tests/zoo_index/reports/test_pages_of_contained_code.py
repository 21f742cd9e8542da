"""Pages of targets whose code runs in a process of its own, which may say anything."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import timm
import torch
from click.testing import CliRunner, Result

from zoo_index.commands.main import cli
from zoo_index.zoo.zoo import Zoo

CONTAINED = True

CODE = "import timm\ndef build_model():\n    return timm.create_model('test_resnet', num_classes=3)\n"
LIES = """
import transfer.planning.outline as outline
honest = outline.outlined
outline.outlined = lambda found, name: {**honest(found, name), "outline": {"target": [], "sources": [{"name": 1}]}}
"""


def run(zoo: Zoo, *arguments: object) -> Result:
    return CliRunner().invoke(cli, ["--db", str(zoo.store.place), *map(str, arguments)], prog_name="zoo")


def test_a_source_that_cannot_be_opened_is_no_reason_to_draw_none(zoo: Zoo, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(CODE)
    weights = tmp_path / "weights.pth"
    torch.save(timm.create_model("test_resnet", num_classes=3).state_dict(), weights)
    zoo.add(weights, name="mine")
    weights.unlink()
    page = tmp_path / "page.html"
    done = run(zoo, "recommend", "-t", tmp_path / "net.py", "--html", page)
    assert done.exit_code == 0, done.output
    (text,) = re.findall(r'id="data">(.*?)</script>', page.read_text(), re.S)
    data = json.loads(text)
    by_name = {each["name"]: data["plans"].get(str(each["rank"])) for each in data["results"]}
    assert "weights.pth" in by_name["mine"]
    drawn = [plan for plan in by_name.values() if isinstance(plan, dict)]
    assert drawn
    assert drawn[0]["drawing"]["links"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [("plan",), ("transfer", "-o", "o.safetensors")], ids=lambda command: command[0]
)
def test_networks_that_are_none_are_refused(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text(CODE + LIES)
    torch.save(timm.create_model("test_resnet").state_dict(), "weights.pth")
    done = run(zoo, *command, "-t", "net.py", "-s", "weights.pth", "--html", "page.html")
    assert done.exit_code == 2
    assert "its process wrote something else (expected the outline of a plan)" in done.output
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".db") == ["net.py", "weights.pth"]
