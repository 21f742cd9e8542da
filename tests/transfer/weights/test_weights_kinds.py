"""Checkpoints as they occur: of training scripts, other libraries, whole modules. All are read, none is run."""

from __future__ import annotations

import argparse
import io
import pickle
import struct
import subprocess
import sys
import tracemalloc
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import nets
import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from transfer.errors import CheckpointError
from transfer.weights.checkpoint import open_checkpoint
from transfer.weights.holdings import inspect

State = dict[str, torch.Tensor]


class AttributeDict(dict[str, Any]):
    """As Lightning's, which is a dict of its own."""


class Configuration:
    """As anybody's."""

    def __init__(self) -> None:
        self.lr, self.path = 0.1, Path("here")


class Detector(nn.Module):
    """A module of code that the reader does not have, with whatever modules have."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nets.conv_net(4, 2)
        self.heads = nn.ModuleList([nn.Linear(4, 2), nn.Linear(4, 2)])
        self.scale = nn.Parameter(torch.rand(3))
        self.register_buffer("anchors", torch.rand(2, 2))
        self.register_buffer("grid", torch.rand(2, 2), persistent=False)
        self.register_parameter("none", None)
        self.names, self.configuration = {0: "cat"}, Configuration()
        self.cached = torch.rand(9, 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.fixture(scope="module")
def module() -> nn.Module:
    torch.manual_seed(3)
    return nets.randomise(nets.conv_net(4, 2), 3)


@pytest.fixture(scope="module")
def optimizer(module: nn.Module) -> dict[str, Any]:
    made = torch.optim.AdamW(module.parameters())
    module(torch.ones(1, 3, 8, 8)).sum().backward()
    made.step()
    return made.state_dict()


def held(path: Path, **options: Any) -> State:
    checkpoint = open_checkpoint(path, **options)
    with checkpoint.opened() as read:
        found = {name: read(name).clone() for name in checkpoint.header}
    for name, signature in checkpoint.header.items():
        assert tuple(found[name].shape) == signature.shape
        assert str(found[name].dtype) == f"torch.{signature.dtype}"
    return found


def assert_same(found: State, expected: State) -> None:
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert torch.equal(found[name], tensor), name


def arrays(module: nn.Module) -> dict[str, np.ndarray[Any, Any]]:
    return {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}


def timm_training(module: nn.Module, optimizer: Any) -> Any:
    return {
        "epoch": 3,
        "arch": "resnet18",
        "state_dict": module.state_dict(),
        "optimizer": optimizer,
        "version": 2,
        "args": argparse.Namespace(lr=0.1, opt="adamw", mean=(0.1, 0.2)),
        "amp_scaler": {"scale": 65536.0},
        "metric": np.float64(71.5),
    }


def lightning(module: nn.Module, optimizer: Any) -> Any:
    return {
        "epoch": 1,
        "pytorch-lightning_version": "2.1.0",
        "state_dict": module.state_dict(),
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best": torch.tensor(1.0)}},
        "optimizer_states": [optimizer],
        "hparams_name": "kwargs",
        "hyper_parameters": AttributeDict(configuration=Configuration(), path=Path("x")),
    }


def mmengine(module: nn.Module, optimizer: Any) -> Any:
    return {
        "meta": {"epoch": np.int64(3), "seed": np.float32(3)},
        "state_dict": module.state_dict(),
        "message_hub": {"log_scalars": [np.float64(1)]},
        "optimizer": optimizer,
    }


def resemblyzer(module: nn.Module, optimizer: Any) -> Any:
    return {"step": 3, "model_state": module.state_dict(), "optimizer_state": optimizer}


def of_its_own(module: nn.Module, optimizer: Any) -> Any:
    return {"run": {"weights of the best epoch": module.state_dict()}, "opt": [optimizer], "rng": torch.rand(5)}


def a_pair(module: nn.Module, optimizer: Any) -> Any:
    return module.state_dict(), {"epoch": 3}, Configuration()


SCRIPTS = {
    "timm": (timm_training, "state_dict"),
    "lightning": (lightning, "state_dict"),
    "mmengine": (mmengine, "state_dict"),
    "resemblyzer": (resemblyzer, "model_state"),
    "own": (of_its_own, "run.weights of the best epoch"),
    "pair": (a_pair, "0"),
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize(("make", "key"), SCRIPTS.values(), ids=SCRIPTS)
def test_training_checkpoints(
    tmp_path: Path, module: nn.Module, optimizer: Any, make: Callable[..., Any], key: str, legacy: bool
) -> None:
    torch.save(make(module, optimizer), tmp_path / "w.ckpt", _use_new_zipfile_serialization=not legacy)
    assert_same(held(tmp_path / "w.ckpt"), module.state_dict())
    assert (
        f"takes {key!r} of the file, {len(module.state_dict())} tensors"
        in open_checkpoint(tmp_path / "w.ckpt").note
    )
    assert_same(held(tmp_path / "w.ckpt", state=key), module.state_dict())


def test_one_of_several_is_taken_by_name(tmp_path: Path, module: nn.Module) -> None:
    other = nets.randomise(nets.conv_net(4, 2), 4).state_dict()
    torch.save(
        {"student": module.state_dict(), "teacher": other, "head": {"w.b": torch.rand(3)}}, tmp_path / "w.pth"
    )
    assert_same(held(tmp_path / "w.pth"), module.state_dict())
    assert_same(held(tmp_path / "w.pth", state="teacher"), dict(other))
    assert open_checkpoint(tmp_path / "w.pth").note.endswith("it also holds 'teacher', 'head'")
    with pytest.raises(
        CheckpointError, match=r"a state dict 'tutor' in .*, found 'student', 'teacher', 'head'; see: zoo"
    ):
        open_checkpoint(tmp_path / "w.pth", state="tutor")


def moments(names: Iterable[str], *averages: str) -> dict[str, State]:
    """Averages of an optimizer, larger than the network that they are beside."""
    return {average: {name: torch.rand(200, 200) for name in names} for average in averages}


def per_tensor(names: Iterable[str]) -> dict[str, State]:
    return {name: {"exp_avg": torch.rand(200, 200), "exp_avg_sq": torch.rand(200, 200)} for name in names}


OPTIMIZERS: dict[str, Callable[[list[str]], dict[str, Any]]] = {
    "optax": lambda names: {"opt_state": moments(names, "mu", "nu")},
    "optax without a name": lambda names: {"tx": {"0": {"count": torch.tensor(3), **moments(names, "mu", "nu")}}},
    "opt_state": lambda names: {"opt_state": moments(names, "exp_avg")},
    "opt": lambda names: {"opt": {"state": per_tensor(names)}},
    "adam": lambda names: {"adam": moments(names, "m", "v")},
    "averages": lambda names: moments(names, "exp_avg", "exp_avg_sq"),
    "averages of each tensor": lambda names: {"moments": per_tensor(names)},
    "two": lambda names: {"g_optim": moments(names, "m"), "netGoptimizer": moments(names, "m")},
}


@pytest.mark.parametrize("is_tree", [False, True], ids=["state_dict", "tree"])
@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_tensors_of_an_optimizer_are_never_taken(
    tmp_path: Path, make: Callable[[list[str]], dict[str, Any]], is_tree: bool
) -> None:
    layers = {f"l{i}": {"weight": torch.rand(2, 2), "bias": torch.rand(2)} for i in range(2)}
    flat = {f"{layer}.{name}": tensor for layer, held in layers.items() for name, tensor in held.items()}
    content = {"params": layers if is_tree else flat, "step": 3, **make(["l0", "l1"] if is_tree else list(flat))}
    torch.save(content, tmp_path / "w.pth")
    assert_same(held(tmp_path / "w.pth"), flat)
    states = inspect(tmp_path / "w.pth").states
    assert [state.key for state in states if state.kind != "optimizer"] == ["params"]
    with pytest.raises(CheckpointError, match="expected a state dict"):
        open_checkpoint(tmp_path / "w.pth", state=next(s.key for s in states if s.kind == "optimizer"))


def test_the_network_called_opt_is_no_optimizer(tmp_path: Path) -> None:
    content = {"qformer": {"a.weight": torch.rand(2)}, "opt_model": {"a.weight": torch.rand(3)}}
    torch.save(content, tmp_path / "w.pth")
    assert_same(held(tmp_path / "w.pth"), content["opt_model"])


WAYS: dict[str, Callable[[Any, Path], None]] = {
    "zip": lambda module, path: torch.save({"model": module}, path),
    "legacy": lambda module, path: torch.save({"model": module}, path, _use_new_zipfile_serialization=False),
    "pickle": lambda module, path: path.write_bytes(pickle.dumps({"epoch": 3, "ema": module})) and None,
    "pickle_2": lambda module, path: path.write_bytes(pickle.dumps([module], protocol=2)) and None,
    "alone": lambda module, path: torch.save(module, path),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_whole_module_gives_what_its_state_dict_would(tmp_path: Path, way: str) -> None:
    detector = Detector()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of modules without source
        WAYS[way](detector, tmp_path / "w.pt")
    assert_same(held(tmp_path / "w.pt"), detector.state_dict())


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_in_a_pickle(tmp_path: Path, module: nn.Module, protocol: int) -> None:
    odd = {
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "swapped": np.arange(5, dtype=">i4"),
        "strided": np.arange(12.0).reshape(3, 4)[:, ::2],
        "half": np.ones(3, np.float16),
        "flags": np.array([True, False]),
        "empty": np.zeros((0, 3)),
        "single": np.array(2.0),
    }
    content = {"model": {**arrays(module), **odd}, "names": np.array(["a"]), "__author__": "x"}
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    expected = {name: torch.from_numpy(np.array(v.astype(v.dtype.newbyteorder("=")))) for name, v in odd.items()}
    assert_same(held(tmp_path / "w.pkl"), {**module.state_dict(), **expected})


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("content", [dict, OrderedDict, lambda named: [named]], ids=["dict", "ordered", "list"])
def test_a_pickle_is_known_by_its_content(
    tmp_path: Path, module: nn.Module, content: Callable[[Any], Any], protocol: int
) -> None:
    (tmp_path / "w.pth").write_bytes(pickle.dumps(content(arrays(module)), protocol=protocol))
    assert_same(held(tmp_path / "w.pth"), module.state_dict())


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_a_torch_file_is_known_by_its_content(tmp_path: Path, module: nn.Module, legacy: bool) -> None:
    path = tmp_path / "w.safetensors"
    torch.save(module.state_dict(), path, _use_new_zipfile_serialization=not legacy)
    assert_same(held(path), module.state_dict())


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "compressed"])
def test_archives_of_arrays(tmp_path: Path, module: nn.Module, save: Callable[..., None]) -> None:
    named = {name.replace(".", "/"): array for name, array in arrays(module).items()}
    save(tmp_path / "w.npz", **named, fortran=np.asfortranarray(np.arange(6.0).reshape(2, 3)), text=np.array("a"))
    expected = {**module.state_dict(), "fortran": torch.arange(6.0, dtype=torch.float64).reshape(2, 3)}
    assert_same(held(tmp_path / "w.npz"), expected)


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "w.npz", a=np.zeros(10_000_000))
    with pytest.raises(CheckpointError, match="unpack to more than 64 times the file"):
        open_checkpoint(tmp_path / "w.npz")


@pytest.mark.parametrize("make", [torch.jit.script, lambda m: torch.jit.trace(m, torch.ones(1, 3, 8, 8))])
@pytest.mark.filterwarnings("ignore:.*torch.jit.*")
def test_programs_of_torchscript(tmp_path: Path, module: nn.Module, make: Callable[..., Any]) -> None:
    torch.jit.save(make(module.eval()), tmp_path / "w.pt")
    assert_same(held(tmp_path / "w.pt"), module.state_dict())


def test_a_folder_of_a_distributed_checkpoint(tmp_path: Path, module: nn.Module) -> None:
    script = (
        "import sys, torch; import torch.distributed.checkpoint as dcp; "
        "dcp.save({'model': torch.load(sys.argv[1]), 'optim': {'a': torch.ones(3)}}, checkpoint_id=sys.argv[2])"
    )
    torch.save(module.state_dict(), tmp_path / "w.pth")
    command = [sys.executable, "-W", "ignore", "-c", script, str(tmp_path / "w.pth"), str(tmp_path / "saved")]
    subprocess.run(command, check=True, capture_output=True)
    assert_same(held(tmp_path / "saved"), module.state_dict())
    next((tmp_path / "saved").glob("*.distcp")).unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        open_checkpoint(tmp_path / "saved")


TWO_PROCESSES = """
import os, sys, torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

