"""Weights as they occur: of modules, arrays, other libraries, in any element type. All are read, none is run."""

from __future__ import annotations

import pickle
import subprocess
import sys
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nets
import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from weights_files import Configuration, assert_same, held

from transfer.errors import CheckpointError
from transfer.weights.checkpoint import open_checkpoint


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


def arrays(module: nn.Module) -> dict[str, np.ndarray[Any, Any]]:
    return {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}


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

folder = sys.argv[1]
rank = int(os.fork() == 0)  # torch is imported once for both
dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
mesh = init_device_mesh("cpu", (2,))
whole = torch.arange(35.0).reshape(7, 5)
parts = {name: distribute_tensor(whole, mesh, [Shard(i)]) for i, name in enumerate("wv")}
dcp.save({"model": parts}, checkpoint_id=folder + "/saved")
dist.barrier()
status = os.wait()[1] if rank == 0 else 0
os._exit(bool(status))  # torch's threads may still be at work, and abort a process that ends the usual way
"""


def test_parts_of_several_processes_are_put_together(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "ignore", "-c", TWO_PROCESSES, str(tmp_path)]
    done = subprocess.run(command, stderr=subprocess.PIPE, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
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
