"""Readers of foreign files, given damaged and hostile ones: a sound value or an error that says so, nothing else.

Never another exception, never a signal, a hang or memory far beyond the file, and nothing in a file is run. Files
are read in copies of this process, a batch at a time. A failure names the number that makes its file again.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import pickle
import pickletools
import random
import re
import resource
import shutil
import signal
import sqlite3
import struct
import time
import traceback
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nets
import numpy as np
import pytest
import safetensors.torch
import torch
import torch.distributed.checkpoint
from conftest import put
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import json_text, mutated_bytes, mutated_json, mutated_pickle, mutated_torch_zip, with_length

import transfer
from transfer.alignment.matching import match
from transfer.alignment.similarity import similarity
from transfer.errors import CheckpointError, ZooError
from transfer.planning.plans import plan_alignment
from transfer.structure.notation import from_values, to_values
from transfer.structure.standardization import FORMS
from transfer.weights.checkpoint import open_checkpoint
from transfer.weights.formats.safetensors_file import ORDER_KEY
from zoo_index._page import Page
from zoo_index._render import show_plan, show_report
from zoo_index.catalogues.transformers_structure import structure_beside
from zoo_index.contained.channel import Inbox
from zoo_index.contained.failures import error_from
from zoo_index.database.store import open_store
from zoo_index.index import vectors
from zoo_index.index.upkeep import embed
from zoo_index.metrics import read_results
from zoo_index.resolve import Resolved
from zoo_index.shown import ShownPlan, ShownReport
from zoo_index.zoo import Zoo

EXECUTIONS = {
    "safetensors": (2000, 100_000),
    "torch zip": (1000, 60_000),
    "torch zip bytes": (500, 20_000),
    "torch legacy": (1000, 30_000),
    "other formats": (1000, 20_000),
    "shards": (1500, 30_000),
    "csv": (3000, 100_000),
    "config": (50, 1_000),
    "messages": (1500, 30_000),
    "architectures": (1000, 15_000),
    "vectors": (1000, 50_000),
    "database": (150, 1_000),
}
"""Files that each reader is given: in every run (some forty seconds on one free core), and in the slow one."""

BATCH = 50
"""Files a process."""

MOST_SECONDS = 20
"""For one file of a few kilobytes: a hang, not a busy machine."""

MOST_MEMORY = 400 << 20
"""Bytes that a process may grow by while it reads a batch of small files."""

Reader = Callable[[random.Random, Path], None]


def read_batch(reader: Reader, seeds: list[int], folder: Path) -> str:
    """Read files in a copy of this process; return what went wrong, empty if nothing did."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reads)
            _read_all(reader, seeds, folder, writes)
        finally:
            os._exit(0)
    os.close(writes)
    told = b""
    while piece := os.read(reads, 1 << 16):
        told += piece
    os.close(reads)
    _, status = os.waitpid(child, 0)
    begun, _, failed = told.decode(errors="replace").partition("!")
    if os.WIFSIGNALED(status):
        return f"seed {seeds[len(begun) - 1]}: signal {os.WTERMSIG(status)}"
    if not failed and len(begun) != len(seeds):
        return f"seed {seeds[len(begun) - 1]}: the process ended"
    return failed and f"seed {seeds[len(begun) - 1]}: {failed}"


