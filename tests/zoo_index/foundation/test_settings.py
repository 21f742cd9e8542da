"""Settings: which value counts, where it comes from, and what is said of those that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from transfer.errors import InputError
from zoo_index.foundation.settings import SETTINGS, Found, load_settings, size_from


@pytest.fixture
def user(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


def load(user: Path, project: Path, **environment: str) -> dict[str, Found]:
    return load_settings(project, environment, user)


def test_without_files_everything_is_as_it_comes(user: Path, project: Path) -> None:
    found = load(user, project)
    assert list(found) == [setting.name for setting in SETTINGS]
    assert set(found.values()) == {Found(None, "default", "")}


def test_what_is_nearer_wins(user: Path, project: Path) -> None:
    user.write_text('k = 3\nmeasure = "paper"\nlicense = "mit"\ndb = "/data/zoo.db"\n')
    (project / "zoo.toml").write_text('measure = "dpiat"\nlicense = "permissive"\n')
    found = load(user, project, ZOO_LICENSE="bsd", ZOO_AVAILABLE="yes", ZOO_MAX_PARAMS="25M", ZOO_K="")
    assert found["k"] == Found(3, "user", str(user))
    assert found["db"] == Found("/data/zoo.db", "user", str(user))
    assert found["measure"] == Found("dpiat", "project", str(project / "zoo.toml"))
    assert found["license"] == Found("bsd", "environment", "ZOO_LICENSE")
    assert found["available"].value is True
    assert found["max_params"].value == 25_000_000


def test_a_project_may_use_its_pyproject_toml(user: Path, project: Path) -> None:
    shared = project / "pyproject.toml"
    shared.write_text('[project]\nname = "x"\n')
    assert load(user, project)["k"].origin == "default"
    shared.write_text("[tool.zoo]\nk = 4\n")
    assert load(user, project)["k"] == Found(4, "project", str(shared))
    (project / "zoo.toml").write_text("")
    assert load(user, project)["k"].origin == "default"  # zoo.toml goes first
    (project / "below").mkdir()
    assert load(user, project / "below")["k"].origin == "default"  # folders above are not looked at


@pytest.mark.parametrize(
    ("name", "text", "parts"),
    [
        ("user", "licence = 'mit'", ["config.toml", "'licence'", "did you mean 'license'?"]),
        ("user", "nonsense = 1", ["'nonsense'", "there are: db, k,"]),
        ("user", "k = 0", ["expected k in", "a whole number of 1 or more", "got 0"]),
        ("user", "k = 2.5", ["a whole number of 1 or more", "got 2.5"]),
        ("user", "k = true", ["got True"]),
        ("user", "k = 'ten'", ["got 'ten'"]),
        ("user", "measure = 'cosine'", ["'dpiat' or 'paper'", "got 'cosine'"]),
        ("user", "available = 1.5", ["true or false"]),
        ("user", "available = []", ["true or false", "got []"]),
        ("user", "max_params = '25X'", ["expected max_params", "'25M'"]),
        ("user", "max_params = true", ["expected max_params"]),
        ("user", "max_params = inf", ["expected max_params"]),
        ("user", "min_coverage = 7", ["a number from 0 to 1"]),
        ("user", "min_coverage = nan", ["a number from 0 to 1"]),
        ("user", "license = ''", ["expected license"]),
        ("user", "license = ['mit']", ["expected license", "got ['mit']"]),
        ("user", "k = ", ["expected settings in TOML", "at end of document"]),
        ("user", "license = " + "[" * 5000, ["expected settings in TOML", "too deep or too long"]),
        ("user", "k = " + "9" * 5000, ["expected settings in TOML", "too deep or too long"]),
        ("user", "k = 1\nk = 2", ["expected settings in TOML", "overwrite"]),
        ("project", "db = 'theirs.db'", ["expected no 'db' in", "zoo.toml", "ZOO_DB"]),
        ("project", "k = 'x'", ["zoo.toml", "expected k"]),
        ("pyproject", "[tool]\nzoo = 3 # tool.zoo", ["expected a table [tool.zoo]"]),
        ("pyproject", "[tool.zoo]\nkk = 1", ["pyproject.toml", "'kk'"]),
    ],
)
def test_bad_settings_name_file_key_and_remedy(
    user: Path, project: Path, name: str, text: str, parts: list[str]
) -> None:
    path = {"user": user, "project": project / "zoo.toml", "pyproject": project / "pyproject.toml"}[name]
    path.write_text(text)
    with pytest.raises(InputError) as raised:
        load(user, project)
    for part in parts:
        assert part in str(raised.value)


def test_a_bad_variable_is_named(user: Path, project: Path) -> None:
    with pytest.raises(
        InputError, match=r"expected k in the variable ZOO_K to be a whole number of 1 or more, got '-1'"
    ):
        load(user, project, ZOO_K="-1")


def test_what_is_no_file_of_settings_is_not_read(user: Path, project: Path) -> None:
    user.mkdir()
    with pytest.raises(InputError, match="expected a settings file that can be read"):
        load(user, project)
    user.rmdir()
    user.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="expected settings in TOML"):
        load(user, project)
    user.write_text("#" * (1 << 20) + "\n")
    with pytest.raises(InputError, match="less than 1 MiB"):
        load(user, project)


def test_a_path_that_cannot_be_looked_at_holds_no_settings(user: Path, project: Path) -> None:
    """As in a folder that the user may not enter."""
    found = load(user.parent / ("x" * 300) / "config.toml", project / ("x" * 300))
    assert {one.value for one in found.values()} == {None}


@pytest.mark.parametrize(("text", "size"), [("5000000", 5 * 10**6), ("25M", 25 * 10**6), ("1.5g", 1.5e9), (7, 7)])
def test_sizes(text: object, size: float) -> None:
    assert size_from(text) == size
