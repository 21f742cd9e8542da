"""Weights files that are written: what they hold, and that nothing is harmed where that fails."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from nets import TiedHead, randomise
from torch import nn
from weights_files import assert_holds

from transfer.errors import OutputError
from transfer.weights.checkpoint import open_checkpoint, save_module
from transfer.weights.files import check_writable, replacing
from transfer.weights.formats.safetensors_file import ORDER_KEY

ROOT = Path(__file__).parents[3]


def saved(module: nn.Module, path: Path) -> None:
    save_module(module, path, {"zoo.source": "test"})


def test_saved_tied_weights_load_strictly(tmp_path: Path) -> None:
    module = randomise(TiedHead(), 2)
    saved(module, tmp_path / "w.safetensors")
    loaded = TiedHead()
    loaded.load_state_dict(safetensors.torch.load_file(tmp_path / "w.safetensors"), strict=True)
    assert torch.equal(loaded.head.weight, module.embed.weight)
    assert loaded.head.weight is loaded.embed.weight
    assert_holds(tmp_path / "w.safetensors", dict(module.state_dict()))


class Views(nn.Module):
    """Parameters that share memory in part, are transposed, expanded or empty."""

    def __init__(self) -> None:
        super().__init__()
        base = torch.arange(12.0)
        self.z = nn.Parameter(base[:6].view(2, 3))
        self.y = nn.Parameter(base[4:])
        self.x = nn.Parameter(base[:6].view(2, 3).t())
        self.w = nn.Parameter(torch.zeros(0, 3))
        self.v = nn.Parameter(torch.zeros(0))
        self.register_buffer("u", torch.ones(1).expand(5))


def test_saved_views_hold_their_own_values(tmp_path: Path) -> None:
    module = Views()
    saved(module, tmp_path / "w.safetensors")
    assert_holds(tmp_path / "w.safetensors", dict(module.state_dict()))


def test_metadata_is_saved(tmp_path: Path) -> None:
    saved(nn.Linear(2, 2), tmp_path / "w.safetensors")
    with safetensors.safe_open(tmp_path / "w.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt", "zoo.source": "test", ORDER_KEY: '["weight", "bias"]'}


class OddState(nn.Module):
    """Its state dict holds one value of the caller's choice."""

    def __init__(self, value: torch.Tensor | None) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 2)
        if value is not None:
            self.odd = nn.Parameter(value, requires_grad=False)

    def get_extra_state(self) -> dict[str, int]:
        return {"calls": 3}


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (OddState(None), r"dense tensors with values .*'_extra_state'.*torch\.save"),
        (nn.Linear(2, 2, device="meta"), "dense tensors with values .*'weight'"),
        (nn.ParameterDict({"odd": nn.Parameter(torch.eye(2).to_sparse())}), "dense tensors .*'odd'"),
        (nn.Linear(2, 2, dtype=torch.complex128), r"element types .*complex128.*torch\.save"),
    ],
    ids=["extra", "meta", "sparse", "complex"],
)
def test_state_that_safetensors_cannot_hold_is_refused(tmp_path: Path, module: nn.Module, message: str) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"old")
    with pytest.raises(OutputError, match=message):
        saved(module, tmp_path / "w.safetensors")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"expected to write .*No such file or directory; choose another file"):
        saved(nn.Linear(2, 2), tmp_path / "nosuch" / "w.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_folder_or_pipe_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inner").write_bytes(b"old")
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(OutputError, match="folder, a pipe or a device of that name"):
            saved(nn.Linear(2, 2), tmp_path / name)
    assert (tmp_path / "folder" / "inner").read_bytes() == b"old"
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "pipe"]


def test_a_name_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="File name too long"):
        saved(nn.Linear(2, 2), tmp_path / ("w" * 300))


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    saved(nn.Linear(2, 2), path)
    old = path.read_bytes()
    script = (
        "import resource, sys\n"
        "from torch import nn\n"
        "from transfer.weights.checkpoint import save_module\n"
        "from transfer.errors import OutputError\n"
        "module = nn.Linear(500, 500)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "try:\n"
        "    save_module(module, sys.argv[1], {})\n"
        "except OutputError as error:\n"
        "    sys.exit(f'refused: {error}')\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], cwd=ROOT, capture_output=True, text=True)
    assert re.fullmatch(
        r"refused: expected to write '.*', failed: .*(large|I/O).*; choose another file.*\n", done.stderr
    )
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with replacing(path) as temporary:
            temporary.write_bytes(b"new")
            raise KeyboardInterrupt("by the user")

    with pytest.raises(KeyboardInterrupt, match="by the user"):
        interrupted()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_a_new_file_gets_the_usual_permissions(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        saved(nn.Linear(2, 2), tmp_path / "w.safetensors")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "w.safetensors").stat().st_mode) == mode


def test_a_replaced_file_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"old")
    path.chmod(0o604)
    saved(nn.Linear(2, 2), path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604
    assert open_checkpoint(path).header["weight"].shape == (2, 2)


def test_check_writable(tmp_path: Path) -> None:
    check_writable(tmp_path / "w.safetensors")
    check_writable(tmp_path / ("w" * 300))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="is a folder; name a file in it"):
        check_writable(tmp_path)
    with pytest.raises(OutputError, match="is a pipe or a device"):
        check_writable(tmp_path / "pipe")
    with pytest.raises(OutputError, match=r"expected an existing folder .*make it first"):
        check_writable(tmp_path / "nosuch" / "w.safetensors")
    with pytest.raises(OutputError, match="expected an existing folder"):
        check_writable(Path(__file__) / "w.safetensors")


def test_check_writable_refuses_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    if os.access(tmp_path, os.W_OK):
        pytest.skip("this user may write anywhere")
    with pytest.raises(OutputError, match="it is read-only; choose another file"):
        check_writable(tmp_path / "w.safetensors")
    with pytest.raises(OutputError, match="Permission denied"):
        saved(nn.Linear(2, 2), tmp_path / "w.safetensors")
