"""Compiled kernels are kept in a file, made again where that is damaged, done without where none can be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from transfer.alignment._machine_code import cached_file

SCRIPT = """
import sys
import numpy as np
from transfer.alignment import _kernels
from transfer.alignment._machine_code import cached_file
scores = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
print(_kernels.align_value(scores), _kernels.trace(scores).tolist(), cached_file(), "numba" in sys.modules)
"""


def run(folder: Path, **settings: str) -> list[str]:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(folder), **settings}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.startswith("2.06066017")  # (1 + 0.5) / sqrt(2) + 1
    assert "[[0, 0], [1, 0], [2, 1]]" in done.stdout
    return done.stdout.split()[-2:]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for machine code that holds what this process uses."""
    own = cached_file()
    assert own is not None
    (tmp_path / "zoo-kernels").mkdir()
    (tmp_path / "zoo-kernels" / own.name).write_bytes(own.read_bytes())
    return tmp_path


def test_a_process_that_finds_compiled_kernels_does_without_the_compiler(folder: Path) -> None:
    file, has_numba = run(folder)
    assert Path(file).parent.parent == folder
    assert has_numba == "False"


@pytest.mark.parametrize("damage", [b"", None])
def test_damaged_machine_code_is_made_again(folder: Path, damage: bytes | None) -> None:
    (file,) = (folder / "zoo-kernels").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-100] if damage is None else damage)
    assert run(folder)[1] == "True"
    assert file.read_bytes() == whole  # the compiler is deterministic
    assert run(folder)[1] == "False"


def test_where_nothing_can_be_written_every_process_compiles(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert run(tmp_path / "file" / "folder") == ["None", "True"]


def test_a_folder_that_cannot_be_looked_at_holds_no_machine_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / ("x" * 300)))
    assert cached_file() is None


@pytest.mark.parametrize(
    "setting",
    [
        "DISABLE_JIT=1",
        *(pytest.param(other, marks=pytest.mark.slow) for other in ("DEBUGINFO=1", "BOUNDSCHECK=1", "OPT=0")),
    ],
)
def test_what_is_set_for_the_users_own_functions_does_not_matter(tmp_path: Path, setting: str) -> None:
    name, value = setting.split("=")
    file, has_numba = run(tmp_path, **{f"NUMBA_{name}": value})
    assert has_numba == "True"
    assert Path(file).parent.parent == tmp_path
    assert run(tmp_path)[1] == "False"
