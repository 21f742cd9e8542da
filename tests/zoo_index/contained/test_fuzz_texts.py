"""Texts of others, damaged and hostile (see `fuzzing`): results, configurations, answers of a target's process."""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import traceback
from pathlib import Path
from typing import Any

import nets
import pytest
import safetensors.torch
from fuzzing import fuzz, lanes, read_batch
from mutations import json_text, mutated_bytes, mutated_json

import transfer
from transfer.alignment.matching import match
from transfer.errors import ZooError
from transfer.planning.comparing import similarity
from transfer.planning.plans import plan_alignment
from transfer.structure.notation import from_values, to_values
from transfer.weights.checkpoint import open_checkpoint
from zoo_index.catalogues.transformers_structure import structure_beside
from zoo_index.contained.channel import Inbox
from zoo_index.contained.failures import error_from
from zoo_index.index.metrics import read_results
from zoo_index.reports.page import Page
from zoo_index.reports.plans import show_plan, show_report
from zoo_index.reports.shown import ShownPlan, ShownReport


@lanes("csv")
def test_results(n: int, tmp_path: Path) -> None:
    rows = [
        "model,img_size,top1,top1_err,top5,param_count,crop_pct,interpolation",
        "a.x,224,81.5,18.5,95.25,25.6,0.9,bicubic",
    ]
    rows += ['"b.y",224,79,21,94,5,1,x', "c,,1e1,,,,,", "", "é.z,6,7,8,9,1,2,3"]
    data = "\r\n".join(rows).encode()
    odd = (
        b"nan",
        b"-1",
        b"1e999",
        b'"',
        b"\0",
        b"101",
        b"9" * 5000,
        b"1_0",
        "٣".encode(),
        b",,,",
        b"\n",
        b"\xef\xbb\xbf",
    )

    def read(rng: random.Random, folder: Path) -> None:
        found = data
        if rng.random() < 0.6:
            cells = re.split(rb"([,\n])", data)
            for _ in range(rng.choice((1, 2, 4))):
                cells[rng.randrange(len(cells))] = rng.choice((*odd, *cells))
            found = b"".join(cells)
        if rng.random() < 0.5:
            found = mutated_bytes(rng, found, (data,))
        (folder / "results-x.csv").write_bytes(found)
        for row in read_results(folder / "results-x.csv"):
            assert row["name"].isprintable()
            assert 0 <= row["top1"] <= 100
            assert row["top5"] is None or 0 <= row["top5"] <= 100
            assert row["image_size"] is None or 0 <= row["image_size"] < 10**6

    fuzz("csv", n, read, tmp_path)


@pytest.fixture(scope="module")
def bert() -> Any:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16, vocab_size=11
    )
    return transformers.BertModel(config)


@lanes("config")
def test_configurations(n: int, tmp_path: Path, bert: Any) -> None:
    safetensors.torch.save_file(bert.state_dict(), tmp_path / "model.safetensors")
    checkpoint = open_checkpoint(tmp_path / "model.safetensors")
    config = {**bert.config.to_dict(), "architectures": ["BertModel"]}
    gpt = {
        "model_type": "gpt2",
        "architectures": ["GPT2Model"],
        "n_layer": 2,
        "n_head": 2,
        "n_embd": 8,
        "vocab_size": 11,
    }

    def read(rng: random.Random, folder: Path) -> None:
        chosen = rng.choice((config, gpt))
        text = json_text(mutated_json(rng, chosen)) if rng.random() < 0.9 else mutated_bytes(rng, json_text(chosen))
        (folder / "config.json").write_bytes(text)
        _, note = structure_beside(checkpoint)
        assert isinstance(note, str)

    fuzz("config", n, read, tmp_path)


# what the process of a target tells -------------------------------------------------------------------------------


def told() -> list[Any]:
    """A plan, a report, an error and a network, as values of JSON."""
    source, target = nets.conv_net(4, 2), nets.conv_net(6, 3)
    planned = transfer.plan(source, target).to_json()
    report = transfer.transfer(source, target).to_json()
    forms = {form: to_values(transfer.standardize(target, method=form)) for form in ("paper", "dpiat")}
    error = {"class": "InputError", "message": "expected a, got b", "traceback": "x"}
    found = [planned, report, error, {"name": "n", "n_params": 3, "forms": forms}]
    return json.loads(json.dumps(found, default=str))


