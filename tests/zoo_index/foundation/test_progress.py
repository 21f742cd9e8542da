"""Progress: what the line says, when it is shown, and that it is gone in the end."""

from __future__ import annotations

import os
import pty
import sys
import time
from collections.abc import Callable

import pytest
from terminals import PLAIN, on_screen, read_all, set_width

from zoo_index.foundation import progress
from zoo_index.foundation.progress import line_of


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (line_of("reading", 0, 0, 0, 0.4), "reading ..."),
        (line_of("reading", 0, 0, 0, 75), "reading ... 1:15"),
        (line_of("items", 0, 40, 0, 2), "items  [                    ]  0 of 40"),
        (line_of("items", 10, 40, 0, 2), "items  [#####               ]  10 of 40  5.0/s  0:06 left"),
        (line_of("items", 1200, 4800, 0, 10), "items  [#####               ]  1,200 of 4,800  120/s  0:30 left"),
        (
            line_of("items", 17131, 29876, 0, 0.25),
            "items  [###########         ]  17,131 of 29,876  68,524/s  0:00 left",
        ),
        (line_of("items", 30, 40, 20, 10), "items  [###############     ]  30 of 40  1.0/s  0:10 left"),
        (
            line_of("file", 5_200_000, 20_800_000, 0, 4, is_bytes=True),
            "file  [#####               ]  5.2 of 20.8 MB  1.3 MB/s  0:12 left",
        ),
        (line_of("items", 50, 40, 0, 1), "items  [####################]  50 of 40  50/s  0:00 left"),
        (line_of("items", 1, 8001, 0, 1), "items  [                    ]  1 of 8,001  1.0/s  2:13:20 left"),
    ],
)
def test_the_line_says_how_fast_and_how_long(line: str, expected: str) -> None:
    assert line == expected


def in_terminal(work: Callable[[], object], columns: int = 80, **environment: str) -> str:
    """Do some work in a process whose stderr is a terminal, and return what was sent there."""
    ours, theirs = pty.openpty()
    set_width(ours, columns)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(ours)
            os.environ.update({**PLAIN, **environment})
            os.dup2(theirs, 2)
            sys.stderr = os.fdopen(2, "w")
            work()
            sys.stderr.flush()
            code = 0
        finally:
            os._exit(code)
    os.close(theirs)
    sent = read_all(ours)
    assert os.waitpid(child, 0)[1] == 0
    return sent


def slow() -> None:
    with progress.shown():
        for i in range(8):
            progress.advance("matching \x1b[31mblocks", i, 10)
            time.sleep(0.1)


def quick() -> None:
    with progress.shown():
        progress.step("matching")


def with_words_between() -> None:
    with progress.shown():
        progress.step("matching")
        time.sleep(0.8)
        with progress.beside("a line\n"):
            print("a line", file=sys.stderr, flush=True)
        time.sleep(0.3)
        with progress.beside("half "):
            print("half ", file=sys.stderr, end="", flush=True)
        time.sleep(0.3)
        with progress.beside("a line\n"):
            print("a line", file=sys.stderr, flush=True)
        time.sleep(0.3)
        progress.hide()
        print("the end", file=sys.stderr, flush=True)


def test_slow_work_is_shown_and_leaves_nothing_behind() -> None:
    sent = in_terminal(slow)
    assert "matching \\x1b[31mblocks  [" in sent
    assert " left" in sent
    assert "\x1b[31m" not in sent
    assert on_screen(sent) == [""]


def test_the_line_is_no_longer_than_the_terminal() -> None:
    sent = in_terminal(slow, columns=30)
    assert all(len(line) < 30 for line in sent.replace("\r\x1b[K", "\n").split("\n"))
    assert "..." in sent


def test_quick_work_is_not_shown() -> None:
    assert in_terminal(quick) == ""


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}])
def test_a_terminal_that_cannot_go_back_is_left_alone(environment: dict[str, str]) -> None:
    assert in_terminal(slow, **environment) == ""


def test_what_is_printed_meanwhile_stays_whole() -> None:
    sent = in_terminal(with_words_between)
    assert sent.count("matching") >= 2
    assert on_screen(sent) == ["a line", "half a line", "the end", ""]


def test_without_a_terminal_nothing_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    slow()
    assert capfd.readouterr() == ("", "")
