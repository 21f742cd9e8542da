"""Weights files: what is read, what is refused, and that nothing is run on the way."""

from __future__ import annotations

import argparse
import ast
import io
import json
import os
import pickle
import random
import re
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn
from weights_files import assert_holds

from transfer.errors import CheckpointError
from transfer.weights.checkpoint import open_checkpoint
from transfer.weights.formats.safetensors_file import ORDER_KEY

ROOT = Path(__file__).parents[3]
NAMES = [f"blocks.{i}.fc.{role}" for i in range(12) for role in ("weight", "bias")]


def state(names: list[str] = NAMES) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = {name: (3, 2) if name.endswith("weight") else (3,) for name in names}
    return {name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}


def shuffled(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    names = list(tensors)
    random.Random(5).shuffle(names)
    return {name: tensors[name] for name in names}


def packed(content: object, *, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def test_safetensors_keeps_the_order_that_its_metadata_tells(tmp_path: Path) -> None:
    expected = shuffled(state())
    order = {ORDER_KEY: json.dumps(list(expected))}
    safetensors.torch.save_file(expected, tmp_path / "w.safetensors", metadata=order)
    assert_holds(tmp_path / "w.safetensors", expected)


@pytest.mark.parametrize(
    "order",
    [None, "", "no json", "7", '["blocks.0.fc.weight"]', json.dumps([[name] for name in NAMES]), "[" * 10**5],
    ids=["none", "empty", "text", "number", "incomplete", "nested", "deep"],
)
def test_safetensors_without_a_usable_order_is_read_in_natural_order(tmp_path: Path, order: str | None) -> None:
    metadata = {"format": "pt"} if order is None else {ORDER_KEY: order}
    safetensors.torch.save_file(shuffled(state()), tmp_path / "w.safetensors", metadata=metadata)
    natural = [f"blocks.{i}.fc.{role}" for i in range(12) for role in ("bias", "weight")]
    assert_holds(tmp_path / "w.safetensors", {name: state()[name] for name in natural})


def test_natural_order_takes_any_number(tmp_path: Path) -> None:
    names = ["a.0.weight", "a.2.weight", "a.010.weight", f"a.{'9' * 6000}.weight", "a.b.weight", "b.weight"]
    safetensors.torch.save_file(shuffled(state(names)), tmp_path / "w.safetensors")
    assert_holds(tmp_path / "w.safetensors", state(names))


def test_safetensors_is_known_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(safetensors.torch.save(state(["weight"])))
    assert_holds(tmp_path / "w.bin", state(["weight"]))


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.uint8,
        torch.bool,
        torch.complex64,
    ],
    ids=str,
)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_element_types_survive(tmp_path: Path, dtype: torch.dtype, suffix: str) -> None:
    tensors = {"a.weight": torch.arange(6).reshape(2, 3).to(dtype), "b.scale": torch.tensor(1).to(dtype)}
    path = tmp_path / f"w{suffix}"
    path.write_bytes(safetensors.torch.save(tensors) if suffix == ".safetensors" else packed(tensors))
    assert_holds(path, tensors)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: tensors,
        lambda tensors: {"state_dict": tensors},
        lambda tensors: {"model": tensors},
        lambda tensors: {"state_dict": tensors, "epoch": 3},
        lambda tensors: {"model": {"state_dict": tensors}, "step": torch.tensor(7)},
        lambda tensors: {name: nn.Parameter(tensor) for name, tensor in tensors.items()},
    ],
    ids=["plain", "state_dict", "model", "epoch", "twice", "parameters"],
)
def test_torch_files_are_read_in_the_order_of_registration(
    tmp_path: Path, wrap: Callable[[dict[str, torch.Tensor]], object], legacy: bool
) -> None:
    expected = shuffled(state())
    (tmp_path / "w.pth").write_bytes(packed(wrap(expected), legacy=legacy))
    assert_holds(tmp_path / "w.pth", expected)


