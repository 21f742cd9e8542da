"""Progress on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from zoo_index.foundation.plain_text import plain

__all__ = ["progress_bar"]


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a callback that takes a phase, the number done and the number planned."""
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, TaskID] = {}

        def advance(phase: str, done: int, planned: int) -> None:
            if phase not in tasks:
                tasks[phase] = bar.add_task(plain(phase), total=planned)
            bar.update(tasks[phase], completed=done)

        yield advance


def _lines() -> Callable[[str, int, int], None]:
    shown: dict[str, int] = {}

    def log(phase: str, done: int, planned: int) -> None:
        tenth = 10 * done // max(planned, 1)
        if shown.get(phase) != tenth:
            shown[phase] = tenth
            with contextlib.suppress(OSError):  # nobody reads it any more
                print(plain(f"{phase}: {done} of {planned}"), file=sys.stderr, flush=True)

    return log