def _read_all(reader: Reader, seeds: list[int], folder: Path, writes: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process: an exception could be caught by what hangs
    for seed in seeds:
        os.write(writes, b".")
        signal.alarm(MOST_SECONDS)
        try:
            reader(random.Random(seed), folder)
        except ZooError:
            pass
        except BaseException:
            os.write(writes, b"!" + traceback.format_exc().encode(errors="replace"))
            return
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
        if grown > MOST_MEMORY:
            os.write(writes, f"!it took {grown >> 20} MiB".encode())
            return
    if (folder / "marker").exists():
        os.write(writes, b"!the file was run")


def fuzz(name: str, n: int, reader: Reader, folder: Path) -> None:
    """Let a reader read `n` files."""
    size = min(BATCH, n)

    @settings(max_examples=n // size, derandomize=True, deadline=None, database=None)
    @given(st.integers(0, 2**40))
    def read(first: int) -> None:
        failed = read_batch(reader, [first * size + i for i in range(size)], folder)
        assert not failed, f"{name}, {failed}"

    begun = time.monotonic()
    read()
    print(f"{name}: {n} executions in {time.monotonic() - begun:.1f} s")


def lanes(name: str) -> Any:
    fast, slow = EXECUTIONS[name]
    mark = [pytest.mark.slow, pytest.mark.timeout(3600)]
    return pytest.mark.parametrize("n", [fast, pytest.param(slow, marks=mark)])


# weights ------------------------------------------------------------------------------------------------------


def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    made = nets.conv_net(4, 2).state_dict()
    return {**made, "table": torch.arange(6), "half": torch.ones(2, 3).half()}


def torch_files(*, legacy: bool) -> list[bytes]:
    """Plain, wrapped, shared, transposed, with attributes, averaged, with an optimizer, and of other kinds."""
    plain = state()
    module = nets.conv_net(4, 2)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    odd = torch.nn.Parameter(torch.ones(2, 2))
    odd.no_decay = True  # type: ignore[attr-defined]
    shared = torch.ones(4, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on its way out of torch, but not out of files
        quantized = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
        rows = torch.eye(3).to_sparse_csr()
    contents: list[Any] = [
        plain,
        {"state_dict": plain, "epoch": 3, "args": {"lr": 0.1, "names": ["a", "b"]}},
        {"model": plain, "optimizer": optimizer.state_dict(), "bytes": b"abc", "size": torch.Size([2])},
        {"a": shared, "b": shared.t(), "c": shared[1:], "d": torch.ones(1).expand(4), "p": odd},
        {"net": dict(module.named_parameters()), "params_ema": plain},
        {"model": module, "args": argparse.Namespace(lr=0.1), "metric": np.float64(1.5)},
        {"model": {name: tensor.numpy() for name, tensor in state().items()}, "path": Path("x")},
        {"q": quantized, "s": torch.eye(3).to_sparse(), "c": rows, "w": shared},
    ]
    packed = []
    for content in contents:
        file = io.BytesIO()
        torch.save(content, file, _use_new_zipfile_serialization=not legacy)
        packed.append(file.getvalue())
    return packed


def check_weights(path: Path) -> None:
    """Read everything that a file claims to hold, and its structure."""
    checkpoint = open_checkpoint(path)
    assert checkpoint.header
    size = sum(file.stat().st_size for file in path.parent.iterdir())
    with checkpoint.opened() as read:
        for name, signature in checkpoint.header.items():
            assert isinstance(name, str)
            assert all(type(n) is int and n >= 0 for n in signature.shape)
            value = read(name)
            assert tuple(value.shape) == signature.shape
            assert str(value.dtype) == f"torch.{signature.dtype}"
            assert value.numel() * value.element_size() <= size
            value.clone()
    assert transfer.standardize(checkpoint).fingerprint


def safetensors_reader() -> Reader:
    order = {ORDER_KEY: json.dumps(list(state())), "format": "pt"}
    files = [safetensors.torch.save(state()), safetensors.torch.save(state(), metadata=order)]

    def read(rng: random.Random, folder: Path) -> None:
        data = rng.choice(files)
        end = 8 + int.from_bytes(data[:8], "little")
        if rng.random() < 0.7:
            header = json_text(mutated_json(rng, json.loads(data[8:end])))
            data = with_length(header, data[end:])
        else:
            data = mutated_bytes(rng, data, files)
        path = folder / rng.choice(("w.safetensors", "w.bin"))
        path.write_bytes(data)
        check_weights(path)

    return read


@lanes("safetensors")
def test_safetensors(n: int, tmp_path: Path) -> None:
    fuzz("safetensors", n, safetensors_reader(), tmp_path)


def zip_reader(folder: Path, *, is_behind_the_container: bool) -> Reader:
    files = torch_files(legacy=False)
    command = f"touch {folder / 'marker'}"

    def read(rng: random.Random, folder: Path) -> None:
        data = rng.choice(files)
        if is_behind_the_container:
            data = mutated_torch_zip(rng, data, files, command)
        else:
            data = mutated_bytes(rng, data, files)
        (folder / "w.pth").write_bytes(data)
        check_weights(folder / "w.pth")

    return read


@lanes("torch zip")
def test_torch_zip_behind_its_container(n: int, tmp_path: Path) -> None:
    fuzz("torch zip", n, zip_reader(tmp_path, is_behind_the_container=True), tmp_path)


@lanes("torch zip bytes")
def test_torch_zip(n: int, tmp_path: Path) -> None:
    fuzz("torch zip bytes", n, zip_reader(tmp_path, is_behind_the_container=False), tmp_path)


@lanes("torch legacy")
def test_torch_legacy(n: int, tmp_path: Path) -> None:
    files = torch_files(legacy=True)
    command = f"touch {tmp_path / 'marker'}"

    def read(rng: random.Random, folder: Path) -> None:
        data = rng.choice(files)
        if rng.random() < 0.7:
            pickles, rest = split_pickles(data)
            at = rng.choice((3, 3, 3, rng.randrange(len(pickles))))
            others = [split_pickles(other)[0][3] for other in files]
            pickles[at] = mutated_pickle(rng, pickles[at], others, command)
            data = b"".join(pickles) + rest
        else:
            data = mutated_bytes(rng, data, files)
        (folder / "w.pth").write_bytes(data)
        check_weights(folder / "w.pth")

    fuzz("torch legacy", n, read, tmp_path)


def split_pickles(data: bytes) -> tuple[list[bytes], bytes]:
    """Split a legacy file: a magic number, a version, the system, what was saved, the storages, and their bytes."""
    file = io.BytesIO(data)
    found = []
    for _ in range(5):
        start = file.tell()
        for _ in pickletools.genops(file):
            pass
        found.append(data[start : file.tell()])
    return found, data[file.tell() :]


def other_files(folder: Path) -> dict[str, bytes]:
    """Files of other formats, by name; a distributed folder by its metadata."""
    import h5py
    import onnx

    arrays = {name.replace(".", "/"): tensor.numpy() for name, tensor in state().items()}
    np.savez(folder / "w.npz", **arrays)
    np.savez_compressed(folder / "c.npz", **arrays)
    with h5py.File(folder / "w.h5", "w") as file:
        for name, array in arrays.items():
            file[name] = array
    initial = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items() if array.ndim]
    onnx.save(
        onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], initializer=initial)), folder / "w.onnx"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nets.conv_net(4, 2)), folder / "w.pt")
        torch.distributed.checkpoint.save({"model": state()}, checkpoint_id=str(folder / "saved"))
    (folder / "m.pkl").write_bytes(pickle.dumps({"model": dict(arrays), "module": nets.conv_net(4, 2)}))
    return {path.name: path.read_bytes() for path in (*folder.glob("*.*"), folder / "saved" / ".metadata")}


