"""What is built from this folder: a wheel that needs nothing beside it, a source archive that holds all of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from zoo_index.commands.main import cli

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {name: [*map(Requirement, found)] for name, found in PROJECT["optional-dependencies"].items()}
FOR_USERS = set(EXTRAS) - {"dev", "docs"}
IMPORTS = re.compile(r"^ *(?:from|import) (\w+)", re.M)

USER = """
import torch
from torch import nn

import transfer
import zoo_index

model: nn.Module = nn.Linear(2, 3)
reveal_type(zoo_index.warm_start(model, available=True))
reveal_type(zoo_index.warm_start(model).coverage)
reveal_type(zoo_index.open_zoo().recommend("net.py"))
reveal_type(transfer.similarity("a.pth", model))
reveal_type(transfer.plan("a.pth", model))
reveal_type(transfer.transfer("a.pth", model, options=transfer.Options(channels="leading")))
transfer.similarity("a.pth", model, measure=3)
zoo_index.warm_start(model, avialable=True)
"""

REVEALED = [
    "transfer.execution.reports.TransferReport",
    "float",
    "zoo_index.recommending.answers.Recommendations",
    "float",
    "transfer.planning.planned.TransferPlan",
    "transfer.execution.reports.TransferReport",
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive, the wheel made from it, and in `image/` the wheel that the Dockerfile makes."""
    folder, copied = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("source")
    for name in copied_by_the_dockerfile():
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copied / name, ignore=shutil.ignore_patterns("__pycache__", "*.nb[ic]"))
        else:
            shutil.copy(source, copied)
    build(ROOT, folder)
    build(copied, folder / "image", "--wheel")
    return folder


def build(source: Path, out: Path, *options: str) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), *options, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def instructions() -> list[tuple[str, str]]:
    """The lines of the Dockerfile: instruction and arguments."""
    text = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M))
    return [(line.split()[0], line.partition(" ")[2].strip()) for line in text.splitlines() if line.strip()]


