"""The quality laboratory: what it measures, on a data set of noise, and how it counts."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from quality import data, design, methods, summary
from quality.jobs import Job, Laboratory
from quality.networks import NETWORKS, build, family
from quality.recommender import judge
from quality.statistics import Row, accuracy, against, interval
from quality.training import STEPS


def test_the_mini_zoo_is_as_large_as_it_should_be() -> None:
    sizes = [sum(p.numel() for p in build(name, 10).parameters()) for name in NETWORKS]
    assert len(sizes) >= 14
    assert len({family(name) for name in NETWORKS}) >= 5
    assert 90_000 < min(sizes) < max(sizes) < 850_000
    assert torch.equal(next(build("vit", 10, 3).parameters()), next(build("vit", 10, 3).parameters()))


def test_all_pairs_of_a_family_are_compared_by_every_method_with_three_seeds() -> None:
    jobs = design.comparison()
    for pair in design.within():
        mine = {(job.method, job.seed) for job in jobs if (job.source, job.target) == pair}
        assert mine >= {(method, seed) for method in design.COMPARED for seed in (0, 1, 2)}
    assert all(family(a) != family(b) for a, b in design.across())
    assert {job.steps for job in jobs} == {STEPS}
    assert {"channels=leading", "gates=False"} <= set(methods.ablations())


def fake_folder(folder: Path) -> Path:
    """Write noise in the format of Fashion-MNIST."""
    random = np.random.default_rng(0)
    for stem, n in (("train", 400), ("t10k", 100)):
        images = random.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = (np.arange(n) % 10).astype(np.uint8)
        (folder / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16) + images.tobytes()))
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(bytes(8) + labels.tobytes())
    return folder


def test_sources_and_targets_learn_from_disjoint_images(tmp_path: Path) -> None:
    parts = data.load(str(fake_folder(tmp_path)))
    whole, labels = data.read(tmp_path, "train")
    assert torch.equal(torch.cat([parts["source"][0], parts["target"][0]]), whole)
    images, found = data.only((whole, labels), (1, 3))
    assert found.tolist() == [0, 1] * 40
    assert torch.equal(images[0], whole[1])
    for setting in data.SETTINGS.values():
        both = set(setting.source_labels) & set(setting.target_labels)
        assert len(both) == (10 if setting.name == "same labels" else 0)


def test_a_missing_data_set_is_said_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"expected Fashion-MNIST in .*dataset-fashion-mnist"):
        data.load(str(tmp_path / "nowhere"))


def test_a_start_is_measured_once_and_the_same_under_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quality.jobs.N_PRETRAIN", 3)
    n_threads = torch.get_num_threads()
    (tmp_path / "data").mkdir()
    laboratory = Laboratory(str(fake_folder(tmp_path / "data")), str(tmp_path / "cache"), str(tmp_path / "peer"))
    job = Job("same labels", "mixer", "mixer-wide", "dpiat", 0, (0, 2))
    row = laboratory.measure(job)
    assert row is not None
    assert set(row["accuracy"]) == {"0", "2"}
    runs = tmp_path / "cache" / "runs"
    (kept,) = runs.iterdir()
    before = kept.stat().st_mtime_ns
    again = laboratory.measure(Job("same labels", "mixer", "mixer-wide", "channels=leading", 0, (0, 2)))
    assert again is not None
    assert (again["accuracy"], again["probe"]) == (row["accuracy"], row["probe"])
    assert [path.stat().st_mtime_ns for path in runs.iterdir()] == [before]
    assert laboratory.measure(Job("same labels", "mixer", "mixer-wide", "weight selection", 0, (0,))) is None
    other = laboratory.measure(Job("same labels", "", "mixer-wide", "random", 0, (0, 2)))
    assert other is not None
    assert other["key"] != row["key"]
    torch.set_num_threads(n_threads)


def test_weight_selection_takes_elements_at_even_distances() -> None:
    assert methods.select_evenly(torch.arange(6), torch.Size([3])).tolist() == [0, 2, 4]
    assert methods.select_evenly(torch.arange(5), torch.Size([3])).tolist() == [0, 2, 4]
    assert methods.select_evenly(torch.arange(12).view(3, 4), torch.Size([3, 2])).tolist() == [
        [0, 2],
        [4, 6],
        [8, 10],
    ]
    source, target = build("vit-wide", 10), build("vit", 10)
    assert methods.weight_selection(source, target) is not False
    assert torch.equal(target.norm.weight, source.norm.weight[torch.linspace(0, 95, 64).round().long()])


def row(source: str, target: str, seed: int, value: float, method: str = "dpiat") -> Row:
    return {
        "source": source,
        "target": target,
        "seed": seed,
        "method": method,
        "probe": value,
        "accuracy": {str(step): value for step in STEPS},
    }


def test_differences_are_counted_by_pair_and_losses_after_correction() -> None:
    random = [row("", target, seed, 0.5 + 0.01 * seed) for target in ("a", "b") for seed in range(3)]
    ours = [row("s", "a", seed, 0.7 + 0.01 * seed) for seed in range(3)]
    ours += [row("s", "b", seed, 0.2 + 0.011 * seed) for seed in range(3)]
    found = against(ours, random, accuracy(0), same_source=False)
    assert (found["n_pairs"], found["wins"], found["losses"]) == (2, 1, 1)
    assert found["mean"] == pytest.approx((0.71 + 0.211) / 2)
    assert found["ratio"] == pytest.approx((0.71 + 0.211) / 1.02)
    assert [each["pair"] for each in found["worst"]] == ["s to b"]
    noisy = [row("s", "a", seed, 0.5 + value) for seed, value in enumerate((0.1, -0.3, 0.2))]
    found = against(noisy, random, accuracy(0), same_source=False)
    assert (found["wins"], found["losses"]) == (0, 0)
    low, high = interval(np.array([0.0, 1.0] * 50))
    assert 0.35 < low < 0.5 < high < 0.65


def test_the_half_budget_is_where_random_starts_reach_half_of_their_end() -> None:
    rising = dict(zip(map(str, STEPS), (0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 0.8), strict=True))
    random = [row("", "a", 0, 0.0, "random") | {"accuracy": rising}]
    ours = [row("s", "a", 0, 0.8)]
    found = summary.half_budget(ours, random)
    assert found["steps"]["a"] == pytest.approx(50)
    assert found["ratio"] == pytest.approx(2)


def test_picks_are_compared_with_the_best_and_ties_shared() -> None:
    gain = {("a", "t"): 1.0, ("b", "t"): 2.0, ("c", "t"): 1.5}
    found = judge({("a", "t"): 0.1, ("b", "t"): 0.9, ("c", "t"): 0.5}, gain, ["t"])
    assert found["pick_over_best"] == 1
    assert found["correlation"] == pytest.approx(1)
    assert judge(dict.fromkeys(gain, 0.3), gain, ["t"])["pick_over_best"] == pytest.approx(0.75)


def test_fashion_mnist_is_what_it_should_be() -> None:
    if not data.DEBIAN.exists() and not os.environ.get("CI"):
        pytest.skip("Debian's package dataset-fashion-mnist is not installed")
    parts = data.load(str(data.DEBIAN))
    assert [len(labels) for _, labels in parts.values()] == [30_000, 30_000, 10_000]
    assert abs(float(parts["source"][0].mean())) < 0.6
    assert sorted(parts["test"][1].unique().tolist()) == list(range(10))
