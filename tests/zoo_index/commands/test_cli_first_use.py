"""What the command line says where there was no index, and one has been made."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from zoo_index.commands.main import cli
from zoo_index.zoo.zoo import Zoo


@pytest.fixture(autouse=True)
def small_snapshot(zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A first use starts from a snapshot of a few architectures, which takes less time than the shipped one."""
    folder = tmp_path / "snapshot"
    zoo.export(folder)
    monkeypatch.setattr("zoo_index.index.snapshot.data_folder", lambda: folder)


def run(*arguments: str) -> Result:
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    return done


def test_a_new_index_at_a_place_that_was_typed_is_told_once(tmp_path: Path) -> None:
    place = str(tmp_path / "typo.db")
    first = run("--db", place, "list", "test_vit", "--json")
    n = Zoo(place).status()["architectures"]
    assert first.stderr == f"made a new index at {place} from the shipped snapshot ({n:,} architectures)\n"
    again = run("--db", place, "list", "test_vit", "--json")
    assert (again.stdout, again.stderr) == (first.stdout, "")


def test_a_new_index_at_the_usual_place_is_made_quietly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_DB", str(tmp_path / "usual.db"))
    assert run("list", "test_vit", "--json").stderr == ""
    assert (tmp_path / "usual.db").exists()
