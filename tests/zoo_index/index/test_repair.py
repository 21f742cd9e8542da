"""What the doctor puts right."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from click.testing import CliRunner

from zoo_index.commands.main import cli
from zoo_index.zoo.doctor import examine
from zoo_index.zoo.zoo import Zoo


def problems(zoo: Zoo) -> list[str]:
    return [finding.text for finding in examine(zoo) if finding.status == "problem" and finding.topic == "index"]


def harm(zoo: Zoo) -> None:
    """Leave vectors without architectures, a run without an end, and half of a vector file."""
    assert len(zoo.view().search.vector_index)
    with sqlite3.connect(zoo.store.name) as raw:  # without foreign keys, as another program may
        raw.execute("INSERT OR REPLACE INTO embedding (basis_id, architecture_id, vector) VALUES (1, 98765, x'00')")
        raw.execute("INSERT OR REPLACE INTO embedding (basis_id, architecture_id, vector) VALUES (77, 1, x'00')")
        raw.execute("UPDATE run SET status = 'running'")
    path = zoo.store.vector_path
    path.write_bytes(path.read_bytes()[:100])


def test_what_is_harmed_is_found_and_put_right(zoo: Zoo) -> None:
    assert problems(zoo) == []
    expected = zoo.recommend("test_vit").results
    harm(zoo)
    again = Zoo(zoo.store.name)
    assert again.recommend("test_vit").results == expected  # no answer holds what is not there
    assert len(again.view().search.vector_index) == again.status()["embedded"]
    harm(zoo)
    found = problems(zoo)
    assert any(
        "vectors or entries of architectures that are gone: 2; run: zoo doctor --repair" in text for text in found
    )
    assert any("was altered" in text for text in found)
    assert any("points nowhere" in text for text in found)
    done = zoo.repair()
    assert [line.split(" ")[0] for line in done] == ["deleted", "noted", "deleted"]
    assert problems(zoo) == []
    assert zoo.repair() == []
    assert Zoo(zoo.store.name).recommend("test_vit").results == expected


def test_on_the_command_line(zoo: Zoo) -> None:
    harm(zoo)
    command = ["--db", zoo.store.name, "doctor", "--json"]
    assert CliRunner().invoke(cli, command).exit_code == 1
    told = CliRunner().invoke(cli, [*command, "--repair"])
    assert told.exit_code == 0, told.output
    topics = [finding["topic"] for finding in json.loads(told.stdout)["findings"]]
    assert topics[:3] == ["repair"] * 3


def test_another_timm_is_told_in_a_sentence(zoo: Zoo) -> None:
    with sqlite3.connect(zoo.store.name) as raw:
        raw.execute("UPDATE architecture SET catalogue_version = '0.1' WHERE name = 'test_vit'")
    (told,) = (text for text in problems(zoo) if "timm" in text)
    assert told.startswith("1 architecture was read from timm 0.1, and timm 1.")
    assert told.endswith(" is installed; run: zoo index refresh")


def test_the_doctor_makes_no_index(tmp_path: Path) -> None:
    command = ["--db", str(tmp_path / "none.db"), "doctor", "--repair"]
    assert CliRunner().invoke(cli, command).exit_code == 0
    assert not list(tmp_path.iterdir())