@lanes("other formats")
def test_other_formats(n: int, tmp_path: Path) -> None:
    pristine = tmp_path / "pristine"
    pristine.mkdir()
    files = other_files(pristine)
    command = f"touch {tmp_path / 'marker'}"

    def read(rng: random.Random, folder: Path) -> None:
        name = rng.choice(sorted(files))
        data = files[name]
        if name in (".metadata", "m.pkl") and rng.random() < 0.7:
            data = mutated_pickle(rng, data, [files["m.pkl"], files[".metadata"]], command)
        else:
            data = mutated_bytes(rng, data, [data])
        path = (pristine / "saved" if name == ".metadata" else folder) / name
        path.write_bytes(data)
        check_weights(path)

    fuzz("other formats", n, read, tmp_path)


@lanes("shards")
def test_shards(n: int, tmp_path: Path) -> None:
    half = len(state()) // 2
    parts = [dict(list(state().items())[:half]), dict(list(state().items())[half:])]
    safetensors.torch.save_file(parts[0], tmp_path / "1.safetensors")
    torch.save(parts[1], tmp_path / "2.bin")
    (tmp_path / "folder").mkdir()
    index = {
        "metadata": {"total_size": 1},
        "weight_map": {k: f for f, p in zip(("1.safetensors", "2.bin"), parts, strict=True) for k in p},
    }

    def read(rng: random.Random, folder: Path) -> None:
        text = json_text(mutated_json(rng, index)) if rng.random() < 0.7 else mutated_bytes(rng, json_text(index))
        text = text.replace(
            b'"../x"', rng.choice((b'"folder"', b'"2.bin"', b'"/1.safetensors"', b'"./1.safetensors"', b'"../x"'))
        )
        (folder / "m.index.json").write_bytes(text)
        check_weights(folder / "m.index.json")

    fuzz("shards", n, read, tmp_path)


