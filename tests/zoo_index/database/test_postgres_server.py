"""The server that tests of databases rely on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import postgres
import psutil
import pytest
from postgres import Server


def test_every_test_has_an_empty_database_of_its_own(postgres_server: Server) -> None:
    psycopg = pytest.importorskip("psycopg")
    with postgres_server.database() as first, postgres_server.database() as second:
        with psycopg.connect(first) as connection:
            connection.execute("CREATE TABLE a (b text)")
            connection.execute("INSERT INTO a VALUES ('B'), ('a'), ('_')")
            found = connection.execute("SELECT b FROM a ORDER BY b").fetchall()
        assert [row[0] for row in found] == ["_", "a", "B"]  # as people sort, not as bytes do
        with psycopg.connect(second) as connection:
            tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
            assert connection.execute(tables).fetchone() == (0,)
    names = [row[0] for row in postgres_server.execute("SELECT datname FROM pg_database")]
    assert sorted(names) == ["postgres", "template0", "template1"]


def test_a_database_goes_though_somebody_is_connected(postgres_server: Server) -> None:
    psycopg = pytest.importorskip("psycopg")
    with postgres_server.database() as url:
        connection = psycopg.connect(url)
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    connection.close()


PROGRAM = """
    import sys, time
    from postgres import running_server
    with running_server() as server:
        print(server.execute("SELECT current_setting('data_directory')")[0][0], flush=True)
        if sys.argv[1] == "fail":
            raise ZeroDivisionError
        time.sleep(600)
"""


@pytest.mark.parametrize("end", ["fail", "kill"])
def test_no_server_outlives_its_tests(postgres_server: Server, end: str) -> None:
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), end]
    env = {**os.environ, "PYTHONPATH": str(Path(postgres.__file__).parent)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env
    ) as process:
        assert process.stdout is not None
        data = Path(process.stdout.readline().strip())
        if end == "kill":
            process.send_signal(signal.SIGKILL)
        process.wait(60)
    deadline = time.monotonic() + 30
    while (still := [p for p in psutil.process_iter(["cmdline"]) if str(data) in (p.info["cmdline"] or [])]) or (
        data.parent.exists()
    ):
        assert time.monotonic() < deadline, still
        time.sleep(0.05)


@pytest.mark.parametrize(("ci", "outcome"), [("", "skipped"), ("true", "errors")])
def test_where_there_is_no_server_tests_are_skipped_but_not_in_ci(ci: str, outcome: str, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "import postgres\nfrom postgres import postgres_server, postgres_url\npostgres.binaries = lambda: None\n"
    )
    (tmp_path / "test_it.py").write_text("def test_it(postgres_url):\n    pass\n")
    env = {**os.environ, "PYTHONPATH": str(Path(postgres.__file__).parent), "CI": ci}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rsE", "--rootdir", str(tmp_path)]
    done = subprocess.run(
        [*command, "-c", "/dev/null", str(tmp_path)], capture_output=True, text=True, env=env, check=False
    )
    assert f"1 {outcome.rstrip('s')}" in done.stdout
    assert "PostgreSQL server (Debian: apt-get install postgresql)" in done.stdout
