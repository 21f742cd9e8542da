"""Checkpoints as they occur: of training scripts, other libraries, whole modules. All are read, none is run."""

from __future__ import annotations

import argparse
import pickle
import struct
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
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
import sys, torch
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
dist.destroy_process_group()
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