# what lies beside weights, and results ----------------------------------------------------------------------------


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


# the index --------------------------------------------------------------------------------------------------------


@lanes("vectors")
def test_vector_files(n: int, tmp_path: Path) -> None:
    rng_ = np.random.default_rng(0)
    rows, ids = rng_.random((20, 8), dtype=np.float32), np.arange(3, 23)
    stamp = vectors.Stamp("me", 1)
    files = [as_file(vectors.build(ids, rows), stamp, tmp_path / "whole")]
    path = tmp_path / "zoo.db.faiss"

    def read(rng: random.Random, folder: Path) -> None:
        path.write_bytes(mutated_bytes(rng, rng.choice(files), files))
        told = json.dumps({**asdict(stamp), "digest": vectors._digest(path)})  # of somebody who knows how
        if rng.random() < 0.1:
            told = mutated_bytes(rng, told.encode()).decode(errors="replace")
        vectors.stamp_path(path).write_text(told)
        vectors.is_altered(path, stamp)
        found = vectors.load(path, stamp)
        if found is not None:
            assert found.kind
            assert all(id_ >= 0 for id_ in found.search(rows[0], 5))

    fuzz("vectors", n, read, tmp_path)


def as_file(index: vectors.VectorIndex, stamp: vectors.Stamp, path: Path) -> bytes:
    assert vectors.save(index, path, stamp)
    return path.read_bytes()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of a few small networks."""
    path = tmp_path_factory.mktemp("made") / "zoo.db"
    store = open_store(path)
    networks = {"a": nets.conv_net(4, 2), "b": nets.conv_net(6, 3), "m": nets.mlp(3, 5)}
    ids = [put(store, name, network) for name, network in networks.items()]
    embedded = embed(store.reading, store.writing, ids)
    assert embedded.n == 3
    store.close()
    return path


@lanes("database")
def test_databases(n: int, tmp_path: Path, database: Path) -> None:
    """Any bytes, and any values in the rows of a sound file."""
    whole = database.read_bytes()
    forms = {form: transfer.standardize(nets.conv_net(5, 2), method=form) for form in ("paper", "dpiat")}
    target = Resolved("t", 3, forms)

    def read(rng: random.Random, folder: Path) -> None:
        for left in folder.iterdir():
            left.unlink()
        path = folder / "zoo.db"
        if rng.random() < 0.5:
            path.write_bytes(mutated_bytes(rng, whole, (whole,)) or b"x")
        else:
            path.write_bytes(whole)
            damage_rows(rng, path)
        zoo = Zoo(path)
        try:
            for ask in (
                zoo.entries,
                lambda: zoo.recommend(target),
                lambda: zoo.recommend(target, measure="paper"),
                lambda: zoo.recommend("a"),
            ):
                with contextlib.suppress(ZooError):
                    ask()
        finally:
            zoo.store.close()

    fuzz("database", n, read, tmp_path)


def damage_rows(rng: random.Random, path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("PRAGMA ignore_check_constraints = ON")
        tables = [
            row[0] for row in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        ]
        for _ in range(rng.choice((1, 1, 3))):
            table = rng.choice(tables)
            columns = [row[1] for row in raw.execute(f"PRAGMA table_info({table})")]
            column = rng.choice(columns)
            where = rng.choice(("", f" WHERE rowid % {rng.choice((1, 2, 3))} = 0"))
            old = raw.execute(f"SELECT {column} FROM {table}").fetchone()
            new: Any = rng.choice(
                (None, 0, 1, -1, 2**31, 2**62, 1.5, "", "x", b"", b"\xff", "[]", '["conv2d",[]]', "9" * 30)
            )
            if old and isinstance(old[0], bytes) and rng.random() < 0.7:
                new = mutated_bytes(rng, old[0])
            elif old and isinstance(old[0], str) and rng.random() < 0.5:
                new = mutated_bytes(rng, old[0].encode()).decode(errors="replace")
            with contextlib.suppress(sqlite3.Error, OverflowError):
                if rng.random() < 0.2:
                    raw.execute(f"DELETE FROM {table}{where}")
                else:
                    raw.execute(f"UPDATE {table} SET {column} = ?{where}", (new,))


# what was found ---------------------------------------------------------------------------------------------------


class Bare:
    """Is written as a call, and read as what that returns."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("attribute", ["numel", "storage_offset", "stride", "untyped_storage", "element_size"])
