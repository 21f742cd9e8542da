"""The command line in a process of its own that need not import anything: a copy of this one.

It has real standard streams, a real exit status, and may be limited or killed. What it lacks is a fresh
interpreter: tests of imports, signals and start-up run a real command.
"""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

__all__ = ["become", "run_cli"]


def run_cli(
    *arguments: str,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    before: Callable[[], object] | None = None,
    seconds: float = 120.0,
) -> subprocess.CompletedProcess[bytes]:
    """Run the command line as ``python -m zoo_index`` would.

    Parameters
    ----------
    *arguments : str
    cwd : Path, optional
    environment : mapping, optional
        Variables to set.
    before : callable, optional
        Called in the new process first.
    seconds : float
        It is killed if it takes longer.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error:
        child = os.fork()
        if child == 0:
            become(arguments, out.fileno(), error.fileno(), cwd, environment or {}, before, seconds)
        _, status = os.waitpid(child, 0)
        texts = []
        for file in (out, error):
            file.seek(0)
            texts.append(file.read())
    code = os.waitstatus_to_exitcode(status)
    assert code != -signal.SIGALRM, f"{arguments} took longer than {seconds} s: {texts[1].decode(errors='replace')}"
    return subprocess.CompletedProcess(arguments, code, *texts)


def become(
    arguments: tuple[str, ...],
    out: int,
    error: int,
    cwd: Path | None,
    environment: Mapping[str, str],
    before: Callable[[], object] | None,
    seconds: float,
) -> None:
    """Run the command line in this process, a copy of one that runs tests, and end it."""
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(error, 2)
        sys.stdin = io.TextIOWrapper(io.FileIO(0), "utf-8")
        letters = environment.get("PYTHONIOENCODING", "utf-8")
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w")), letters)
        sys.stderr = io.TextIOWrapper(io.FileIO(2, "w"), "utf-8", "backslashreplace", write_through=True)
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
        os.environ.update(environment)
        if cwd is not None:
            os.chdir(cwd)
        sys.argv = ["zoo", *arguments]
        if before is not None:
            before()
        from zoo_index.commands.main import main

        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        try:
            sys.stdout.flush()
        finally:
            os._exit(code)
