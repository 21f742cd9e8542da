"""Training, testing and probing of small networks, on one thread, the same for all."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from quality.data import Images

BATCH = 16
RATE = 1e-3
STEPS = (0, 10, 20, 50, 100, 400, 440)
"""When accuracy is measured; the last is the end."""

N_DURING = 1000
"""Test images while learning; before the first step all that there are."""

N_PROBE = 2000
RIDGE = 1e-2
"""Weight of the penalty, relative to the mean squared feature."""


@torch.no_grad()
def outputs(model: nn.Module, images: Tensor) -> Tensor:
    model.eval()
    return torch.cat([model(part) for part in images.split(250)])


def accuracy(model: nn.Module, test: Images) -> float:
    return share_correct(outputs(model, test[0]), test[1])


def share_correct(logits: Tensor, labels: Tensor) -> float:
    return float((logits.argmax(1) == labels).float().mean())


@torch.no_grad()
def features(model: nn.Module, images: Tensor) -> Tensor:
    """Return what the classifier sees, (n, n_features)."""
    model.eval()
    parts = images.split(250)
    return torch.cat([model.forward_head(model.forward_features(part), pre_logits=True) for part in parts])


@torch.no_grad()
def first_look(model: nn.Module, train: Images, test: Images) -> tuple[float, float]:
    """Accuracy before any training: of the network itself, and of a ridge classifier on its frozen features."""
    known, asked = (features(model, images) for images in (train[0][:N_PROBE], test[0]))
    own = model.get_classifier()(asked)
    known, asked = known.double(), asked.double()
    mean, spread = known.mean(0), known.std(0) + 1e-6
    known, asked = ((x - mean) / spread for x in (known, asked))
    labels = one_hot(train[1][:N_PROBE]).double()
    penalty = RIDGE * len(known) * torch.eye(known.shape[1], dtype=known.dtype)
    weights = torch.linalg.solve(known.T @ known + penalty, known.T @ (labels - labels.mean(0)))
    return share_correct(own, test[1]), share_correct(asked @ weights + labels.mean(0), test[1])


def batches(part: Images, n_steps: int, size: int, seed: int) -> list[Tensor]:
    """Draw indices of batches: as many passes as it takes, each in an order of its own."""
    random = torch.Generator().manual_seed(seed)
    n_passes = -(-n_steps * size // len(part[1]))
    order = torch.cat([torch.randperm(len(part[1]), generator=random) for _ in range(n_passes)])
    return list(order[: n_steps * size].split(size))


def learn(
    model: nn.Module, train: Images, test: Images, steps: tuple[int, ...] = STEPS, seed: int = 0, rate: float = RATE
) -> dict[int, float]:
    """Train with a constant rate and return the accuracy after some steps."""
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.01, fused=True)
    found, fewer = {}, (test[0][:N_DURING], test[1][:N_DURING])
    torch.manual_seed(seed)
    model.train()
    for step, batch in enumerate(batches(train, steps[-1], BATCH, seed), 1):
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(model(train[0][batch]), train[1][batch]).backward()
        optimizer.step()
        if step in steps:
            found[step] = accuracy(model, fewer)
            model.train()
    return found


def pretrain(model: nn.Module, train: Images, n_steps: int, seed: int = 0) -> None:
    """Train a source: larger batches, the rate rises to 3e-3 and falls."""
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=n_steps)
    model.train()
    for batch in batches(train, n_steps, 64, seed):
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(model(train[0][batch]), train[1][batch]).backward()
        optimizer.step()
        schedule.step()
    model.eval()