def test_attributes_of_tensors_that_hide_their_methods(attribute: str, tmp_path: Path) -> None:
    rebuilt = torch._utils._rebuild_parameter_with_state
    odd = Bare(rebuilt, torch.ones(2, 3), True, OrderedDict(), {attribute: 7})
    torch.save({"a": odd}, tmp_path / "w.pth")
    checkpoint = open_checkpoint(tmp_path / "w.pth")
    with checkpoint.opened() as read:
        assert torch.equal(read("a"), torch.ones(2, 3))


def test_an_index_with_many_names_twice_is_refused_at_once(tmp_path: Path) -> None:
    names = [f'"{i}": "x"' for i in range(300_000)]
    text = '{"weight_map": {' + ", ".join([*names, '"299999": "x"']) + "}}"
    (tmp_path / "m.index.json").write_text(text)
    begun = time.process_time()
    with pytest.raises(CheckpointError, match="occurs twice"):
        open_checkpoint(tmp_path / "m.index.json")
    assert time.process_time() - begun < 20


def test_a_plan_of_long_numbers_is_refused_at_once() -> None:
    planned = told()[0]
    planned["tensors"][0]["regions"] = [{"size": [10**4000] * 10_000}]
    with pytest.raises(ValueError, match="sizes"):
        ShownPlan.from_json(planned)
    with pytest.raises(ValueError, match="shown"):
        ShownPlan.from_json({**told()[0], "similarity": 10**400})


