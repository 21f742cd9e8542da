"""Repositories of a hub, known by their headers: queries, faults, what is kept. The hub is played here."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import nets
import pytest
import safetensors.torch
import torch
from forked_cli import run_cli
from huggingface_hub import constants
from scripted_hub import Answer, Hub, Repo, cut, page, running_hub, soon, stalled, status, whole, wrong_length

from transfer.errors import InputError
from zoo_index.engines import open_engine
from zoo_index.hub.queries import parse_query
from zoo_index.jobs.refresh import RefreshReport, refresh
from zoo_index.recommending.answers import Filters
from zoo_index.zoo.zoo import Zoo


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.setenv("ZOO_HEADERS", str(tmp_path / "headers"))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
    with running_hub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
        yield server


@pytest.fixture
def zoo(tmp_path: Path, small_index: Path) -> Iterator[Zoo]:
    shutil.copy(small_index, tmp_path / "zoo.db")
    found = Zoo(tmp_path / "zoo.db")
    yield found
    found.store.close()


def weights(*sizes: int, seed: int = 0) -> bytes:
    return safetensors.torch.save(nets.randomise(nets.mlp(*sizes), seed).state_dict())


def filled(hub: Hub) -> None:
    hub.repos |= {
        "ann/small": Repo({"model.safetensors": weights(3, 4, 2)}, "mit", "tabular", "lib", "rows", 7, 26),
        "ann/wide": Repo({"weights.safetensors": weights(3, 400, 2), "README.md": b"x"}, "cc-by-nc-4.0", "tabular"),
        "bob/other": Repo({"model.safetensors": weights(3, 6, 2)}, None, "image-classification", downloads=70),
        "bob/pickled": Repo({"pytorch_model.bin": b"\x80\x04"}),
        "bob/two": Repo({"a.safetensors": weights(2, 2), "b.safetensors": weights(2, 2)}),
    }


def added(zoo: Zoo, query: str) -> RefreshReport:
    return zoo.add_query(query, engine=open_engine("inline"))


def again(zoo: Zoo) -> RefreshReport:
    return refresh(zoo.store, engine=open_engine("inline"), catalogues=["hub"], seconds=None)


def names(zoo: Zoo, **filters: Any) -> list[str]:
    return sorted(entry["name"] for entry in zoo.entries(Filters(catalogue="hub", **filters)))


def test_repositories_become_sources_by_one_request_each(hub: Hub, zoo: Zoo) -> None:
    filled(hub)
    report = added(zoo, "author=ann,limit=50")
    assert (sorted(report.new), report.failed) == (["ann/small", "ann/wide"], {})
    assert len(hub.asked) == 3
    assert all(headers["Range"].startswith("bytes=0-") for path, headers in hub.asked if "resolve" in path)
    entry = zoo.entry("ann/small")
    assert (entry["license"], entry["task"], entry["dataset"], entry["downloads"]) == ("mit", "tabular", "rows", 7)
    assert (entry["n_bytes"], entry["revision"]) == (104, hub.repos["ann/small"].commit)
    assert not entry["available"]
    best = zoo.recommend(nets.mlp(3, 4, 2), k=1, filters=Filters(catalogue="hub")).results[0]
    assert (best.name, best.similarity) == ("ann/small", 1)
    assert names(zoo, license="permissive") == ["ann/small"]


def test_a_second_refresh_asks_for_what_changed_only(hub: Hub, zoo: Zoo) -> None:
    filled(hub)
    added(zoo, "ann/small,bob/other")
    assert names(zoo) == ["ann/small", "bob/other"]
    hub.asked.clear()
    assert again(zoo).unchanged == 2
    assert hub.of_files() == []
    hub.repos["ann/small"].files["model.safetensors"] = weights(3, 5, 2)
    report = again(zoo)
    assert (report.changed, report.unchanged) == (["ann/small"], 1)
    assert len(hub.of_files()) == 1
    del hub.repos["bob/other"]
    report = again(zoo)
    assert report.status == "partial"  # that it is gone cannot be told from that it has become private
    assert "no such repository" in report.failed["hub"]
    assert names(zoo) == ["ann/small", "bob/other"]


def test_queries_go_through_pages_up_to_their_limit(hub: Hub, zoo: Zoo) -> None:
    hub.page = 3
    for i in range(10):
        hub.repos[f"eve/n{i}"] = Repo({"model.safetensors": weights(3, 3 + i, 2)}, task="t" if i % 2 else None)
    assert len(added(zoo, "author=eve").new) == 10
    zoo.remove("hub")
    assert names(zoo) == []
    assert len(added(zoo, "author=eve,limit=5").new) == 5
    assert len(added(zoo, "author=eve,task=t").retired) > 0
    assert names(zoo) == [f"eve/n{i}" for i in range(1, 10, 2)]


def test_a_large_header_takes_a_second_request(hub: Hub, zoo: Zoo) -> None:
    many = {f"layers.{i}.weight": torch.ones(2, 2) for i in range(3000)}
    hub.repos["ann/deep"] = Repo({"model.safetensors": safetensors.torch.save(many)})
    assert added(zoo, "ann/deep").new == ["ann/deep"]
    assert len(hub.of_files()) == 2
    assert zoo.entry("ann/deep")["n_params"] == 12_000


def test_sharded_weights(hub: Hub, zoo: Zoo) -> None:
    state = nets.mlp(3, 4, 2).state_dict()
    first, second = dict(list(state.items())[:2]), dict(list(state.items())[2:])
    index = {"weight_map": {**dict.fromkeys(first, "m-1.safetensors"), **dict.fromkeys(second, "m-2.safetensors")}}
    hub.repos["ann/big"] = Repo(
        {
            "model.safetensors.index.json": json.dumps(index).encode(),
            "m-1.safetensors": safetensors.torch.save(first),
            "m-2.safetensors": safetensors.torch.save(second),
        }
    )
    assert added(zoo, "ann/big").new == ["ann/big"]
    target = nets.mlp(3, 4, 2)
    assert zoo.transfer(target, "ann/big")[1].coverage == 1
    assert all(torch.equal(tensor, state[name]) for name, tensor in target.state_dict().items())
    assert zoo.entry("ann/big")["available"]
    hub.asked.clear()
    zoo.transfer(target, "ann/big")
    assert hub.asked == []
    best = zoo.recommend(nets.mlp(3, 4, 2), k=1, filters=Filters(catalogue="hub")).results[0]
    assert (best.name, best.similarity) == ("ann/big", 1)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (status(404), "no such file"),
        (status(401, X_Error_Code="GatedRepo"), "grants no access"),
        (status(403), "grants no access"),
        (status(429, Retry_After="300"), "limits how often"),
        (status(500), "is broken at the moment"),
        pytest.param(cut, "broke off", marks=pytest.mark.slow),
        pytest.param(stalled, "fell silent", marks=pytest.mark.slow),
        pytest.param(wrong_length, "broke off", marks=pytest.mark.slow),
        (page, "no safetensors file"),
    ],
    ids=["404", "gated", "403", "429", "500", "cut", "stalled", "length", "page"],
)
def test_a_fault_costs_its_repository_only(hub: Hub, zoo: Zoo, fault: Answer, words: str) -> None:
    filled(hub)
    hub.faults["ann/small/model.safetensors"] = fault
    begun = time.monotonic()
    report = added(zoo, "author=ann")
    assert time.monotonic() - begun < 60
    assert (report.new, report.status) == (["ann/wide"], "partial")
    assert words in report.failed["ann/small"]
    hub.faults.clear()
    report = again(zoo)
    assert (report.new, report.status) == (["ann/small"], "done")


@pytest.mark.parametrize("code", [429, 500, 503])
def test_what_passes_is_waited_for(hub: Hub, zoo: Zoo, code: int) -> None:
    filled(hub)
    hub.faults["ann/small/model.safetensors"] = soon(1, code)
    assert added(zoo, "ann/small").status == "done"


def test_a_server_that_knows_of_no_parts_is_read_no_further(hub: Hub, zoo: Zoo) -> None:
    filled(hub)
    hub.repos["ann/wide"].files = {"model.safetensors": weights(3, 4000, 2000)}
    hub.faults["ann/wide/model.safetensors"] = whole
    assert added(zoo, "ann/wide").status == "done"


@pytest.mark.parametrize("fault", [status(429, Retry_After="300"), status(500), page], ids=["429", "500", "page"])
def test_a_hub_that_cannot_be_asked_changes_nothing(hub: Hub, zoo: Zoo, fault: Answer) -> None:
    filled(hub)
    added(zoo, "author=ann")
    hub.faults["/api/models"] = fault
    report = again(zoo)
    assert report.status == "partial"
    assert "expected the hub to answer 'author=ann'" in report.failed["hub"]
    assert names(zoo) == ["ann/small", "ann/wide"]


def test_a_hub_that_is_away(hub: Hub, zoo: Zoo) -> None:
    filled(hub)
    added(zoo, "author=ann")
    hub.shutdown()
    hub.server_close()
    begun = time.monotonic()
    assert "cannot be reached" in again(zoo).failed["hub"]
    assert time.monotonic() - begun < 30
    assert names(zoo) == ["ann/small", "ann/wide"]


def test_what_was_fetched_is_not_fetched_again(hub: Hub, zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refresh that was killed has kept the headers that it read."""
    filled(hub)
    added(zoo, "author=ann")
    zoo.remove("hub")
    hub.asked.clear()
    assert len(added(zoo, "author=ann").new) == 2
    assert hub.of_files() == []
    zoo.remove("hub")
    shutil.rmtree(os.environ["ZOO_HEADERS"])
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE" in added(zoo, "author=ann").failed["hub"]
    assert hub.of_files() == []


