"""What a killed writer leaves is removed by the next one; what a living one writes is not."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner

from transfer.processes import this_process
from transfer.weights.files import replacing
from zoo_index.commands.main import cli

ROOT = Path(__file__).parents[3]
WRITER = """
import sys, time
from pathlib import Path
from transfer.processes import this_process
from transfer.weights.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_bytes(b"half")
    temporary.with_name(".tmpAbCdEf").write_bytes(b"what a library writes before it renames")
    print("writing", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def writing(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that is in the midst of writing a file."""
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "writing\n"
        try:
            yield child
        finally:
            child.kill()


def left(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name.endswith(".tmp"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text("from torch import nn\nmodel = nn.Linear(3, 4)\n")
    torch.save({"weight": torch.ones(4, 3), "bias": torch.ones(4)}, "source.pth")
    return tmp_path


def transfer() -> None:
    done = CliRunner().invoke(cli, ["transfer", "-t", "net.py", "-s", "source.pth", "-o", "out.safetensors"])
    assert done.exit_code == 0, done.output
    assert torch.equal(safetensors.torch.load_file("out.safetensors")["bias"], torch.ones(4))


def test_what_a_killed_writer_left_goes_with_the_next_transfer(folder: Path) -> None:
    with writing(folder / "out.safetensors") as child:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert len(left(folder)) == 1
    transfer()
    assert not left(folder)


def test_a_killed_child_that_nobody_asked_after_counts_as_gone(folder: Path) -> None:
    with writing(folder / "out.safetensors") as child:
        child.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 30
        while " Z " not in Path(f"/proc/{child.pid}/stat").read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        transfer()
        assert not left(folder)


def test_a_living_writer_is_left_alone(folder: Path) -> None:
    with writing(folder / "out.safetensors") as child:
        transfer()
        assert len(left(folder)) == 1
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
        assert child.wait() == 0
    assert Path("out.safetensors").read_bytes() == b"half"  # the last one counts
    assert not left(folder)


def test_those_of_other_files_are_left_alone(folder: Path) -> None:
    with writing(folder / "out.safetensors.more") as child:
        child.send_signal(signal.SIGKILL)
        child.wait()
    Path(".out.safetensors.notes.tmp").write_text("somebody's own")
    transfer()
    assert len(left(folder)) == 2


def of_another_machine(folder: Path, age: float) -> Path:
    """What a writer of this moment would make on a machine of another name."""
    with replacing(folder / "out.safetensors") as temporary:
        name = temporary.parent.name
        temporary.write_bytes(b"x")
    made = folder / re.sub(r"\.[0-9a-f]{8}-\d+", ".00000000-1", name)
    made.mkdir()
    (made / "out.safetensors").write_bytes(b"half")
    for path in (made / "out.safetensors", made):
        os.utime(path, (time.time() - age,) * 2)
    return made


def test_another_machines_writer_is_trusted_for_a_day(folder: Path) -> None:
    made = of_another_machine(folder, 3600)
    transfer()
    assert made.is_dir()
    os.utime(made, (time.time() - 10 * 86400,) * 2)
    transfer()
    assert made.is_dir()  # its file is young
    os.utime(made / "out.safetensors", (time.time() - 10 * 86400,) * 2)
    transfer()
    assert not made.exists()


def test_a_process_number_that_is_used_again(folder: Path) -> None:
    with replacing(folder / "out.safetensors") as temporary:
        name = temporary.parent.name
    made = folder / re.sub(r"-\d+-(\w{8}\.tmp)$", r"-1-\1", name)  # our own number, begun at another time
    made.mkdir()
    transfer()
    assert not made.exists()


@pytest.mark.parametrize("name", ["n" * 255, "漢" * 85, "a.b", "-", "[x]*", "\udcff"])
def test_names_of_any_kind(folder: Path, name: str) -> None:
    with replacing(folder / name) as temporary:
        temporary.write_bytes(b"1")
    assert (folder / name).read_bytes() == b"1"
    assert not left(folder)


def write_and_fail(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(b"1")
        raise RuntimeError("no")


def test_nothing_is_left_after_an_error(folder: Path) -> None:
    with pytest.raises(RuntimeError, match="no"):
        write_and_fail(folder / "out.safetensors")
    assert not left(folder)
    assert not Path("out.safetensors").exists()


def test_a_process_of_somebody_else_is_told_by_when_it_began(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = this_process()
    assert mine.is_alive()

    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert mine.is_alive()
    assert not replace(mine, started=mine.started + 1).is_alive()
    assert replace(mine, machine="another").is_alive() is None