@pytest.mark.parametrize("n_flat", [1_000_000, 10])
def test_counts_of_a_vector_file_that_do_not_agree(n_flat: int, tmp_path: Path, monkeypatch: Any) -> None:
    """Faiss does not survive some of them."""
    monkeypatch.setattr(vectors, "MOST_FLAT", n_flat)
    stamp, path = vectors.Stamp("me", 1), tmp_path / "zoo.db.faiss"
    rows = np.random.default_rng(0).random((7000, 2), dtype=np.float32)
    whole = as_file(vectors.build(np.arange(7000), rows), stamp, path)
    found = vectors.load(path, stamp, 2)
    assert found is not None
    assert found.search(rows[0], 3).shape == (3,)
    assert vectors.load(path, stamp, 3) is None

    def put_number(rng: random.Random, folder: Path) -> None:
        data = bytearray(whole)
        at = rng.randrange(200) if rng.random() < 0.7 else rng.randrange(len(data) - 8)
        size = rng.choice((4, 8))
        number = rng.choice((0, 1, 2**20, 2**31 - 1, 2**40, 2**63 - 1)) & (256**size - 1)
        data[at : at + size] = number.to_bytes(size, "little")
        path.write_bytes(data)
        told = json.dumps({**asdict(stamp), "digest": vectors._digest(path)})
        vectors.stamp_path(path).write_text(told)
        taken = vectors.load(path, stamp, 2)
        if taken is not None:
            taken.search(rows[0], 3)

    assert not read_batch(put_number, list(range(300)), tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE block SET layer_ids = x''",
        "UPDATE block SET layer_ids = substr(layer_ids, 1, length(layer_ids) - 1)",
        "DELETE FROM block WHERE id = (SELECT max(id) FROM block)",
        "DELETE FROM layer WHERE id = (SELECT max(id) FROM layer WHERE form = 'paper')",
        "DELETE FROM layer",
        "UPDATE architecture SET n_params = 'many'",
        "UPDATE architecture SET n_dpiat = -1, n_paper = -1",
        "UPDATE architecture SET facts = x'789c'",
        "UPDATE entry SET position = 'first'",
        "UPDATE layer SET canonical = '1.5'",
    ],
)
def test_rows_that_nobody_wrote(damage: str, tmp_path: Path, database: Path) -> None:
    shutil.copy(database, tmp_path / "zoo.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "zoo.db")) as raw, raw:
        raw.execute("PRAGMA ignore_check_constraints = ON")
        raw.execute(damage)

    def ask(measure: str) -> Reader:
        target = Resolved("t", 3, {form: transfer.standardize(nets.conv_net(5, 2), method=form) for form in FORMS})

        def read(rng: random.Random, folder: Path) -> None:
            Zoo(tmp_path / "zoo.db").recommend(target, measure=measure)
            raise AssertionError("taken for whole")

        return read

    failed = [read_batch(ask(measure), [0], tmp_path) for measure in FORMS]
    assert not all(failed)
    assert all("taken for whole" in one for one in failed if one)


LAUGHS = b")" + b"q\0h\0\x86" * 60
"""A tuple of itself twice, and so on: its hash, or its text, would take for ever."""


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "instructions",
    [
        b"cbuiltins\nbytearray\n\x8a\x05" + (3 * 10**9).to_bytes(5, "little") + b"\x85R",
        b"}" + LAUGHS + b"K\1s",
        LAUGHS + b")R",
        LAUGHS + b")\x81",
        b"(" + text("storage") + b"ctorch\nFloatStorage\n" + LAUGHS + text("cpu") + b"K\3tQ",
        b"ctorch.serialization\n_get_layout\n" + LAUGHS + b"\x85R",
        b"ccollections\nOrderedDict\n)R" + text("a") + b"K\1s}" + text("items") + b"K\1sb",
        b"]q\0h\0a",
        b"c_codecs\nencode\n" + text("a") + text("punycode") + b"\x86R",
        b"ctorch.storage\nUntypedStorage\n\x8a\x05" + (3 * 10**9).to_bytes(5, "little") + b"\x85R",
    ],
    ids=["zeros", "key", "call", "new", "storage", "layout", "attributes", "itself", "encoding", "room"],
)
def test_pickles_that_ask_for_too_much(instructions: bytes, legacy: bool, tmp_path: Path) -> None:
    """In a process of its own: without a look at them first some take gigabytes, and others never end."""
    path = tmp_path / "w.pth"
    made = b"\x80\2" + instructions + b"."
    if legacy:
        pickles, rest = split_pickles(torch_files(legacy=True)[0])
        path.write_bytes(b"".join([*pickles[:3], made, pickles[4]]) + rest)
    else:
        with zipfile.ZipFile(io.BytesIO(torch_files(legacy=False)[0])) as whole, zipfile.ZipFile(path, "w") as file:
            for name in whole.namelist():
                file.writestr(name, made if name.endswith("data.pkl") else whole.read(name))

    def read(rng: random.Random, folder: Path) -> None:
        with pytest.raises(CheckpointError, match=r"is damaged, |and no tensors|found a list|are no names"):
            open_checkpoint(path)

    assert not read_batch(read, [0], tmp_path)


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