def check_shown(values: Any, *, verbose: bool) -> None:
    """Read values as each kind of answer; what is taken for one can be shown."""
    kinds: Any = (
        (
            ShownPlan.from_json,
            lambda page, shown, verbose: show_plan(page, shown, source="a", target="b", verbose=verbose),
        ),
        (ShownReport.from_json, lambda page, shown, verbose: show_report(page, shown, verbose=verbose)),
    )
    for read, show in kinds:
        with contextlib.suppress(ValueError), contextlib.redirect_stdout(io.StringIO()):
            show(Page(), read(values), verbose)
    with contextlib.suppress(ValueError):
        assert isinstance(error_from(values, "net.py"), ZooError)


@lanes("messages")
def test_messages(n: int, tmp_path: Path) -> None:
    known = told()

    def read(rng: random.Random, folder: Path) -> None:
        text = json_text({"answer": mutated_json(rng, rng.choice(known))})
        data = b"zoo1" + len(text).to_bytes(8, "big") + text
        if rng.random() < 0.2:
            data = mutated_bytes(rng, data)
        inbox = Inbox()
        with contextlib.suppress(ValueError):
            for message in inbox.take(data):
                check_shown(message.get("answer"), verbose=rng.random() < 0.1)

    fuzz("messages", n, read, tmp_path)


@lanes("architectures")
def test_architectures(n: int, tmp_path: Path) -> None:
    network = told()[-1]
    others = [transfer.standardize(nets.conv_net(5, 2), method=form) for form in ("paper", "dpiat")]

    def read(rng: random.Random, folder: Path) -> None:
        values = json.loads(json_text(mutated_json(rng, network["forms"][rng.choice(("paper", "dpiat"))])))
        found = from_values(values)
        assert from_values(json.loads(json.dumps(to_values(found)))) == found
        assert found.fingerprint
        other = others[found.form == "dpiat"]
        assert 0 <= similarity(other, found, measure=found.form) <= 1
        if found.form == "dpiat":
            assert 0 <= plan_alignment(match(other, found), found).coverage <= 1

    def suppressed(rng: random.Random, folder: Path) -> None:
        try:
            read(rng, folder)
        except (ValueError, RecursionError) as error:
            if (
                any("from_values" in line for line in traceback.format_tb(error.__traceback__))
                or "json" in traceback.format_tb(error.__traceback__)[-1]
            ):
                return
            raise

    fuzz("architectures", n, suppressed, tmp_path)


# what was found ---------------------------------------------------------------------------------------------------


def test_a_plan_of_long_numbers_is_refused_at_once() -> None:
    planned = told()[0]
    planned["tensors"][0]["regions"] = [{"size": [10**4000] * 10_000}]
    with pytest.raises(ValueError, match="sizes"):
        ShownPlan.from_json(planned)
    with pytest.raises(ValueError, match="shown"):
        ShownPlan.from_json({**told()[0], "similarity": 10**400})


@pytest.mark.parametrize(
    "asked",
    [
        {"model_type": "gpt2", "architectures": ["GPT2Model"], "n_layer": 10**9},
        {"model_type": "gpt2", "architectures": ["GPT2Model"], "num_labels": 10**9},
        {"model_type": "bert", "architectures": ["BertModel"], "num_hidden_layers": 10**9},
        {"model_type": "swin", "architectures": ["SwinModel"], "depths": [10**9], "num_heads": [1]},
        {"model_type": "swin", "architectures": ["SwinModel"], "depths": [1] * 20_000, "num_heads": [1] * 20_000},
    ],
    ids=["layers", "labels", "hidden", "depths", "many"],
)
def test_a_configuration_that_asks_for_too_much(asked: dict[str, Any], tmp_path: Path, bert: Any) -> None:
    safetensors.torch.save_file(bert.state_dict(), tmp_path / "model.safetensors")
    checkpoint = open_checkpoint(tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(asked))

    def read(rng: random.Random, folder: Path) -> None:
        structure, note = structure_beside(checkpoint)
        assert structure is None
        assert "left out" in note

    assert not read_batch(read, [0], tmp_path)
