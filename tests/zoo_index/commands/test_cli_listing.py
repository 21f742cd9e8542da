"""What `zoo list` lists: patterns, order, limits, CSV; and what settings change."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file

from zoo_index.commands.main import cli
from zoo_index.jobs.refresh import RefreshReport
from zoo_index.reports.page import Page
from zoo_index.reports.upkeep import show_refresh


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, small_index: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(small_index, "zoo.db")
    monkeypatch.setenv("ZOO_DB", "zoo.db")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def zoo(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def listed(*arguments: str) -> list[str]:
    done = zoo("list", *arguments, "--json")
    assert done.exit_code in (0, 1), done.output
    return [entry["name"] for entry in json.loads(done.stdout)["entries"]]


def test_patterns_pick_entries_by_their_names_or_their_architectures() -> None:
    everything = listed()
    assert listed("test_vit*") == [name for name in everything if name.startswith("test_vit")]
    assert listed("TEST_VIT") == ["test_vit.r160_in1k"]  # that of the architecture, in any case
    assert listed("*lite0", "test_resnet") == [
        name for name in everything if "lite0" in name or name.startswith("test_resnet")
    ]
    assert listed("*.ra_in1k") == ["efficientnet_lite0.ra_in1k"]
    assert listed("test_vit?.*") == ["test_vit2.r160_in1k"]


def test_what_is_listed_is_counted() -> None:
    last = [zoo("list", name).stdout.splitlines()[-1] for name in ("test_vit2", "test_vit*")]
    assert last == ["1 entry of 1 architecture", "2 entries of 2 architectures"]


def test_people_read_thousands_in_groups(capsys: pytest.CaptureFixture[str]) -> None:
    shown = zoo("show", "efficientnet_lite0").stdout
    assert "classes     1,000\n" in shown
    classes = zoo("list", "efficientnet_lite0").stdout.splitlines()
    assert classes[1][classes[0].index("classes") :].split()[0] == "1,000"
    assert {row["classes"] for row in rows("efficientnet_lite0")} == {"1000"}
    failed = {str(i): "" for i in range(1000)}
    show_refresh(Page(), RefreshReport(changed=["a"] * 1000, unchanged=1264, retired=["b"] * 2000, failed=failed))
    told = "0 architectures new, 1,000 changed, 1,264 unchanged, 2,000 retired, 1,000 failed"
    assert told in capsys.readouterr().out


def test_a_catalogue_without_a_version_has_no_empty_brackets() -> None:
    save_file({"0.weight": torch.ones(4, 3)}, "mine.safetensors")
    assert zoo("add", "mine.safetensors").exit_code == 0
    status = zoo("index", "status").stdout
    assert re.search(r"^from local +1 architecture$", status, re.MULTILINE)
    assert re.search(r"^from timm .*\([\d.]+\)$", status, re.MULTILINE)


def test_the_order_is_as_asked_and_what_is_unknown_comes_last() -> None:
    with closing(sqlite3.connect("zoo.db")) as connection, connection:
        for name, downloads in (("test_vit.r160_in1k", 5), ("test_resnet.r160_in1k", 50)):
            connection.execute("UPDATE entry SET downloads = ? WHERE name = ?", (downloads, name))
    assert listed("--sort", "name") == sorted(listed())
    assert listed("--sort", "-name") == sorted(listed(), reverse=True) == listed("--sort", "name", "--reverse")
    assert listed("--sort", "-name", "--reverse") == sorted(listed())
    assert listed("--sort", "downloads")[:2] == ["test_vit.r160_in1k", "test_resnet.r160_in1k"]
    assert listed("--sort", "-downloads")[:2] == ["test_resnet.r160_in1k", "test_vit.r160_in1k"]
    sizes = [row["params"] for row in rows("--sort", "-params")]
    assert sizes == sorted(sizes, key=int, reverse=True)
    assert listed("--sort", "params", "--limit", "2") == listed("--sort", "params")[:2]
    assert listed("--reverse") == listed()[::-1]


def rows(*arguments: str) -> list[dict[str, str]]:
    done = zoo("list", *arguments, "--csv")
    assert done.exit_code == 0, done.output
    return list(csv.DictReader(io.StringIO(done.stdout)))


def test_csv_has_numbers_as_they_are_and_no_formulas() -> None:
    with closing(sqlite3.connect("zoo.db")) as connection, connection:
        text = '=HYPERLINK("x"),\n\x1b[31m'
        connection.execute("UPDATE entry SET license = ?, family = '' WHERE name LIKE 'test_vit.%'", (text,))
    (row,) = rows("test_vit")
    assert row["name"] == "test_vit.r160_in1k"
    assert int(row["params"]) > 300_000
    assert row["license"] == '\'=HYPERLINK("x"),\\n\\x1b[31m'
    assert (row["downloads"], row["family"], row["weights"]) == ("", "", "hub")
    assert len(rows()) == len(listed())


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("test_resnett",), ["test_resnett", "did you mean test_resnet"]),
        (("--family", "efficient_net"), ["no family 'efficient_net'", "'efficientnet'"]),
        (("--license", "apache2"), ["no licence 'apache2'", "'apache-2.0'"]),
        (("--license", "permissive,mti"), []),
        (("--catalogue", "tim"), ["no catalogue 'tim'", "'timm'"]),
        (("--task", "classification"), ["no task 'classification'", "'image-classification'"]),
        (("--dataset", "imagenet1k"), ["no data set 'imagenet1k'", "'imagenet-1k'"]),
        (("",), ["Nothing found for '': see what there is"]),
        (("--max-params", "1"), ["max_params=1", "relax them"]),
        (("test_vit", "--max-params", "1"), ["'test_vit' and filters max_params=1", "relax them"]),
    ],
)
def test_nothing_found_says_which_word_nobody_has(arguments: tuple[str, ...], parts: list[str]) -> None:
    done = zoo("list", *arguments)
    assert done.exit_code == (1 if parts else 0), done.output
    for part in parts:
        assert part in done.stderr
    assert done.stdout == "" or not parts


def test_recommend_says_so_too() -> None:
    done = zoo("recommend", "-t", "test_vit", "--family", "restnet")
    assert done.exit_code == 1
    assert "there is no family 'restnet', did you mean 'resnet'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--sort", "speed"), ["expected one of name, params, top1, downloads, size", "'speed'"]),
        (("--limit", "0"), ["'--limit'"]),
        (("--csv", "--json"), ["expected either --csv or --json, got both"]),
    ],
)
def test_bad_options(arguments: tuple[str, ...], parts: list[str]) -> None:
    done = zoo("list", *arguments)
    assert done.exit_code == 2
    for part in parts:
        assert part in done.stderr


# --- settings --------------------------------------------------------------------------------------------


def origins(*arguments: str) -> dict[str, tuple[object, str, str]]:
    done = zoo(*arguments, "settings", "--json")
    assert done.exit_code == 0, done.output
    return {row["name"]: (row["value"], row["origin"], row["place"]) for row in json.loads(done.stdout)["settings"]}


def test_settings_say_where_they_come_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "config" / "zoo").mkdir(parents=True)
    user = folder / "config" / "zoo" / "config.toml"
    user.write_text("k = 2\navailable = true\n")
    (folder / "zoo.toml").write_text('max_params = "1M"\n')
    monkeypatch.setenv("ZOO_MEASURE", "paper")
    found = origins()
    assert found["k"] == (2, "user", str(user))
    assert found["max_params"] == (10**6, "project", str(folder / "zoo.toml"))
    assert found["measure"] == ("paper", "environment", "ZOO_MEASURE")
    assert found["db"] == ("zoo.db", "environment", "ZOO_DB")
    assert found["device"] == ("auto", "default", "")
    assert found["min_coverage"] == (0.01, "default", "")
    assert origins("--db", "other.db")["db"] == ("other.db", "option", "--db")
    shown = zoo("settings").stdout
    assert str(user) in shown
    assert "1,000,000" in shown


def test_settings_stand_in_for_options_and_give_way_to_them(folder: Path) -> None:
    (folder / "zoo.toml").write_text('max_params = "1M"\navailable = true\nlicense = "mit"\nk = 2\n')
    assert listed() == []
    assert listed("--anywhere", "--license", "any") == [
        row["name"]
        for row in rows("--anywhere", "--license", "any", "--max-params", "1G")
        if int(row["params"]) <= 1e6
    ]
    done = zoo("list", "--anywhere", "--license", "any")
    assert "by your settings: --max-params 1000000 (zoo settings)" in done.stdout
    done = zoo("recommend", "-t", "test_vit", "--anywhere", "--license", "any", "--json")
    assert len(json.loads(done.stdout)["results"]) == 2
    shown = zoo("recommend", "-t", "test_vit", "--anywhere", "--license", "any").stdout.splitlines()
    assert "by your settings: -k 2, --max-params 1000000 (zoo settings)" in shown
    assert shown[-2].startswith("Use ")


def test_settings_choose_among_sources_but_forbid_none_that_is_named(folder: Path) -> None:
    import safetensors.torch
    import torch

    (folder / "zoo.toml").write_text('license = "mit"\navailable = true\n')
    (folder / "net.py").write_text("import torch\ndef build_model():\n    return torch.nn.Linear(3, 4)\n")
    safetensors.torch.save_file({"weight": torch.ones(4, 3), "bias": torch.ones(4)}, "old.safetensors")
    done = zoo("transfer", "-t", "net.py", "-s", "old.safetensors", "-o", "new.safetensors")
    assert done.exit_code == 0, done.output
    assert "100% of your network starts trained" in done.stdout
    assert zoo("transfer", "-t", "net.py", "-s", "old.safetensors", "--license", "mit").exit_code == 2


def test_bad_settings_stop_every_command_but_help(folder: Path) -> None:
    (folder / "zoo.toml").write_text("kk = 1\n")
    done = zoo("list")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "expected a setting in" in done.stderr
    assert "'kk'; did you mean 'k'?" in done.stderr
    assert zoo("list", "--help").exit_code == 2
    assert zoo("--help").exit_code == 0
