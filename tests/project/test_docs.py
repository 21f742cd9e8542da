"""What the documents name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_promise_names_tests_that_there_are() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text()
    table = text[text.index("| fault |") :].split("\n\n")[0]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    assert len(rows) > 20
    there = {path.stem: path for path in (ROOT / "tests").rglob("test_*.py")}
    for row in rows:
        assert len(row) == 3, row
        modules = [name for name in re.findall(r"\btest_\w+", row[2]) if name in there]
        assert modules or row[2] == "the same", row
        sources = "".join(there[name].read_text() for name in modules)
        for name in set(re.findall(r"\btest_\w+", row[2])) - set(modules):
            assert f"def {name}(" in sources, name
