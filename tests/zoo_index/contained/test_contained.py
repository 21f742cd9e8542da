"""Whatever the code of a target does, the command answers or says on one line why not, and nothing is left."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from zoo_index.zoo.zoo import Zoo

ROOT = Path(__file__).parents[3]
PATIENCE = 60.0
"""Seconds that a command may take here at most; most take two."""

NET = """
import os, signal, subprocess, sys, time
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        torch.manual_seed(5)
        self.fc = nn.Linear(3, width)
        self.out = nn.Linear(width, 2)

    def forward(self, x):
        return self.out(self.fc(x))

"""
STARTED = """
import os, subprocess, sys, time
def start(*command, **options):
    with open("started", "a") as file:
        print(subprocess.Popen(command, **options).pid, file=file)
start("sleep", "1000")
start("sleep", "1000", start_new_session=True)
if not os.fork():  # a daemon: its parent is gone
    os.setsid()
    start("sleep", "1000", start_new_session=True)
    os._exit(0)
"""


@pytest.fixture
def folder(tmp_path: Path, small_index: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with an index and a source."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(small_index, "zoo.db")
    monkeypatch.setenv("ZOO_DB", str(tmp_path / "zoo.db"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    generator = torch.Generator().manual_seed(4)
    shapes = {"fc.weight": (4, 3), "fc.bias": (4,), "out.weight": (2, 4), "out.bias": (2,)}
    torch.save({name: torch.rand(shape, generator=generator) for name, shape in shapes.items()}, "good.pth")
    return tmp_path


@contextmanager
def started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command; nothing is left of it, whatever becomes of the test."""
    command = [sys.executable, "-m", "zoo_index", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="surrogateescape"
    ) as process:
        try:
            yield process
        finally:
            end_all([process.pid])
            pids = map(int, Path("started").read_text().split()) if Path("started").exists() else ()
            end_all([pid for pid in pids if is_living(pid) and psutil.Process(pid).cwd() == str(Path.cwd())])


def zoo(*arguments: str) -> subprocess.CompletedProcess[str]:
    with started(*arguments) as process:
        out, err = process.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def end_all(pids: list[int]) -> None:
    for pid in pids:
        if psutil.pid_exists(pid):
            for process in (*psutil.Process(pid).children(recursive=True), psutil.Process(pid)):
                process.kill()


def started_by_code(n: int) -> list[int]:
    """Processes that the code wrote down, once there are so many."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        found = Path("started").read_text().split() if Path("started").exists() else []
        if len(found) >= n:
            return list(map(int, found))
        time.sleep(0.02)
    raise AssertionError("the code was not run")


def is_living(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def assert_gone(pids: list[int]) -> None:
    until = time.monotonic() + 5
    while any(map(is_living, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    living = [pid for pid in pids if is_living(pid)]
    end_all(living)
    assert not living


def contents() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}


NO_TORCH = "import ctypes, os, signal, sys\n"
WRITE = """
for descriptor in range(3, 20):
    try:
        os.write(descriptor, {})
    except OSError:
        pass
"""
FAULTS = {
    "exit": ("sys.exit(3)", "'net.py' to run, it called exit(3) (line 2)"),
    "_exit": ("print('ready')\nos._exit(0)", "its process ended with exit status 0 before it answered"),
    "_exit_7": ("os._exit(7)", "ended with exit status 7"),
    "segfault": ("ctypes.string_at(0)", "ended by SIGSEGV (Segmentation fault)"),
    "killed": ("os.kill(os.getpid(), signal.SIGKILL)", "ended by SIGKILL"),
    "kills_its_group": ("os.killpg(0, signal.SIGTERM)", "ended by SIGTERM"),
    "loop": ("while True:\n    pass", "at most 3 s for a step, 'load and build' took longer; mend the code"),
    "deaf": (
        "signal.pthread_sigmask(0, signal.valid_signals())\nsum(range(10**16))",
        "allow more: ZOO_TARGET_SECONDS=30",
    ),
    "memory": ("x = [b'x' * 2**24 for _ in range(100)]\nsignal.pause()", "at most 200.0 MB of memory, it took"),
    "forks_memory": (
        "if not os.fork():\n    x = [b'x' * 2**24 for _ in range(100)]\n    signal.pause()\nos.wait()",
        "make it smaller, or allow more: ZOO_TARGET_MEMORY=1G",
    ),
    "rubbish": (WRITE.format(b"rubbish, and more of it"), "an answer about 'net.py', its process wrote something"),
    "no_json": (WRITE.format(b"zoo1" + (4).to_bytes(8, "big") + b"{}}{"), "its process wrote something else"),
    "forged": (
        WRITE.format(b"zoo1" + (16).to_bytes(8, "big") + b'{"answer": 1234}') * 2,
        "its process wrote something else (expected a network)",
    ),
    "closes_all": ("os.closerange(0, 1000)", "ended with exit status 1 before it answered (at 'load and build')"),
    "interrupt": ("raise KeyboardInterrupt", "its process raised KeyboardInterrupt; mend the code"),
    "no_class": ("x = 1", "found no build_model"),
    "syntax": ("def broken(:\n    pass", "it raised SyntaxError: invalid syntax (line 2)"),
    "names": ("type('\\x1b[31mred\\nNet', (), {})()", "found no build_model"),
}


@pytest.mark.parametrize(("code", "said"), FAULTS.values(), ids=FAULTS)
def test_faults(folder: Path, code: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("net.py").write_text(NO_TORCH + code + "\n")
    monkeypatch.setenv("ZOO_TARGET_SECONDS", "3" if " s for a step" in said or "SECONDS" in said else "50")
    monkeypatch.setenv("ZOO_TARGET_MEMORY", "200M" if "MEMORY" in said or "memory" in said else "20G")
    before = contents()
    done = zoo("similarity", "test_vit", "net.py")
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    *printed, last = done.stderr.splitlines()
    assert printed == (["ready"] if "ready" in code else [])
    assert last.startswith("Error: expected ")
    assert said in last
    assert contents() == before


def answer(target: str, *, is_gone: bool = False) -> dict[str, object]:
    with started("recommend", "-t", target, "-k", "2", "--json") as process:
        out, err = process.communicate(timeout=PATIENCE)
        if is_gone:
            assert_gone(started_by_code(3))
    assert process.returncode == 0, err
    found: dict[str, object] = json.loads(out)
    return {key: value for key, value in found.items() if key not in ("seconds", "target")}


@pytest.mark.slow
def test_code_that_changes_much_is_answered_like_code_that_does_not(folder: Path) -> None:
    """It forks and comes back twice, prints 200 MB, leaves daemons, and changes all that it can reach."""
    Path("plain.py").write_text(NET)
    Path("net.py").write_text(
        NET
        + STARTED
        + """
