"""Watched targets: a job hears of a better source than last time."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import nets
import pytest
from forked_cli import run_cli
from indexes import address, put
from safetensors.torch import save_file
from sqlalchemy import update

import transfer
from transfer.errors import InputError
from zoo_index.database.schema import WATCH
from zoo_index.database.store import Store
from zoo_index.errors import UnknownNameError
from zoo_index.recommending.answers import Filters
from zoo_index.recommending.resolve import Resolved
from zoo_index.zoo.watching import Better, add_watch, check_watches, list_watches, remove_watch
from zoo_index.zoo.zoo import Zoo

CONTAINED = True


def target() -> Resolved:
    module = nets.conv_net(6, 4)
    forms = {form: transfer.standardize(module, method=form) for form in ("dpiat", "paper")}
    return Resolved("mine", forms["dpiat"].n_elements, forms)  # type: ignore[arg-type]


def test_a_better_source_is_told_once(store: Store) -> None:
    put(store, "far", nets.mlp(3, 4))
    zoo = Zoo(address(store))
    watched = add_watch(zoo, target(), "mine")
    assert (watched.best, round(watched.similarity, 2)) == ("far.x", 0.06)
    assert check_watches(zoo) == []
    put(store, "near", nets.conv_net(4, 3))
    (better,) = check_watches(zoo)
    assert (better.name, better.before, better.now) == ("mine", "far.x", "near.x")
    assert watched.similarity < better.similarity < 1
    assert check_watches(zoo) == []
    put(store, "other", nets.mlp(3, 9))  # nothing better
    assert check_watches(zoo) == []
    put(store, "same", nets.conv_net(6, 4))
    assert check_watches(zoo) == [Better("mine", "near.x", better.similarity, "same.x", 1.0)]
    assert [(each.best, each.generation) for each in list_watches(zoo)] == [("same.x", 4)]


def test_what_could_not_be_told_is_found_again(store: Store) -> None:
    put(store, "far", nets.mlp(3, 4))
    zoo = Zoo(address(store))
    add_watch(zoo, target(), "mine")
    put(store, "same", nets.conv_net(6, 4))

    def fail(found: list[Better]) -> None:
        raise OSError(f"no room to tell of {len(found)}")

    with pytest.raises(OSError, match="tell of 1"):
        check_watches(zoo, tell=fail)
    assert [better.now for better in check_watches(zoo)] == ["same.x"]


def test_a_target_of_another_standardization_is_not_compared(store: Store) -> None:
    put(store, "far", nets.mlp(3, 4))
    zoo = Zoo(address(store))
    assert not add_watch(zoo, target(), "mine").is_outdated
    with store.writing() as connection:
        connection.execute(update(WATCH).values(features=1))
    put(store, "same", nets.conv_net(6, 4))
    assert check_watches(zoo) == []
    assert [each.is_outdated for each in list_watches(zoo)] == [True]


def test_filters_are_kept_with_the_target(store: Store) -> None:
    put(store, "far", nets.mlp(3, 4))
    zoo = Zoo(address(store))
    add_watch(zoo, target(), "small ones", Filters(max_params=100))
    add_watch(zoo, target(), "any")
    put(store, "same", nets.conv_net(6, 4))
    assert [better.name for better in check_watches(zoo)] == ["any"]
    assert [each.filters for each in list_watches(zoo)] == [Filters(), Filters(max_params=100)]


def test_only_those_that_were_asked_for_are_looked_at(store: Store) -> None:
    put(store, "far", nets.mlp(3, 4))
    zoo = Zoo(address(store))
    for name in ("a", "b"):
        add_watch(zoo, target(), name)
    put(store, "same", nets.conv_net(6, 4))
    assert [better.name for better in check_watches(zoo, ["b"])] == ["b"]
    assert [better.name for better in check_watches(zoo)] == ["a"]
    remove_watch(zoo, "a")
    assert [each.name for each in list_watches(zoo)] == ["b"]
    with pytest.raises(UnknownNameError, match="zoo watch list"):
        remove_watch(zoo, "a")
    with pytest.raises(UnknownNameError, match="zoo watch list"):
        check_watches(zoo, ["a"])


def test_names_are_new_and_can_be_printed(store: Store) -> None:
    put(store, "far", nets.mlp(3, 4))
    zoo = Zoo(address(store))
    add_watch(zoo, target(), "mine")
    for name, words in (("mine", "is watched already"), ("", "got an empty one"), ("a\x1b[2Jb", "printable")):
        with pytest.raises(InputError, match=words):
            add_watch(zoo, target(), name)


def test_on_the_command_line(zoo: Zoo, tmp_path: Path) -> None:
    code = tmp_path / "net.py"
    code.write_text(
        "from torch import nn\n"
        "print('hello')\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self):\n"
        "        super().__init__(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Conv2d(5, 7, 3), nn.BatchNorm2d(7))\n"
    )

    def run(*arguments: str, expected: int = 0) -> str:
        done = run_cli("--db", zoo.store.name, "watch", *arguments)
        assert done.returncode == expected, done.stderr
        return done.stdout.decode()

    before = json.loads(run("add", str(code), "--name", "net", "--json"))
    assert before["similarity"] < 1
    assert "nothing better" in run("check")
    weights = tmp_path / "mine.safetensors"
    save_file({f"{i}.weight": t for i, t in enumerate(_weights())}, weights)
    zoo.add(weights, "mine")
    code.unlink()  # its architecture is kept
    (better,) = json.loads(run("check", "--json", expected=4))["better"]
    assert (better["name"], better["now"]) == ("net", "mine")
    assert "nothing better" in run("check")
    assert "mine" in run("list")
    run("remove", "net")
    with sqlite3.connect(zoo.store.name) as raw:
        assert raw.execute("SELECT count(*) FROM watch").fetchone() == (0,)


def _weights() -> list[object]:
    import torch

    return [torch.zeros(5, 3, 3, 3), torch.zeros(5), torch.zeros(7, 5, 3, 3), torch.zeros(7)]