def copied_by_the_dockerfile() -> list[str]:
    """What its first stage copies from this folder."""
    copies = [arguments.split() for name, arguments in instructions() if name == "COPY"]
    return [source for words in copies for source in words[:-1] if not words[0].startswith("--from")]


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel, whose libraries are those of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    with zipfile.ZipFile(wheel_in(built)) as archive:
        archive.extractall(packages)
    (packages / "libraries.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return folder / "bin" / "python"


def wheel_in(folder: Path) -> Path:
    (wheel,) = folder.glob("*.whl")
    return wheel


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def files_below(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(folder).as_posix()


class TestWheel:
    def test_it_holds_all_of_both_packages_and_what_they_read(self, built: Path) -> None:
        there = {name for name in contents(wheel_in(built)) if ".dist-info/" not in name}
        expected = {
            f"{package}/{name}" for package in ("transfer", "zoo_index") for name in files_below(ROOT / package)
        }
        expected |= {f"zoo_index/_migrations/{name}" for name in files_below(ROOT / "migrations")}
        expected |= {f"zoo_index/_data/{name}" for name in files_below(ROOT / "data")}
        assert there == expected
        assert {"transfer/py.typed", "zoo_index/py.typed", "zoo_index/_data/index.sqlite.gz"} <= there

    def test_from_the_source_archive_comes_the_same_as_in_the_image(self, built: Path) -> None:
        assert contents(wheel_in(built)) == contents(wheel_in(built / "image"))

    def test_it_says_what_it_is(self, built: Path) -> None:
        (text,) = (found for name, found in contents(wheel_in(built)).items() if name.endswith("/METADATA"))
        lines = text.decode().partition("\n\n")[0].splitlines()
        assert "License-Expression: Apache-2.0" in lines
        assert "License-File: LICENSE" in lines
        assert "Classifier: Typing :: Typed" in lines
        assert not [line for line in lines if line.startswith(("Author", "Maintainer", "Home-page", "Project-URL"))]


def test_the_source_archive_holds_all_that_git_has(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        there = {name.partition("/")[2] for name in opened.getnames()}
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("needs git and its repository")
    told = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tracked = {name for name in told.split("\0") if name and (ROOT / name).exists()}
    assert tracked <= there


class TestInstalled:
    def test_it_works_without_the_repository(self, installed: Path, tmp_path: Path) -> None:
        def told(*command: str) -> str:
            done = subprocess.run(
                [installed, "-I", *command], cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        where = told("-c", "import transfer, zoo_index; print(transfer.__file__, zoo_index.__file__)")
        assert where.count(str(installed.parents[1])) == 2
        listed = told("-m", "zoo_index", "list", "--json")
        assert "resnet50.a1_in1k" in listed
        assert "test_vit.r160_in1k" in told("-m", "zoo_index", "recommend", "-t", "test_vit", "-k", "3")

    def test_strict_checks_of_users_see_the_types(self, installed: Path, tmp_path: Path) -> None:
        """Other libraries are left out: reading torch takes mypy a minute."""
        user, config = tmp_path / "user.py", tmp_path / "mypy.ini"
        user.write_text(USER)
        packages = sorted({*metadata.packages_distributions()} - {"transfer", "zoo_index", "mypy"})
        others = ",".join(f"{name}.*" for name in packages if name.isidentifier())
        config.write_text(f"[mypy]\n[mypy-{others}]\nfollow_imports = skip\nignore_missing_imports = true\n")
        command = [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--config-file",
            config,
            "--python-executable",
            installed,
        ]
        done = subprocess.run([*command, user], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert re.findall(r'Revealed type is "(.*)"', done.stdout) == REVEALED, done.stdout
        wrong = USER.splitlines().index('transfer.similarity("a.pth", model, measure=3)') + 1
        assert re.findall(r"user.py:(\d+): error", done.stdout) == [str(wrong), str(wrong + 1)], done.stdout
        assert "Found 2 errors in 1 file" in done.stdout

    @pytest.mark.slow
    def test_strict_checks_of_users_find_nothing_wrong_in_it(self, installed: Path, tmp_path: Path) -> None:
        user = tmp_path / "user.py"
        user.write_text(re.sub(r"^(reveal_type.*|.*measure=3.*|.*avialable.*)$", "", USER, flags=re.M))
        command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--python-executable", installed]
        done = subprocess.run([*command, user], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert "Success: no issues found in 1 source file" in done.stdout, done.stdout


class TestExtras:
    def test_each_stands_alone(self) -> None:
        """No extra needs another one, but for the one that has them all."""
        assert {*FOR_USERS} == {"demo", "dask", "postgres", "formats", "plot", "server"}
        for name, needed in EXTRAS.items():
            own = [found for found in needed if canonicalize_name(found.name) == PROJECT["name"]]
            assert {extra for found in own for extra in found.extras} == (
                {*EXTRAS} - {"demo", "dev"} if name == "dev" else set()
            )

    @pytest.mark.parametrize("extra", [None, *EXTRAS])
    def test_what_is_installed_here_is_what_is_asked_for(self, extra: str | None) -> None:
        for needed in EXTRAS[extra] if extra else map(Requirement, PROJECT["dependencies"]):
            if canonicalize_name(needed.name) != PROJECT["name"]:
                assert needed.specifier.contains(metadata.version(needed.name), prereleases=True), needed

    def test_all_that_is_imported_is_asked_for(self) -> None:
        """Also by the tests and the examples: `make test` installs what they need."""
        asked = [
            *map(Requirement, PROJECT["dependencies"]),
            *(found for needed in EXTRAS.values() for found in needed),
        ]
        names = {canonicalize_name(needed.name) for needed in asked}
        distributions = metadata.packages_distributions()
        own = {path.stem for path in [*ROOT.glob("*"), *ROOT.rglob("tests/**/*.py"), *ROOT.glob("benchmarks/*")]}
        for folder in ("transfer", "zoo_index", "tests", "examples"):
            for path in (ROOT / folder).rglob("*.py"):
                for module in {*IMPORTS.findall(path.read_text())} & {*distributions} - own:
                    found = {canonicalize_name(name) for name in distributions[module]}
                    assert found & names, f"{path.relative_to(ROOT)} imports {module} of {found}"

    @pytest.mark.parametrize(
        ("module", "extra", "command"),
        [
            ("distributed", "dask", "index refresh --engine dask --scheduler tcp://127.0.0.1:1"),
            ("psycopg", "postgres", "--db postgresql://127.0.0.1:1/zoo list"),
            ("starlette", "server", "serve --port 0"),
            ("matplotlib", "plot", "plan -t test_vit -s test_vit2 --plot plan.png"),
            ("h5py", "formats", "inspect weights.h5"),
            ("onnx", "formats", "inspect weights.onnx"),
        ],
    )
    def test_what_needs_one_says_which(
        self, module: str, extra: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert canonicalize_name(module) in {canonicalize_name(needed.name) for needed in EXTRAS[extra]}
        (tmp_path / "weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64))
        (tmp_path / "weights.onnx").write_bytes(b"\x08\x08\x12\x04test")
        for name in [loaded for loaded in sys.modules if loaded.partition(".")[0] == module]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, module, None)  # as where it is not installed
        monkeypatch.chdir(tmp_path)
        done = CliRunner().invoke(cli, command.split())
        assert done.exit_code in (1, 2), done.output
        assert f"pip install 'zoo-index[{extra}]'" in " ".join(done.output.split())


class TestImage:
    def test_it_is_small_fixed_and_runs_as_nobody_special(self) -> None:
        lines = instructions()
        bases = [arguments.split()[0] for name, arguments in lines if name == "FROM"]
        assert bases
        assert all(re.fullmatch(r"python:3\.\d+-slim-\w+", base) for base in bases)
        last = [i for i, (name, _) in enumerate(lines) if name == "FROM"][-1]
        stage = dict(lines[last:])  # of several, the last one counts
        assert stage["USER"] == "1000"
        assert [name for name, _ in lines].index("USER") > max(
            i for i, (name, _) in enumerate(lines) if name == "RUN"
        )
        assert stage["ENTRYPOINT"] == '["zoo"]'
        assert stage["VOLUME"] == "/data"
        assert "ZOO_DB=/data/zoo.db" in stage["ENV"]
        assert f"EXPOSE {self.port()}" in (ROOT / "Dockerfile").read_text()
        assert not any(name == "ADD" for name, _ in lines)

    def test_all_that_it_copies_is_let_through(self) -> None:
        ignored = (ROOT / ".dockerignore").read_text().split("\n")
        assert {line[1:] for line in ignored if line.startswith("!")} == set(copied_by_the_dockerfile())
        assert all((ROOT / name).exists() for name in copied_by_the_dockerfile())

    def test_its_command_and_its_check_are_those_of_the_server(self) -> None:
        given = dict(instructions())
        arguments = json.loads(given["CMD"])
        assert CliRunner().invoke(cli, [*arguments, "--help"]).exit_code == 0
        check = json.loads(given["HEALTHCHECK"].partition(" CMD ")[2])
        compile(check[2], "check", "exec")
        assert f"127.0.0.1:{self.port()}{self.open_path()}" in check[2]

    def test_the_jobs_run_it(self) -> None:
        images, paths, ports = set(), set(), set()
        for name in ("cronjob.yaml", "server.yaml"):
            for document in yaml.safe_load_all((ROOT / "deploy" / name).read_text()):
                pod = document["spec"].get("jobTemplate", document)["spec"].get("template")
                if pod is None:  # the service
                    ports |= {port["targetPort"] for port in document["spec"]["ports"]}
                    continue
                assert pod["spec"]["securityContext"] == {"runAsNonRoot": True, "runAsUser": 1000}
                (container,) = pod["spec"]["containers"]
                images.add(container["image"])
                assert CliRunner().invoke(cli, [*container["command"][1:], "--help"]).exit_code == 0
                probes = {kind: probe for kind, probe in container.items() if kind.endswith("Probe")}
                asked = [probe.get("httpGet") or probe["tcpSocket"] for probe in probes.values()]
                assert bool(probes) == ("httpGet" in probes.get("readinessProbe", {}))
                paths |= {probe["path"] for probe in asked if "path" in probe}
                ports |= {probe["port"] for probe in asked}
        assert images == {f"registry.example.org/zoo:{PROJECT['version']}"}
        assert f"-t {min(images)} ." in (ROOT / "Dockerfile").read_text()
        assert (paths, ports) == ({self.open_path()}, {self.port()})

    def test_the_unit_of_the_server_is_understood(self) -> None:
        unit = (ROOT / "deploy" / "zoo-server.service").read_text()
        command = re.search(r"^ExecStart=/opt/zoo/bin/zoo (.*)$", unit, re.M)
        assert command
        assert CliRunner().invoke(cli, [*command[1].split(), "--help"]).exit_code == 0

    @staticmethod
    def port() -> int:
        (option,) = (option for option in cli.commands["serve"].params if option.name == "port")
        assert isinstance(option.default, int)
        return option.default

    @staticmethod
    def open_path() -> str:
        """What asks for no token."""
        from zoo_index.server.api import ENDPOINTS

        (found,) = (endpoint.path for endpoint in ENDPOINTS if endpoint.is_open and "health" in endpoint.path)
        return found


class TestPapers:
    def test_the_citation_is_that_of_this_version_and_of_the_paper(self) -> None:
        cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
        assert {"cff-version", "message", "title", "authors"} <= {*cited}  # what the format asks for
        assert (cited["cff-version"], cited["type"]) == ("1.2.0", "software")
        assert (cited["version"], cited["license"]) == (PROJECT["version"], PROJECT["license"])
        (paper,) = cited["references"]
        assert [author["family-names"] for author in paper["authors"]] == ["Czyzewski", "Nowak", "Piechowiak"]
        assert paper["doi"].endswith("2212.13970")
        assert "2212.13970" in (ROOT / "README.md").read_text()

    @pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md"])
    def test_what_they_name_is_there(self, name: str) -> None:
        text = (ROOT / name).read_text()
        for target in re.findall(r"\]\(([^)#]+)\)", text):
            assert (ROOT / target).exists(), target
        targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
        assert set(re.findall(r"\bmake ([a-z-]+)", text)) <= targets
        for path in re.findall(r"`([\w.]+/[\w./]*)`", text):
            assert (ROOT / path).exists(), path
        for command in re.findall(r"`zoo ([a-z]+)", text):
            assert command in cli.commands
        assert "@" not in text  # no address that nobody reads