class Evil:
    """Pickles as a call that makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


def with_header(header: object, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def deflated() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(packed(state()))) as source, zipfile.ZipFile(buffer, "w") as archive:
        for member in source.infolist():
            archive.writestr(member.filename, source.read(member), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def zipped(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "text")
    return buffer.getvalue()


def bad_files() -> dict[str, tuple[str, bytes, str]]:
    zip_, legacy = packed(state()), packed(state(), legacy=True)
    tensors = safetensors.torch.save(state())
    bomb = torch.zeros(1).as_strided((2**20, 2**20), (0, 0))
    one = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    files = {
        "empty": ("w.pth", b"", "empty file .*download it again"),
        "text": ("w.pth", b"hello, these are no weights\n", "weights file"),
        "text_safetensors": ("w.safetensors", b"hello, these are no weights\n", "weights file"),
        "html": ("w.pth", b"<!DOCTYPE html><html>404</html>", r"is none of these, it starts with b'<!DOCTYPE'"),
        "html_safetensors": ("w.safetensors", b"<!DOCTYPE html><html>404</html>", "weights file"),
        "one_byte": ("w.pth", b"a", "weights file"),
        "random": ("w.pth", random.Random(1).randbytes(5000), "weights file"),
        "random_safetensors": ("w.safetensors", random.Random(2).randbytes(5000), "weights file"),
        "garbage_header": ("w.safetensors", struct.pack("<Q", 20) + b"{garbage header!!!!}", "damaged"),
        "huge_header": ("w.safetensors", struct.pack("<Q", 2**60) + b"{}", "damaged"),
        "huge_header_bin": ("w.bin", struct.pack("<Q", 2**60) + b"{}", "damaged"),
        "header_list": ("w.safetensors", with_header([1, 2]), "damaged"),
        "no_tensors": ("w.safetensors", with_header({}), "expected a state dict .*no entries"),
        "offsets": ("w.safetensors", with_header({"a": {**one, "data_offsets": [0, 2**62]}}, bytes(4)), "damaged"),
        "overflow": ("w.safetensors", with_header({"a": {**one, "shape": [2**40] * 2}}, bytes(4)), "damaged"),
        "deep_name": ("w.safetensors", with_header({"a." * 3000 + "weight": one}, bytes(4)), "nested modules"),
        "namespace": ("w.pth", packed(argparse.Namespace(a=1)), "argparse.Namespace and no tensors"),
        "namespace_legacy": ("w.pth", packed(argparse.Namespace(a=1), legacy=True), "argparse.Namespace and no"),
        "list": ("w.pth", packed([torch.zeros(3)]), "expected a state dict .*found a list"),
        "tensor": ("w.pth", packed(torch.zeros(3)), "expected a state dict .*found a tensor without a name"),
        "empty_dict": ("w.pth", packed({}), "expected a state dict .*no entries"),
        "no_weights": ("w.pth", packed({"epoch": 3, "lr": 0.1}), "found a dict with 'epoch', 'lr' and no tensors"),
        "empty_nested": ("w.pth", packed({"state_dict": {}, "epoch": 3}), "'state_dict', 'epoch' and no tensors"),
        "deflated": ("w.pth", deflated(), "compressed members, .*unpack to any size"),
        "other_zip": ("w.pth", zipped("a.txt"), "an archive with 'a.txt'; unpack it"),
        "torchscript": ("w.pt", zipped("net/constants.pkl"), "an archive with 'net/constants.pkl'"),
        "strides": ("w.pth", packed({"a": bomb}), r"tensor 'a' of shape \(1048576, 1048576\) claims more"),
        "strides_legacy": ("w.pth", packed({"a": bomb}, legacy=True), "claims more than the file holds"),
        "sparse": ("w.pth", packed({"a": torch.eye(3).to_sparse()}), "dense tensors .*'a'"),
        "meta": ("w.pth", packed({"a": torch.zeros(3, device="meta")}), "dense tensors with values .*'a'"),
        "pickle": ("w.pth", pickle.dumps({"a": 1}), "found a dict with 'a' and no tensors"),
    }
    for i in (1, 8, 100, len(zip_) // 2, len(zip_) - 30, len(zip_) - 1):
        files[f"cut_zip_{i}"] = ("w.pth", zip_[:i], "weights file")
    for i in (1, 8, 100, len(legacy) // 2, len(legacy) - 30, len(legacy) - 1):
        files[f"cut_legacy_{i}"] = ("w.pth", legacy[:i], "damaged")
    for i in (1, 7, 8, 9, 100, len(tensors) // 2, len(tensors) - 1):
        files[f"cut_safetensors_{i}"] = ("w.safetensors", tensors[:i], "damaged")
    return files


@pytest.mark.parametrize(("name", "content", "message"), bad_files().values(), ids=bad_files())
def test_bad_files_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        open_checkpoint(path)
    assert f"'{path}'" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert path.read_bytes() == content


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"found nothing at .*nosuch.pth'; check the path"):
        open_checkpoint(tmp_path / "nosuch.pth")
    with pytest.raises(CheckpointError, match="is a folder"):
        open_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="Not a directory"):
        open_checkpoint(Path(__file__) / "w.pth")
    os.mkfifo(tmp_path / "pipe.pth")
    with pytest.raises(CheckpointError, match="is a pipe or a device"):
        open_checkpoint(tmp_path / "pipe.pth")


def test_nested_tensors_are_refused(tmp_path: Path) -> None:
    script = (
        "import sys, torch; "
        "torch.save({'a': torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])}, sys.argv[1])"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", script, str(tmp_path / "w.pth")], check=True)
    with pytest.raises(CheckpointError, match=r"dense tensors .*'a'"):
        open_checkpoint(tmp_path / "w.pth")


def test_the_payload_is_live(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Evil(tmp_path / "marker")))
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    "pack", [packed, lambda x: packed(x, legacy=True), pickle.dumps], ids=["zip", "legacy", "raw"]
)
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_payload_is_not_run(tmp_path: Path, pack: Callable[[object], bytes], name: str, nested: bool) -> None:
    marker = tmp_path / "marker"
    payload = {"state_dict": {**state(), "z": Evil(marker)}} if nested else Evil(marker)
    (tmp_path / name).write_bytes(pack(payload))
    if nested:
        assert set(open_checkpoint(tmp_path / name).header) == set(state())
    else:
        with pytest.raises(CheckpointError, match=r"weights file|no tensors"):
            open_checkpoint(tmp_path / name)
    assert not marker.exists()


def test_a_safe_file_with_damaged_bytes_never_gives_another_error(tmp_path: Path) -> None:
    files = {"z.pth": packed(state()), "l.pth": packed(state(), legacy=True), "s.safetensors": b""}
    files["s.safetensors"] = safetensors.torch.save(state())
    rng = random.Random(11)
    refused = 0
    for i in range(600):
        name, content = sorted(files.items())[i % 3]
        damaged = bytearray(content)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        (tmp_path / name).write_bytes(damaged)
        try:
            checkpoint = open_checkpoint(tmp_path / name)
            with checkpoint.opened() as read:
                assert all(
                    tuple(read(key).shape) == signature.shape for key, signature in checkpoint.header.items()
                )
        except CheckpointError:
            refused += 1
    assert 100 < refused < 600


def test_no_code_of_ours_unpickles() -> None:
    own = (ROOT / "zoo_index" / "engines").glob("*.py")  # what processes of one program tell each other
    for path in {*(ROOT / "transfer").rglob("*.py"), *(ROOT / "zoo_index").rglob("*.py")}.difference(own):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module in ("pickle", "torch", "torch.serialization"):
                assert not any(alias.name.startswith("load") for alias in node.names), path
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert not re.search(r"\b(c?[pP]ickle|dill|joblib)\.(loads?|Unpickler)$", called), path
                assert "allow_pickle" not in keywords, path
                assert called != "torch.load", path
