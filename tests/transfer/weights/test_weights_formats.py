"""Checkpoints beyond one plain file: averaged weights, shards with an index, views, and what claims too much."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nets
import pytest
import safetensors.torch
import torch
from click.testing import CliRunner
from torch import nn

import transfer
from transfer.errors import CheckpointError
from transfer.weights.checkpoint import open_checkpoint, save_module
from zoo_index.commands.main import cli

State = dict[str, torch.Tensor]


def state(seed: int, n_layers: int = 3) -> State:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"weight": (3, 2), "bias": (3,)}
    return {
        f"fc{i}.{role}": torch.rand(shapes[role], generator=generator) for i in range(n_layers) for role in shapes
    }


def prefixed(tensors: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def held(path: Path, **options: bool) -> State:
    checkpoint = open_checkpoint(path, **options)
    with checkpoint.opened() as read:
        found = {name: read(name).clone() for name in checkpoint.header}
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == {
        name: signature.shape for name, signature in checkpoint.header.items()
    }
    return found


def assert_same(found: State, expected: State) -> None:
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


PLAIN, AVERAGED = state(1), state(2)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": PLAIN, "state_dict_ema": AVERAGED, "epoch": 3},
        {"model_ema": AVERAGED, "model": PLAIN},
        {"model": PLAIN, "ema": {"module": AVERAGED, "updates": 3}},
        {"model": {"module": PLAIN, "model_ema": AVERAGED}},
        {**PLAIN, **prefixed(AVERAGED, "model_ema.")},
        {"params": PLAIN, "params_ema": AVERAGED},
    ],
    ids=["timm", "ema_first", "ema_module", "inner", "prefix", "params"],
)
def test_averaged_weights_are_taken_when_asked_for(tmp_path: Path, content: object, legacy: bool) -> None:
    path = tmp_path / "w.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    assert_same(held(path), PLAIN)
    assert_same(held(path, ema=True), AVERAGED)


def test_averaged_weights_beside_plain_ones_of_another_prefix(tmp_path: Path) -> None:
    both = {**prefixed(PLAIN, "model."), **prefixed(AVERAGED, "model_ema.module.")}
    torch.save({"state_dict": both}, tmp_path / "w.ckpt")
    safetensors.torch.save_file(both, tmp_path / "w.safetensors")
    for name in ("w.ckpt", "w.safetensors"):
        found = held(tmp_path / name, ema=True)
        assert {key.removeprefix("module."): value.tolist() for key, value in found.items()} == {
            key: value.tolist() for key, value in AVERAGED.items()
        }
        assert set(held(tmp_path / name)) == set(prefixed(PLAIN, "model."))


def test_averaged_weights_alone_are_taken_by_default(tmp_path: Path) -> None:
    torch.save({"model_ema": AVERAGED, "epoch": 3}, tmp_path / "w.pth")
    assert_same(held(tmp_path / "w.pth"), AVERAGED)


def test_a_layer_that_is_called_ema_is_a_layer(tmp_path: Path) -> None:
    tensors = {**PLAIN, "ema.scale": torch.ones(3)}
    torch.save(tensors, tmp_path / "w.pth")
    assert_same(held(tmp_path / "w.pth"), tensors)
    with pytest.raises(CheckpointError, match="found plain ones only"):
        open_checkpoint(tmp_path / "w.pth", ema=True)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "w.safetensors.index.json"])
def test_averaged_weights_that_are_not_there_are_refused(tmp_path: Path, name: str) -> None:
    torch.save({"model": PLAIN}, tmp_path / "w.pth")
    safetensors.torch.save_file(PLAIN, tmp_path / "w.safetensors")
    indexed(tmp_path, dict.fromkeys(PLAIN, "w.safetensors"), "w.safetensors.index.json")
    with pytest.raises(
        CheckpointError, match=r"expected averaged \(EMA\) weights in .*leave ema=True \(--ema\) out"
    ):
        open_checkpoint(tmp_path / name, ema=True)


def test_a_file_that_holds_itself_is_refused(tmp_path: Path) -> None:
    circle: dict[str, object] = {"epoch": 3}
    circle["model"] = circle
    torch.save(circle, tmp_path / "w.pth")
    for ema in (False, True):
        with pytest.raises(CheckpointError, match="found a dict with 'epoch', 'model' and no tensors"):
            open_checkpoint(tmp_path / "w.pth", ema=ema)


def test_transfer_and_command_line_take_averaged_weights(tmp_path: Path) -> None:
    plain, averaged = nets.randomise(nets.mlp(3, 4, 2), 1), nets.randomise(nets.mlp(3, 4, 2), 2)
    torch.save({"model": plain.state_dict(), "model_ema": averaged.state_dict()}, tmp_path / "w.pth")
    target = nets.mlp(3, 4, 2)
    transfer.transfer(tmp_path / "w.pth", target, ema=True)
    assert_same(target.state_dict(), averaged.state_dict())
    (tmp_path / "arch.py").write_text(
        "from torch import nn\n"
        "def build_model():\n    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))\n"
    )
    arguments = ["transfer", "-t", str(tmp_path / "arch.py"), "-s", str(tmp_path / "w.pth"), "--device", "cpu"]
    for options, expected in (([], plain), (["--ema"], averaged)):
        output = tmp_path / "out.safetensors"
        done = CliRunner().invoke(cli, [*arguments, "-o", str(output), *options])
        assert done.exit_code == 0, done.output
        assert_same(safetensors.torch.load_file(output), dict(sorted(expected.state_dict().items())))
    save_module(plain, tmp_path / "w.safetensors", {})
    arguments[4] = str(tmp_path / "w.safetensors")
    done = CliRunner().invoke(cli, [*arguments, "-o", str(tmp_path / "other.safetensors"), "--ema"])
    assert done.exit_code == 2
    assert "leave ema=True (--ema) out" in done.output
    assert not (tmp_path / "other.safetensors").exists()


def indexed(folder: Path, places: dict[str, str], name: str = "model.safetensors.index.json") -> Path:
    (folder / name).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    return folder / name


def sharded(folder: Path, suffix: str) -> tuple[Path, State]:
    tensors = state(1, 12)
    places = {}
    for i, names in enumerate((list(tensors)[:7], list(tensors)[7:])):
        file = f"model-{i}.{suffix}"
        part = {name: tensors[name] for name in names}
        if suffix == "safetensors":
            safetensors.torch.save_file(part, folder / file)
        else:
            torch.save(part, folder / file)
        places.update(dict.fromkeys(names, file))
    return indexed(folder, dict(sorted(places.items())), f"model.{suffix}.index.json"), tensors


def natural(tensors: State) -> State:
    return {f"fc{i}.{role}": tensors[f"fc{i}.{role}"] for i in range(12) for role in ("bias", "weight")}


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards_are_read_as_one(tmp_path: Path, suffix: str) -> None:
    index, tensors = sharded(tmp_path, suffix)
    assert_same(held(index), natural(tensors))
    assert_same(held(tmp_path), natural(tensors))
    target = nets.mlp(2, 3)
    transfer.transfer(tmp_path, target)
    assert torch.equal(target[0].weight, tensors["fc0.weight"])


def test_of_two_formats_in_a_folder_the_safer_is_taken(tmp_path: Path) -> None:
    sharded(tmp_path, "bin")
    index, _ = sharded(tmp_path, "safetensors")
    assert open_checkpoint(tmp_path).path == index


def test_a_folder_with_several_indexes_is_ambiguous(tmp_path: Path) -> None:
    sharded(tmp_path, "safetensors")
    indexed(tmp_path, {"a": "b"}, "other.safetensors.index.json")
    with pytest.raises(
        CheckpointError, match=r"expected one index .*'model\.saf.*', 'other\.saf.*'; name the file"
    ):
        open_checkpoint(tmp_path)


def test_shards_may_be_links_as_in_the_cache_of_a_hub(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    index, tensors = sharded(tmp_path / "snapshot", "safetensors")
    for i, file in enumerate(sorted((tmp_path / "snapshot").iterdir())):
        file.rename(tmp_path / "blobs" / str(i))
        file.symlink_to(tmp_path / "blobs" / str(i))
    assert_same(held(index), natural(tensors))


OUTSIDE = [
    "/etc/passwd",
    "../w.safetensors",
    "a/../../w.safetensors",
    "..\\w.safetensors",
    "C:\\w",
    "C:w",
    "\\w",
    "",
    ".",
]


@pytest.mark.parametrize("file", OUTSIDE)
def test_shards_elsewhere_are_refused(tmp_path: Path, file: str) -> None:
    (tmp_path / "in").mkdir()
    safetensors.torch.save_file(PLAIN, tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"expected shards beside their index .*do not trust this file"):
        open_checkpoint(indexed(tmp_path / "in", dict.fromkeys(PLAIN, file)))


@pytest.mark.parametrize("file", ["nosuch.safetensors", "a\0b", "w" * 300, "folder"])
def test_missing_shards_are_refused(tmp_path: Path, file: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(
        CheckpointError, match=r"expected all shards beside their index .*is missing; download it too"
    ):
        open_checkpoint(indexed(tmp_path, dict.fromkeys(PLAIN, file)))


def test_an_index_that_names_indexes_is_refused(tmp_path: Path) -> None:
    sharded(tmp_path, "safetensors")
    outer = indexed(tmp_path, {"fc0.weight": "model.safetensors.index.json"}, "outer.index.json")
    with pytest.raises(
        CheckpointError,
        match=r"expected weights files as the shards of .*another index, 'model\.safetensors\.index",
    ):
        open_checkpoint(outer)


def remap(index: Path, change: Callable[[dict[str, str]], None]) -> None:
    content = json.loads(index.read_text())
    change(content["weight_map"])
    index.write_text(json.dumps(content))


def test_a_shard_that_lacks_a_tensor_is_refused(tmp_path: Path) -> None:
    index, _ = sharded(tmp_path, "safetensors")
    remap(index, lambda places: places.update({"fc99.weight": "model-1.safetensors"}))
    with pytest.raises(CheckpointError, match=r"expected tensor 'fc99\.weight' in shard 'model-1\.safetensors'"):
        open_checkpoint(index)
    remap(index, lambda places: places.pop("fc99.weight") and None)
    remap(index, lambda places: places.update({"fc0.weight": "model-1.safetensors"}))
    with pytest.raises(CheckpointError, match=r"expected tensor 'fc0\.weight' in shard 'model-1\.safetensors'"):
        open_checkpoint(index)


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    index, tensors = sharded(tmp_path, "safetensors")
    last = {name: tensors[name] for name in [*list(tensors)[7:], "fc0.weight"]}
    safetensors.torch.save_file(last, tmp_path / "model-1.safetensors")
    with pytest.raises(CheckpointError, match=r"every tensor in one shard .*'fc0\.weight' is in 'model-0"):
        open_checkpoint(index)


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    index, _ = sharded(tmp_path, "safetensors")
    os.truncate(tmp_path / "model-1.safetensors", 100)
    with pytest.raises(CheckpointError, match=r"model-1\.safetensors' is damaged"):
        open_checkpoint(index)


@pytest.mark.parametrize(
    "text",
    [
        "{", "[]", "7", "null", "{}", '{"weight_map": {}}', '{"weight_map": []}', '{"weight_map": {"a": 7}}',
        '{"weight_map": {"a": "b", "a": "b"}}', '{"weight_map": {}, "weight_map": {"a": "b"}}', "[" * 10**5, "\xff",
    ],
)  # fmt: skip
def test_indexes_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.safetensors.index.json"
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(CheckpointError, match="expected an index of shards") as caught:
        open_checkpoint(path)
    assert len(str(caught.value).splitlines()) == 1


def test_an_empty_index_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.index.json").write_bytes(b"")
    with pytest.raises(CheckpointError, match="got an empty file"):
        open_checkpoint(tmp_path / "m.index.json")


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_views_that_overlap_or_stride_are_read(tmp_path: Path, legacy: bool) -> None:
    base = torch.arange(24.0)
    tensors = {
        "a": base.view(4, 6).t(),
        "b": base[3:15],
        "c": base[::2],
        "d": base.as_strided((3, 4), (2, 2)),
        "e": torch.ones(1).expand(5, 2),
        "f": torch.zeros(0, 3),
        "g": base.view(4, 6),
        "h": base.view(4, 6),
    }
    torch.save(tensors, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    assert_same(held(tmp_path / "w.pth"), tensors)


@pytest.mark.filterwarnings("ignore:ComplexHalf")
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_views_that_only_note_a_conjugate_or_a_sign_are_read(tmp_path: Path, legacy: bool) -> None:
    values = torch.complex(torch.arange(12.0), torch.arange(1.0, 13)).reshape(3, 4)
    tensors = {
        "a": values.conj(),
        "b": values.clone().conj().imag,
        "c": torch._neg_view(values.conj().t()),
        "d": torch._neg_view(torch.zeros(0, 3)),
        "e": torch._neg_view(torch.ones(3, dtype=torch.bfloat16)),
        "f": values.to(torch.complex128).mH,
        "g": values,
    }
    half = values.to(torch.complex32).conj()
    torch.save({**tensors, "h": half}, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    found = held(tmp_path / "w.pth")
    assert torch.equal(found.pop("h").to(torch.complex64), values.conj())
    assert not any(tensor.is_conj() or tensor.is_neg() for tensor in found.values())
    assert_same(found, tensors)


def lying(legacy: bool, old: bytes, new: bytes) -> bytes:
    """A file whose pickle claims another number of elements than are stored."""
    buffer = io.BytesIO()
    torch.save({"a": torch.zeros(77)}, buffer, _use_new_zipfile_serialization=not legacy)
    content = buffer.getvalue()
    assert old in content
    return content.replace(old, new)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_storage_that_is_larger_than_the_file_is_refused(tmp_path: Path, legacy: bool) -> None:
    # BININT1 77 is the number of elements of the storage and of the tensor. Beside the 308 bytes of a zip member
    # lie others of the same file, which a map would show.
    (tmp_path / "w.pth").write_bytes(lying(legacy, b"K\x4d", b"K\x60"))
    with pytest.raises(CheckpointError, match=r"damaged.*a storage that claims more"):
        open_checkpoint(tmp_path / "w.pth")


def test_only_the_pages_that_are_used_are_read_and_none_copied(tmp_path: Path) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc")
    rows = 2**15
    content = {"a.weight": torch.zeros(rows, 1024), "b.weight": torch.zeros(rows, 16)}
    module = nn.ModuleDict({name: nn.Module() for name in "ab"})
    for name in "ab":
        module[name].weight = nn.Parameter(content[f"{name}.weight"])
    safetensors.torch.save_file(content, tmp_path / "w.safetensors")
    torch.save(content, tmp_path / "w.pth")
    torch.save(module, tmp_path / "module.pt")  # whole, and the reader has no code of it
    paths = [str(tmp_path / name) for name in ("w.safetensors", "w.pth", "module.pt")]
    script = """
import os, sys, torch
from transfer.weights.checkpoint import open_checkpoint

def memory():
    lines = open("/proc/self/status").read().splitlines()
    kb = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith("Rss")}
    return kb["RssAnon"] / 1024, kb["RssFile"] / 1024

def measure(path):
    with open_checkpoint(path).opened() as read:
        read("b.weight").sum()  # whatever is loaded on first use
        anon, file = memory()
        total = read("a.weight", (slice(0, 1024), slice(0, 1024))).sum()
        few = memory()
        total = read("a.weight").sum()
        whole = memory()
    print(few[0] - anon, few[1] - file, whole[0] - anon, whole[1] - file, flush=True)

for path in sys.argv[1:]:  # each in a process of its own; torch is imported once for all
    if os.fork() == 0:
        measure(path)
        os._exit(0)
    os.wait()
"""
    done = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, text=True, check=True)
    figures = [list(map(float, line.split())) for line in done.stdout.splitlines()]
    assert len(figures) == len(paths), done.stderr
    for few_anon, few_file, whole_anon, whole_file in figures:
        assert few_anon < 16
        assert few_file < 64
        assert whole_anon < 16
        assert whole_file > 100