rank, folder = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
mesh = init_device_mesh("cpu", (2,))
whole = torch.arange(35.0).reshape(7, 5)
parts = {name: distribute_tensor(whole, mesh, [Shard(i)]) for i, name in enumerate("wv")}
dcp.save({"model": parts}, checkpoint_id=folder + "/saved")
dist.barrier()
os._exit(0)  # torch's threads may still be at work, and end a process that goes the usual way with an abort
"""


def test_parts_of_several_processes_are_put_together(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", TWO_PROCESSES]
    running = [subprocess.Popen([*command, str(rank), str(tmp_path)], stderr=subprocess.PIPE) for rank in (0, 1)]
    for process in running:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said.decode()
    whole = torch.arange(35.0).reshape(7, 5)
    assert len(list((tmp_path / "saved").glob("*.distcp"))) == 2
    assert_same(held(tmp_path / "saved"), {"w": whole, "v": whole})


def test_keras_and_onnx(tmp_path: Path, module: nn.Module) -> None:
    h5py, onnx = pytest.importorskip("h5py"), pytest.importorskip("onnx")
    named = arrays(module)
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for name, array in named.items():
            file[name.replace(".", "/") + ":0"] = array
        file["optimizer_weights/a"] = np.ones(3)
    found = held(tmp_path / "w.h5")
    assert {name: tensor.tolist() for name, tensor in found.items()} == {k: v.tolist() for k, v in named.items()}
    with zipfile.ZipFile(tmp_path / "w.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.write(tmp_path / "w.h5", "model.weights.h5")
    assert_same(held(tmp_path / "w.keras"), found)
    graph = onnx.helper.make_graph(
        [], "g", [], [], initializer=[onnx.numpy_helper.from_array(array, name) for name, array in named.items()]
    )
    onnx.save(onnx.helper.make_model(graph), tmp_path / "w.onnx")
    assert_same(held(tmp_path / "w.onnx"), module.state_dict())


ONNX_TYPES = ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "uint16", "bool")


@pytest.mark.parametrize("is_external", [False, True])
def test_any_element_type_of_onnx(tmp_path: Path, is_external: bool) -> None:
    onnx = pytest.importorskip("onnx")
    values = torch.arange(1000.0).remainder(7).reshape(10, 100)
    tensors = {name: values.to(getattr(torch, name)) for name in ONNX_TYPES}
    codes = {name: getattr(onnx.TensorProto, name.upper().replace("FLOAT8_", "FLOAT8")) for name in ONNX_TYPES}
    initializer = [
        onnx.helper.make_tensor(
            name, codes[name], tensor.shape, tensor.view(torch.uint8).numpy().tobytes(), raw=True
        )
        for name, tensor in tensors.items()
    ]
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], initializer=initializer))
    onnx.save(model, tmp_path / "w.onnx", save_as_external_data=is_external)
    found = held(tmp_path / "w.onnx")
    assert_same(
        {name: t.view(torch.uint8) for name, t in found.items()},
        {n: t.view(torch.uint8) for n, t in tensors.items()},
    )


def test_packed_types_of_onnx_are_refused_by_name(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    packed = onnx.helper.make_tensor("w", onnx.TensorProto.INT4, (2, 2), b"\1\1", raw=True)
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [packed])), tmp_path / "w.onnx")
    with pytest.raises(CheckpointError, match="got int4 tensor 'w'"):
        open_checkpoint(tmp_path / "w.onnx")


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", ["float4_e2m1fn_x2", "bits8"])
def test_packed_types_of_torch_are_refused_by_name(tmp_path: Path, name: str, legacy: bool) -> None:
    dtype = getattr(torch, name, None)
    if dtype is None:
        pytest.skip("this torch has no such type")
    content = {"a": torch.ones(3), "x.weight": torch.zeros(4, 4, dtype=torch.uint8).view(dtype)}
    torch.save(content, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(CheckpointError, match=f"got {name} tensor 'x.weight'"):
        open_checkpoint(tmp_path / "w.pth")


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_any_element_type(tmp_path: Path, suffix: str) -> None:
    names = (
        "bfloat16",
        "float8_e4m3fn",
        "float8_e5m2",
        "float16",
        "uint16",
        "uint32",
        "uint64",
        "complex64",
        "bool",
    )
    tensors = {name: torch.tensor([1.0, 0.0, 1.0]).to(getattr(torch, name)) for name in names}
    path = tmp_path / f"w.{suffix}"
    safetensors.torch.save_file(tensors, path) if suffix == "safetensors" else torch.save(tensors, path)
    found = held(path)
    assert {name: found[name].view(torch.uint8).tolist() for name in names} == {
        name: tensors[name].view(torch.uint8).tolist() for name in names
    }


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("layers.0.mlp.qweight", "GPTQ or AWQ"),
        ("layers.0.mlp.weight.absmax", "bitsandbytes"),
        ("layers.0.mlp.weight.quant_state.bitsandbytes__nf4", "bitsandbytes"),
        ("layers.0.mlp.weight_scale", "compressed-tensors"),
        ("layers.0.mlp.W_q", "HQQ"),
        ("layers.0.mlp.experts.gate_up_proj_blocks", "MXFP4"),
        ("layers.0.mlp.zero_point", "torch"),
    ],
)
def test_quantized_networks_are_refused_by_name(tmp_path: Path, name: str, what: str) -> None:
    tensors = {"embed.weight": torch.ones(3, 2), name: torch.ones(3, dtype=torch.uint8)}
    safetensors.torch.save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(
        CheckpointError, match=f"'{name}' shows that {what} quantized the network; take the weights"
    ):
        open_checkpoint(tmp_path / "w.safetensors")


def test_a_quantized_state_dict_is_refused(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on its way out of torch
        made = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(3, 3)), {nn.Linear})
        torch.save(made.state_dict(), tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="quantized"):
        open_checkpoint(tmp_path / "w.pth")


# nothing is run ---------------------------------------------------------------------------------------------------

CALLS = {
    "GLOBAL": b"cculprit\nrun\n)R",
    "STACK_GLOBAL": b"\x8c\x07culprit\x8c\x03run\x93)R",
    "INST": b"(iculprit\nrun\n",
    "OBJ": b"(cculprit\nrun\no",
    "NEWOBJ": b"cculprit\nThing\n)\x81",
    "NEWOBJ_EX": b"cculprit\nThing\n)}\x92",
    "BUILD": b"cculprit\nThing\n)\x81}b",
    "getattr": b"cbuiltins\ngetattr\ncculprit\nThing\nX\x03\0\0\0run\x86R)R",
    "system": b"cos\nsystem\nX\x0c\0\0\0touch marker\x85R",
    "eval": b"cbuiltins\neval\nX\x1a\0\0\0open('marker','w').close()\x85R",
    "reduce": b"ctorch._tensor\n_rebuild_from_type_v2\n(cculprit\nrun\ncculprit\nThing\n)}tR",
    "extension": b"\x82\x01)R",
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_nothing_of_a_pickle_is_imported_or_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: bytes
) -> None:
    culprit = (
        "open('marker', 'w').close()\ndef run(*_):\n    raise SystemError\nclass Thing:\n    __setstate__ = run\n"
    )
    (tmp_path / "culprit.py").write_text(culprit)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    values = struct.pack("<3f", 1, 2, 3)
    array = (
        b"X\x01\0\0\0acnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\x01b\x87R(K\1K\3\x85cnumpy\ndtype\n"
        b"X\x02\0\0\0f4\x89\x88\x87R(K\3X\x01\0\0\0<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89C\x0c"
        + values
        + b"tb"
    )
    (tmp_path / "w.pkl").write_bytes(b"\x80\4}(" + array + b"X\x01\0\0\0z" + call + b"u.")
    assert held(tmp_path / "w.pkl")["a"].tolist() == [1, 2, 3]
    assert "culprit" not in sys.modules
    assert not Path("marker").exists()


def text(value: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value


N = 200_000
ENCODED = b"c_codecs\nencode\n"
STORAGE = b"ctorch.storage\n_load_from_bytes\n"
ENTRIES = b"(" + b"".join(b"J" + struct.pack("<i", i) + b"N" for i in range(N // 10)) + b"d"
LEGACY = io.BytesIO()
torch.save(torch.zeros(N // 4).untyped_storage(), LEGACY, _use_new_zipfile_serialization=False)

BOMBS = {  # what is kept, as often as it is asked for
    "text": ENCODED + b"q\0" + text(b"a" * N) + b"q\1" + text(b"latin1") + b"q\2(" + b"h\0h\1h\2\x86R" * 1000,
    "names": text(b"a" * N) + b"q\1(" + b"h\1h\1\x93" * 1000,
    "list": b"cbuiltins\nlist\nq\0(" + b"N" * N + b"lq\1(" + b"h\0h\1\x85R" * 1000,
    "dict": b"ccollections\nOrderedDict\nq\0" + ENTRIES + b"q\1(" + b"h\0h\1\x85R" * 1000,
    "attributes": b"cm\nC\nq\0" + ENTRIES + b"q\1(" + b"h\0)\x81h\1b" * 1000,
    "array": b"cnumpy\ndtype\n" + text(b"u1") + b"\x85Rq\0" + text(b"a" * N) + b"q\1"
    b"cnumpy.core.multiarray\n_reconstruct\nq\2(" + b"h\2)R(K\1K\1\x85h\0Nh\1tb" * 1000,
    "storage": STORAGE + b"q\0B" + struct.pack("<I", len(LEGACY.getvalue())) + LEGACY.getvalue() + b"q\1("
    + b"h\0h\1\x85R" * 1000,
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_a_pickle_that_copies_without_end_is_refused(tmp_path: Path, bomb: bytes) -> None:
    (tmp_path / "w.pkl").write_bytes(b"\x80\4" + bomb + b"l.")
    tracemalloc.start()
    try:
        with pytest.raises(
            CheckpointError, match=r"found a pickle whose first [\d,]+ bytes make [\d,]+, more than weights need"
        ):
            open_checkpoint(tmp_path / "w.pkl")
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()


def test_storages_do_not_nest_in_one_another(tmp_path: Path) -> None:
    inner = b"\x80\2" + STORAGE + b"C\1a\x85R."
    (tmp_path / "w.pkl").write_bytes(b"\x80\4" + STORAGE + b"C" + bytes([len(inner)]) + inner + b"\x85R.")
    with pytest.raises(CheckpointError, match="something else than a storage"):
        open_checkpoint(tmp_path / "w.pkl")


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("value", [0, 200], ids=["ascii", "other"])
def test_large_values_in_any_protocol_are_not_taken_for_that(tmp_path: Path, protocol: int, value: int) -> None:
    values = np.full(3_000_000, value, np.uint8)
    content = {"a": values, "b": values.tobytes(), "c": torch.from_numpy(values)}
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    expected = torch.from_numpy(values)
    assert_same(held(tmp_path / "w.pkl"), {"a": expected, "c": expected})