for _ in range(200):
    os.write(1, b"x" * 10**6)
os.fork()
os.chdir("/")
sys.path.clear()
torch.set_default_dtype(torch.float16)
torch.set_num_threads(1)
sys.stdout = sys.stderr = None
os.close(1)
"""
    )
    found = answer("net.py", is_gone=True)
    assert found == answer("plain.py")


def test_what_it_prints_is_shown_up_to_a_limit_and_spelt_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("net.py").write_text(
        NO_TORCH
        + r"""
print("HF_TOKEN" in os.environ, "MY_PASSWORD" in os.environ, os.environ["ZOO_TEST"], os.getcwd())
print("tab\tred \x1b[31m bell \x07 bar 1\rbar 2\x9b \u202e")
os.write(2, b"\xff\xfe caf\xc3\xa9\n")
while True:
    os.write(1, b"x" * 10**6)
    if os.path.getsize(__file__) == 0:
        os._exit(0)
    import time
    if time.monotonic() > END: os._exit(4)
""".replace("END", str(time.monotonic() + 3))
    )
    for name in ("HF_TOKEN", "MY_PASSWORD", "ZOO_TEST"):
        monkeypatch.setenv(name, "a")
    done = zoo("similarity", "test_vit", "net.py")
    lines = done.stderr.splitlines()
    assert lines[0] == f"False False a {folder}"
    assert lines[1:3] == ["tab\tred \\x1b[31m bell \\x07 bar 1", "bar 2\\x9b \\u202e"]
    assert lines[3] == "\\xff\\xfe café"
    assert lines[-2] == "(zoo: the target prints more than 1.0 MB, the rest is left out)"
    assert "exit status 4" in lines[-1]
    assert 2**20 <= len(done.stderr) < 2**20 + 1000


def test_odd_names_do_not_reach_the_terminal(folder: Path) -> None:
    Path("net.py").write_text(
        NET
        + r"""
class Odd(Net):
    def __init__(self):
        super().__init__()
        self.register_parameter("\x1b]0;title\x07", nn.Parameter(torch.zeros(3)))
Odd.__name__ = "\x1b[31mOdd"
def wrong():
    raise ValueError("\x1b[2J")
"""
    )
    done = zoo("plan", "-t", "net.py:Odd", "-s", "good.pth", "--verbose")
    assert done.returncode == 0, done.stderr
    assert "\\x1b]0;title\\x07" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    done = zoo("--debug", "similarity", "good.pth", "net.py:wrong")
    assert done.returncode == 1
    assert "In the process of the target:" in done.stderr
    assert "ValueError: \\x1b[2J" in done.stderr
    assert 'net.py", line' in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [(signal.SIGTERM, 143, ""), (signal.SIGINT, 130, "Interrupted."), (signal.SIGKILL, -9, "")],
)
def test_signals_to_the_command_end_everything(folder: Path, number: int, status: int, said: str) -> None:
    deaf = "import signal\nsignal.pthread_sigmask(0, signal.valid_signals())\nsum(range(10**16))\n"
    Path("net.py").write_text(STARTED + deaf)
    Path("out.safetensors").write_bytes(b"old")
    with started("transfer", "-t", "net.py", "-s", "good.pth", "-o", "out.safetensors") as process:
        pids = started_by_code(3)
        pids += [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
        assert any(path.is_dir() and path.name.startswith(".out.") for path in Path().iterdir())
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
        assert_gone(pids)
    assert process.returncode == status
    assert out == ""
    assert err.startswith(said)
    assert len(err.splitlines()) == bool(said)
    until = time.monotonic() + 5
    while time.monotonic() < until and sum(path.name.startswith(".") for path in Path().iterdir()):
        time.sleep(0.05)
    assert sorted(path.name for path in Path().iterdir()) == [
        *("good.pth", "net.py", "out.safetensors", "started", "zoo.db")
    ]
    assert Path("out.safetensors").read_bytes() == b"old"


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_that_gets_lost_is_noticed(folder: Path, number: int, status: int) -> None:
    """As it does in an import or a destructor, which tries something else after any failure."""
    Path("net.py").write_text("while True: pass")
    Path("command.py").write_text(
        f"""
