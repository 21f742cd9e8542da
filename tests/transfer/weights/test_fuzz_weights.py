"""Weights files of every format, damaged and hostile (see `fuzzing`)."""

from __future__ import annotations

import argparse
import io
import json
import pickle
import pickletools
import random
import struct
import time
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import nets
import numpy as np
import pytest
import safetensors.torch
import torch
import torch.distributed.checkpoint
from fuzzing import Reader, fuzz, lanes, read_batch
from mutations import json_text, mutated_bytes, mutated_json, mutated_pickle, mutated_torch_zip, with_length

import transfer
from transfer.errors import CheckpointError
from transfer.weights.checkpoint import open_checkpoint
from transfer.weights.formats.safetensors_file import ORDER_KEY


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
