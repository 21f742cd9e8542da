"""What is measured: one start of one target, and the cache that makes the laboratory resumable.

Results are kept under a digest of the target as it is before the first step, its data and its seed, so that equal
starts are trained once, whatever they are called, and a changed transfer is noticed by itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from quality.data import SETTINGS, Images, load, only
from quality.methods import starts
from quality.networks import build
from quality.training import BATCH, N_DURING, N_PROBE, RATE, RIDGE, first_look, learn, pretrain

N_PRETRAIN = 1000
N_TEST = 2000


@dataclass(frozen=True)
class Job:
    """One start: `source` is empty for random ones; `steps` are those at which accuracy is measured."""

    setting: str
    source: str
    target: str
    method: str
    seed: int
    steps: tuple[int, ...]


@dataclass(frozen=True)
class Laboratory:
    """Folders: of Fashion-MNIST, of what is kept, of iatransfer."""

    data: str
    cache: str
    peer: str

    def part(self, setting: str, name: str) -> Images:
        """Return the images of a setting: of 'source', 'target' or 'test'."""
        return part(self.data, setting, name)

    def source(self, setting: str, name: str) -> nn.Module:
        """Return a trained network of the mini-zoo, from the cache if it is there."""
        model = build(name, len(SETTINGS[setting].source_labels), seed=1000)
        initial = digest(model, setting, N_PRETRAIN)
        path = Path(self.cache) / "sources" / f"{name}-{initial[:16]}.pt"
        if path.exists():
            model.load_state_dict(torch.load(path, weights_only=True))
        else:
            model = model.to(memory_format=torch.channels_last)
            pretrain(model, self.part(setting, "source"), N_PRETRAIN)
            write(path, lambda scratch: torch.save(model.state_dict(), scratch))
        return model.eval()

    def measure(self, job: Job) -> dict[str, Any] | None:
        """Start and train one target; None where the method does not apply."""
        torch.set_num_threads(1)
        target = build(job.target, len(SETTINGS[job.setting].target_labels), seed=job.seed)
        if job.source and starts(self.peer)[job.method](self.source(job.setting, job.source), target) is False:
            return None
        train, test = self.part(job.setting, "target"), self.part(job.setting, "test")
        test = (test[0][:N_TEST], test[1][:N_TEST])
        return asdict(job) | train_once(self.cache, target, train, test, job.steps, job.seed, job.setting)


def train_once(
    folder: str, target: nn.Module, train: Images, test: Images, steps: tuple[int, ...], seed: int, setting: str
) -> dict[str, Any]:
    """Probe and train a target, or read what an equal one gave before."""
    target = target.to(memory_format=torch.channels_last)
    key = digest(target, setting, seed, len(train[1]), len(test[1]), N_DURING, BATCH, RATE, N_PROBE, RIDGE)
    path = Path(folder) / "runs" / f"{key}.json"
    known = json.loads(path.read_text()) if path.exists() else {"accuracy": {}}
    if not {str(step) for step in steps} <= set(known["accuracy"]):
        started = time.process_time()
        first, probed = first_look(target, train, test)
        found = {0: first} | learn(target, train, test, steps, seed)
        accuracies = {str(step): value for step, value in found.items()}
        known = {"probe": probed, "accuracy": accuracies, "seconds": time.process_time() - started}
        write(path, lambda scratch: scratch.write_text(json.dumps(known)))
    return known | {"accuracy": {str(step): known["accuracy"][str(step)] for step in steps}, "key": key}


@cache
def part(data: str, setting: str, name: str) -> Images:
    labels = SETTINGS[setting].source_labels if name == "source" else SETTINGS[setting].target_labels
    whole = load(data)[name]
    return whole if len(labels) == 10 else only(whole, labels)


def digest(model: nn.Module, *context: object) -> str:
    """Return a digest of a network's class, parameters and buffers, and of what it is going to learn."""
    made = hashlib.sha256(repr((str(model), context)).encode())
    for name, value in model.state_dict().items():
        made.update(name.encode())
        made.update(value.contiguous().numpy().tobytes())
    return made.hexdigest()


def write(path: Path, save: Any) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(f".{os.getpid()}")
    save(scratch)
    scratch.replace(path)


def prepare(laboratory: Laboratory, setting: str, name: str) -> None:
    torch.set_num_threads(1)
    laboratory.source(setting, name)


def run_all(laboratory: Laboratory, jobs: Sequence[Job], processes: int) -> Iterator[dict[str, Any]]:
    """Train the sources, then measure every job; in any order, without those whose method does not apply."""
    needed = {(job.setting, job.source) for job in jobs if job.source}
    for _ in run_tasks([partial(prepare, laboratory, *each) for each in sorted(needed)], processes):
        pass
    yield from filter(None, run_tasks([partial(laboratory.measure, job) for job in jobs], processes))


def run_tasks(tasks: Iterable[Callable[[], Any]], processes: int) -> Iterator[Any]:
    """Call tasks in worker processes of one thread each; results come in any order."""
    from loky import ProcessPoolExecutor

    warnings.filterwarnings("ignore", message="A worker was restarted")  # each holds the images, nothing leaks
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    folders = os.pathsep.join(map(str, Path(__file__).parents[1:3]))
    with ProcessPoolExecutor(processes, timeout=600, env={**os.environ, **threads, "PYTHONPATH": folders}) as pool:
        for future in as_completed([pool.submit(task) for task in tasks]):
            yield future.result()