import os, sys, time
from zoo_index.commands import main
from zoo_index.zoo.zoo import Zoo

def get_ready(zoo, method):
    try:
        os.kill(os.getpid(), {number:d})
        time.sleep(1000)
    except BaseException:
        open("lost", "w").close()

Zoo.get_ready = get_ready
sys.argv[1:] = ["recommend", "-t", "net.py"]
main.main()
"""
    )
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "command.py"], capture_output=True, text=True, timeout=PATIENCE)
    assert Path("lost").exists(), done.stderr
    assert done.returncode == status, done.stderr
    assert time.monotonic() - begun < PATIENCE / 2


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.slow), signal.SIGKILL])
def test_a_command_that_is_killed_while_the_file_is_written(folder: Path, number: int) -> None:
    """The code is asked for its extra state when it is saved; the folder holds what was written so far."""
    Path("net.py").write_text(
        NET
        + """
class Slow(Net):
    def state_dict(self, *args, **kwargs):
        import traceback
        if any(frame.name == "save_module" for frame in traceback.extract_stack()):
            folder = next(name for name in os.listdir() if name.startswith(".out."))
            open(folder + "/part", "w").write("x")
            open("started", "w").write(str(os.getpid()))
            time.sleep(1000)
        return super().state_dict(*args, **kwargs)
"""
    )
    with started("transfer", "-t", "net.py:Slow", "-s", "good.pth", "-o", "out.safetensors") as process:
        pids = started_by_code(1)
        process.send_signal(number)
        process.communicate(timeout=PATIENCE)
        assert_gone(pids)
    until = time.monotonic() + 5
    while time.monotonic() < until and any(path.name.startswith(".out.") for path in Path().iterdir()):
        time.sleep(0.05)
    assert not [path for path in Path().iterdir() if path.name.startswith((".out", "out"))]


def test_the_file_is_what_a_transfer_in_this_process_writes(folder: Path) -> None:
    Path("net.py").write_text(NET + "def build_model():\n    return Net(6)\n")
    Path("out.safetensors").write_bytes(b"old")
    Path("out.safetensors").chmod(0o640)
    done = zoo("transfer", "-t", "net.py", "-s", "good.pth", "-o", "out.safetensors", "--device", "cpu", "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    report = Zoo(Path("zoo.db")).transfer_to_file("net.py", "here.safetensors", "good.pth").to_json()
    wanted = json.loads(json.dumps({**report, "output": "out.safetensors", "seconds": made["seconds"]}))
    assert made == wanted
    ours, theirs = load_file("here.safetensors"), load_file("out.safetensors")
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert Path("out.safetensors").stat().st_mode & 0o777 == 0o640


def test_source_and_target_may_both_be_code(folder: Path) -> None:
    Path("net.py").write_text(NET + "def huge():\n    return nn.Linear(10**7, 10**7)\n")
    done = zoo("similarity", "net.py:Net", "net.py:Net")
    assert (done.returncode, done.stdout) == (0, "1.000000\n")
    done = zoo("plan", "-s", "net.py:huge", "-t", "net.py:huge", "--json")
    assert json.loads(done.stdout)["tensors"][0]["shape"] == [10**7, 10**7]


@pytest.mark.parametrize(("name", "value"), [("ZOO_TARGET_SECONDS", "soon"), ("ZOO_TARGET_MEMORY", "-3G")])
def test_limits_that_are_none(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    Path("net.py").write_text("")
    monkeypatch.setenv(name, value)
    done = zoo("recommend", "-t", "net.py")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: expected a ")
    assert f"in {name}, got '{value}'" in done.stderr


def test_what_looks_secret_stays_here() -> None:
    from zoo_index.contained.surroundings import without_secrets

    secret = (
        "HF_TOKEN",
        "HUGGING_FACE_HUB_TOKEN",
        "x_token",
        "DB_PASSWORD",
        "AWS_REGION",
        "MY_SECRET",
        "OPENAI_API_KEY",
    )
    kept = {"PATH": "a", "HF_HOME": "b", "TOKENIZERS_PARALLELISM": "0", "CUDA_VISIBLE_DEVICES": "1"}
    assert without_secrets({**kept, **dict.fromkeys(secret, "s")}) == kept
