"""What the Tab key offers, in the shells themselves."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from sqlalchemy import update
from terminals import PLAIN, read_all, set_width

from zoo_index.commands.main import cli
from zoo_index.database.schema import ENTRY
from zoo_index.zoo.zoo import Zoo

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, small_index: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with an index, and a zoo that shells find."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(small_index, "zoo.db")
    monkeypatch.setenv("ZOO_DB", str(tmp_path / "zoo.db"))
    for name in ("net.py", "test_net.py", "last.ckpt", "notes.txt", "odd\n.py"):
        Path(name).write_text("")
    Path("bin").mkdir()
    zoo = Path("bin/zoo")
    zoo.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from zoo_index.commands.main import main\nmain()\n"
    )
    zoo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def offered(*words: str) -> list[tuple[str, str]]:
    """What is offered for the last word, and whether the shell itself is to look for files."""
    found = ShellComplete(cli, {}, "zoo", "_ZOO_COMPLETE").get_completions(list(words[:-1]), words[-1])
    return [(item.type, item.value) for item in found]


def names(*words: str) -> list[str]:
    return [value for kind, value in offered(*words) if kind == "plain"]


@pytest.mark.parametrize(
    "words",
    [
        ("show", "test_v"),
        ("list", "test_v"),
        ("fetch", "test_v"),
        ("fetch", "test_resnet", "test_v"),
        ("pack", "test_v"),
        ("plan", "-s", "test_v"),
        ("transfer", "-t", "net.py", "--source", "test_v"),
        ("recommend", "-t", "test_v"),
        ("similarity", "test_v"),
        ("similarity", "test_vit", "test_v"),
        ("similarity", "-t", "net.py", "-s", "test_v"),
        ("watch", "add", "test_v"),
    ],
)
def test_names_of_the_index_are_offered(words: tuple[str, ...]) -> None:
    assert names(*words) == ["test_vit", "test_vit.r160_in1k", "test_vit2", "test_vit2.r160_in1k"]


def test_files_are_offered_where_they_are_meant() -> None:
    assert names("recommend", "-t", "test_")[0] == "test_net.py"
    assert names("recommend", "-t", "n") == ["net.py"]
    assert names("plan", "-s", "la") == ["last.ckpt"]
    assert names("plan", "-s", "ne") == []
    assert names("show", "ne") == []
    assert (names("similarity", "ne"), names("similarity", "-s", "test_vit", "ne")) == ([], ["net.py"])
    assert names("recommend", "-t", "od") == []
    assert offered("recommend", "-t", "bi") == [("file", "bi")]  # the shell knows folders
    assert names("recommend", "-t", "./test_n") == ["./test_net.py"]


@pytest.mark.parametrize("command", [("list",), ("recommend", "-t", "net.py"), ("transfer",), ("watch", "add")])
def test_filters_are_completed_with_what_the_index_has(command: tuple[str, ...]) -> None:
    assert names(*command, "--license", "") == ["any", "apache-2.0", "permissive"]
    assert names(*command, "--license", "AP") == ["apache-2.0"]
    assert names(*command, "--family", "res") == ["resnet"]
    assert names(*command, "--catalogue", "") == ["pypi", "timm"]
    assert names(*command, "--dataset", "imagenet-1k") == ["imagenet-1k"]
    assert names(*command, "--task", "") == ["image-classification"]
    assert names(*command, "--search", "") == []


def test_of_several_licences_the_last_is_completed(zoo: Zoo) -> None:
    mit = {"license": "MIT"}
    with zoo.store.writing() as connection:
        connection.execute(update(ENTRY).where(ENTRY.c.name == "test_vit.r160_in1k").values(mit))
    assert names("list", "--license", "apache-2.0,") == ["apache-2.0,MIT"]
    assert names("list", "--license", "apache-2.0,m") == ["apache-2.0,MIT"]
    assert names("list", "--license", "apache-2.0,permissive,x") == []


def test_what_is_not_stated_is_unknown(zoo: Zoo) -> None:
    with zoo.store.writing() as connection:
        for name, task in (("test_vit.r160_in1k", ""), ("test_resnet.r160_in1k", None)):
            connection.execute(update(ENTRY).where(ENTRY.c.name == name).values(task=task))
    assert names("list", "--task", "") == ["image-classification", "unknown"]


def test_values_that_nobody_can_type_are_not_offered(zoo: Zoo) -> None:
    with zoo.store.writing() as connection:
        for name, family in (("test_vit.r160_in1k", ""), ("test_resnet.r160_in1k", "two\nlines")):
            connection.execute(update(ENTRY).where(ENTRY.c.name == name).values(family=family))
    offered_now = names("list", "--family", "")
    assert offered_now
    assert not {"", "unknown", "two\nlines"} & set(offered_now)


@pytest.mark.usefixtures("zoo_everywhere")
@pytest.mark.parametrize("zoo_everywhere", ["postgresql"], indirect=True)
def test_an_index_on_a_server_is_asked(postgres_url: str) -> None:
    assert names("--db", postgres_url, "list", "--family", "res") == ["resnet"]


def test_bash_is_given_values() -> None:
    asked = {"_ZOO_COMPLETE": "bash_complete", "COMP_WORDS": "zoo list --license per", "COMP_CWORD": "3"}
    done = subprocess.run(["zoo"], env={**os.environ, **asked}, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("plain,permissive\n", "")


def test_commands_and_options_are_offered() -> None:
    assert "recommend" in names("re")
    assert "--max-params" in names("list", "--max")
    assert names("list", "--sort", "do") == ["downloads"]


@pytest.mark.parametrize("damage", ["none", "text", "folder", "settings", "server"])
def test_without_an_index_there_is_silence(folder: Path, damage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "zoo.db").unlink()
    if damage == "text":
        (folder / "zoo.db").write_text("no index")
    elif damage == "folder":
        (folder / "zoo.db").mkdir()
    elif damage == "settings":
        (folder / "zoo.toml").write_text("k = ")
    elif damage == "server":
        monkeypatch.setenv("ZOO_DB", "postgresql://nobody@127.0.0.1:9/nothing")
    before = sorted(folder.rglob("*"))
    asked = {"_ZOO_COMPLETE": "bash_complete", "COMP_WORDS": "zoo show test", "COMP_CWORD": "2"}
    done = subprocess.run(["zoo"], env={**os.environ, **asked}, capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("", "")
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(("typed", "first"), [("show test", "test_vit"), ("list --license a", "apache-2.0")])
def test_nothing_heavy_is_imported(typed: str, first: str) -> None:
    code = (
        "import sys\ntry:\n    from zoo_index.commands.main import cli\n    cli(prog_name='zoo')\n"
        "except SystemExit:\n    print('|'.join(sys.modules), file=sys.stderr)"
    )
    words = ["zoo", *typed.split()]
    asked = {"_ZOO_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), **asked},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"plain,{first}\n" in done.stdout
    assert not set(done.stderr.strip().split("|")) & {"torch", "numpy", "sqlalchemy", "rich", "timm"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_printed_whatever_is_set(folder: Path, shell: str) -> None:
    (folder / "zoo.toml").write_text("k = ")
    done = CliRunner().invoke(cli, ("completion", shell))
    assert done.exit_code == 0, done.output
    assert f"_ZOO_COMPLETE={shell}_complete" in done.stdout


def needs(shell: str) -> str:
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f"{shell} is not installed")
    return found


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_tab_key_completes_a_name(folder: Path, shell: str) -> None:
    command = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}[shell]
    setup = "autoload -U compinit; compinit -u -D; " if shell == "zsh" else ""
    needs(shell)
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update({**PLAIN, "TERM": "dumb", "PS1": "$ "})
        os.execvp(command[0], command)
    set_width(terminal, 200)
    os.write(terminal, f'{setup}eval "$(zoo completion {shell})"; echo re""ady\n'.encode())
    assert "ready" in read_all(terminal, until="\nready", seconds=60)
    os.write(terminal, b"echo zoo; zoo show test_resn\t")
    shown = read_all(terminal, until="test_resnet", seconds=60)
    time.sleep(0.2)
    os.write(terminal, b"\x03\nexit\n")
    read_all(terminal, seconds=30)
    os.waitpid(child, 0)
    assert "zoo show test_resnet" in shown


def test_fish_completes_a_name() -> None:
    fish = needs("fish")
    script = 'zoo completion fish | source; complete -C "zoo show test_resn"'
    done = subprocess.run([fish, "--no-config", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["test_resnet", "test_resnet.r160_in1k"]