def test_names_of_files_lead_nowhere_else(hub: Hub, zoo: Zoo, tmp_path: Path) -> None:
    for shard in ("../../../evil.safetensors", "/evil.safetensors", "a\\b"):
        index = {"weight_map": {"w": shard}}
        hub.repos["ann/evil"] = Repo({"model.safetensors.index.json": json.dumps(index).encode()})
        assert added(zoo, "ann/evil").failed
        zoo.remove("hub")
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize(
    "text", ["", "author=", "color=red", "limit=0", "limit=many,author=a", "a/b/c", "../x", "a b", "limit=5"]
)
def test_what_is_no_query_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="query of a hub"):
        parse_query(text)


def test_a_source_of_the_hub_is_fetched_at_its_commit(hub: Hub, zoo: Zoo) -> None:
    filled(hub)
    added(zoo, "author=ann")
    target = nets.mlp(3, 4, 2)
    _, report = zoo.transfer(target, "ann/small")
    assert report.coverage == 1
    expected = safetensors.torch.load(hub.repos["ann/small"].files["model.safetensors"])
    assert all(torch.equal(tensor, expected[name]) for name, tensor in target.state_dict().items())
    assert hub.of_files()[-1] == f"/ann/small/resolve/{hub.repos['ann/small'].commit}/model.safetensors"
    assert zoo.entry("ann/small")["available"]


def test_a_hub_on_the_command_line(hub: Hub, zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(hub)
    monkeypatch.setenv("ZOO_DB", str(tmp_path / "zoo.db"))

    def run(*arguments: str, code: int = 0) -> str:
        done = run_cli(*arguments, seconds=120)
        assert done.returncode == code, done.stderr
        return (done.stdout if code == 0 else done.stderr).decode()

    assert "2 architectures new" in run("add", "hub:author=ann", "--name", "ours")
    assert "downloads" in run("list", "--catalogue", "hub").splitlines()[0]
    assert "expected a query of a hub" in run("add", "hub:nosuch=1", code=2)
    run("remove", "ours")
    run("list", "--catalogue", "hub", code=1)
