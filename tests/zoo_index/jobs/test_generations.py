"""What readers see: one generation, whole; what a switch to the next one changes."""

from __future__ import annotations

import itertools
from dataclasses import replace

import nets
import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from indexes import description_of, entries_named, prepare, publish_listed, put
from sqlalchemy import select, update

from transfer.errors import InputError
from zoo_index.catalogues.catalogue import CatalogueEntry
from zoo_index.catalogues.description import FEATURES
from zoo_index.database import descriptions, embeddings, loading, queries, writes
from zoo_index.database.clearing import clear
from zoo_index.database.publishing import Listing, next_architectures, publish
from zoo_index.database.schema import ARCHITECTURE, ENTRY, GENERATION, STATE
from zoo_index.database.sqlite import SqliteStore
from zoo_index.database.store import Store
from zoo_index.index.history import difference
from zoo_index.index.view import View, look


def entry_names(store: Store) -> list[str]:
    return [entry["name"] for entry in look(store).entries.all]


def test_what_is_prepared_is_seen_only_once_it_is_published(store: Store) -> None:
    prepare(store, a=nets.mlp(3, 4), b=nets.mlp(3, 5))
    assert look(store).generation == 0
    assert entry_names(store) == []
    changes = publish_listed(store, "a.x", "a.y", "b.x")
    assert (changes.new, changes.n_entries) == (["a", "b"], 3)
    assert look(store).generation == 1
    assert entry_names(store) == ["a.x", "a.y", "b.x"]


def test_a_view_keeps_to_its_generation(store: Store) -> None:
    put(store, "a", nets.conv_net(4, 3))
    before = look(store)
    prepare(store, "2", a=nets.mlp(3, 5), b=nets.conv_net(4, 4))
    publish_listed(store, "a.x", "b.x")
    fresh = View(store, before.generation)  # has read nothing yet
    for view in (before, fresh):
        assert [entry["name"] for entry in view.entries.all] == ["a.x"]
        (entry,) = view.entries.all
        found = view.search.architecture(entry["architecture_id"], "dpiat")
        assert found is not None
        assert found.fingerprint == description_of("a", nets.conv_net(4, 3)).dpiat.fingerprint
        assert len(view.search.table("dpiat").ids) == 1
    after = look(store, before)
    assert after is not before
    assert [entry["name"] for entry in after.entries.all] == ["a.x", "b.x"]
    assert look(store, after) is after


def test_networks_of_billions_of_parameters_are_kept(store: Store) -> None:
    huge = replace(description_of("huge", nets.mlp(3, 4)), n_params=10**12)
    with store.writing() as connection:
        descriptions.prepare(connection, "timm", "1", [huge])
    publish_listed(store, "huge.x")
    assert look(store).entries.find("huge")["n_params"] == 10**12


def test_the_same_again_changes_nothing(store: Store) -> None:
    put(store, "a", nets.mlp(3, 4))
    assert prepare(store, "2", a=nets.mlp(3, 4)) == 0  # the version alone is noted
    assert not publish_listed(store, "a.x")
    assert look(store).generation == 1
    with store.reading() as connection:
        assert descriptions.standing_versions(connection, "timm") == {"a": ("2", FEATURES)}


def test_another_structure_is_a_new_revision_and_the_old_one_stays_on_record(store: Store) -> None:
    first = put(store, "a", nets.mlp(3, 4))
    second = put(store, "a", nets.mlp(3, 5), version="2")
    assert second != first
    with store.reading() as connection:
        rows = connection.execute(
            select(ARCHITECTURE.c.id, ARCHITECTURE.c.revision, ARCHITECTURE.c.born, ARCHITECTURE.c.died).order_by(
                ARCHITECTURE.c.id
            )
        ).all()
    assert rows == [(first, 1, 1, 2), (second, 2, 2, None)]
    assert entry_names(store) == ["a.x"]


def test_what_vanishes_retires_and_comes_back_as_a_later_revision(store: Store) -> None:
    prepare(store, a=nets.mlp(3, 4), b=nets.mlp(3, 5))
    publish_listed(store, "a.x", "b.x")
    assert publish_listed(store, "a.x").retired == ["b"]
    assert entry_names(store) == ["a.x"]
    assert not publish_listed(store, "a.x")
    prepare(store, b=nets.mlp(3, 5))
    assert publish_listed(store, "a.x", "b.x").new == ["b"]
    with store.reading() as connection:
        revisions = connection.execute(select(ARCHITECTURE.c.revision).where(ARCHITECTURE.c.name == "b")).scalars()
        assert sorted(revisions) == [1, 2]


def test_a_part_of_a_catalogue_says_nothing_about_the_rest(store: Store) -> None:
    prepare(store, a=nets.mlp(3, 4), b=nets.mlp(3, 5))
    publish_listed(store, "a.x", "b.x")
    assert not publish_listed(store, "a.x", is_whole=False)
    assert publish_listed(store, "a.x", "a.y", is_whole=False).n_entries == 1
    assert entry_names(store) == ["a.x", "a.y", "b.x"]


def test_entries_follow_the_catalogue(store: Store) -> None:
    prepare(store, a=nets.mlp(3, 4), b=nets.mlp(3, 5))

    def sync(*entries: CatalogueEntry, is_whole: bool = True) -> tuple[int, list[str]]:
        with store.writing() as connection:
            changes, _ = publish(connection, [Listing("timm", entries, is_whole)])
        return changes.n_entries, entry_names(store)

    a_x, a_y, b_x, b_z, unknown = entries_named("a.x", "a.y", "b.x", "b.z", "unknown.x")
    assert sync(a_x, a_y, b_x, unknown) == (3, ["a.x", "a.y", "b.x"])
    assert sync(a_x, a_y, b_x) == (0, ["a.x", "a.y", "b.x"])
    assert sync(replace(b_x, license="apache-2.0"), is_whole=False) == (1, ["a.x", "a.y", "b.x"])
    assert sync(a_y, a_x, b_z) == (4, ["a.y", "a.x", "b.z"])


def test_a_name_that_another_catalogue_has_stays_where_it_is(store: Store) -> None:
    prepare(store, a=nets.mlp(3, 4))
    with store.writing() as connection:
        descriptions.prepare(connection, "local", "", [description_of("mine", nets.mlp(2, 2))])
        publish(connection, [Listing("local", [CatalogueEntry("a.x", "mine")], is_whole=False)])
    publish_listed(store, "a.x", "a.y")
    assert {entry["name"]: entry["catalogue"] for entry in look(store).entries.all} == {
        "a.x": "local",
        "a.y": "timm",
    }


def test_a_renamed_architecture_is_found_by_its_old_name(store: Store) -> None:
    prepare(store, old=nets.conv_net(4, 3), other=nets.mlp(3, 5))
    publish_listed(store, "old.x", "other.x")
    prepare(store, "2", fresh=nets.conv_net(4, 3), more=nets.mlp(3, 6))
    changes = publish_listed(store, "fresh.x", "other.x", "more.x")
    assert changes.renamed == {"old": "fresh"}
    for name, found in (("old", "fresh.x"), ("old.x", "fresh.x"), ("old.gone", "fresh.x")):
        assert look(store).entries.find(name)["name"] == found
    # a name that comes back is itself
    prepare(store, "3", old=nets.mlp(2, 2))
    publish_listed(store, "fresh.x", "other.x", "more.x", "old.x")
    assert look(store).entries.find("old.x")["name"] == "old.x"


def test_two_that_vanish_are_not_taken_for_one_that_came(store: Store) -> None:
    prepare(store, one=nets.conv_net(4, 3), two=nets.conv_net(4, 3))
    publish_listed(store, "one.x", "two.x")
    prepare(store, "2", fresh=nets.conv_net(4, 3))
    assert publish_listed(store, "fresh.x").renamed == {}


def test_names_that_a_catalogue_gave_up_lead_to_the_later_ones(store: Store) -> None:
    prepare(store, a=nets.mlp(3, 4))
    listing = Listing("timm", entries_named("a.x", "a.y"), is_whole=True, aliases={"a_first": "a.y"})
    with store.writing() as connection:
        publish(connection, [listing])
    assert look(store).entries.find("a_first")["name"] == "a.y"
    assert look(store).entries.get("a_second") is None


def test_the_difference_between_generations(store: Store) -> None:
    prepare(store, a=nets.mlp(3, 4), b=nets.mlp(3, 5), c=nets.mlp(3, 6))
    publish_listed(store, "a.x", "b.x", "c.x")
    prepare(store, "2", b=nets.mlp(3, 9), d=nets.mlp(3, 8))
    publish_listed(store, "a.x", "a.y", "b.x", "d.x")
    found = difference(store)
    assert (found.since, found.until) == (1, 2)
    assert (found.new, found.changed, found.retired) == (("timm/d",), ("timm/b",), ("timm/c",))
    assert (found.entries_new, found.entries_changed, found.entries_retired) == (("a.y", "d.x"), ("b.x",), ("c.x",))
    assert difference(store, 0, 1).new == ("timm/a", "timm/b", "timm/c")
    assert difference(store, 0, 2).new == ("timm/a", "timm/b", "timm/d")
    assert not difference(store, 2, 2).new
    for since, until in ((2, 1), (0, 3), (-1, 1)):
        with pytest.raises(InputError, match="expected generations from 0 to 2"):
            difference(store, since, until)


def test_clearing_takes_what_retired_long_ago_and_what_only_that_used(store: Store) -> None:
    prepare(store, a=nets.mlp(3, 4), b=nets.conv_net(4, 3))
    publish_listed(store, "a.x", "b.x")
    publish_listed(store, "a.x")
    with store.writing() as connection:
        assert clear(connection, keep_days=1).architectures == 0
    with store.writing() as connection:
        cleared = clear(connection, keep_days=0)
        assert (cleared.architectures, cleared.entries) == (1, 1)
        assert cleared.blocks > 0
        assert cleared.layers > 0
        assert queries.counts(connection, 2)["retired"] == 0
        assert store.check(connection) == []
    assert entry_names(store) == ["a.x"]
    with pytest.raises(InputError, match="expected generations from 2 to 2"):
        difference(store)
    with store.writing() as connection:
        again = clear(connection, keep_days=0)
    assert (again.architectures, again.entries, again.blocks, again.layers) == (0, 0, 0, 0)


def test_what_was_prepared_before_an_interrupt_is_kept_by_clearing(store: Store) -> None:
    put(store, "a", nets.mlp(3, 4))
    prepare(store, b=nets.conv_net(4, 3))
    with store.writing() as connection:
        clear(connection, keep_days=0)
    assert publish_listed(store, "a.x", "b.x").new == ["b"]
    view = look(store)
    assert view.search.architecture(view.entries.find("b.x")["architecture_id"], "dpiat") is not None


def test_a_basis_in_use_loses_its_vectors_one_generation_later(store: Store) -> None:
    basis = embeddings.Basis((embeddings.Landmark("linear", 2, (3, 4)),), np.ones((2, 3), dtype=np.float32))
    a = put(store, "a", nets.mlp(3, 4))
    made = []
    for _ in range(3):
        with store.writing() as connection:
            made.append(writes.put_basis(connection, "dpiat", basis, 1.0))
            writes.put_vectors(connection, made[-1], np.array([a]), np.ones((1, 3), dtype=np.float32))
            publish(connection, [], basis=made[-1])
            generation = queries.generation(connection)
            assert embeddings.standing_basis(connection, "dpiat", generation) == made[-1]
    with store.reading() as connection:
        counts = [len(embeddings.embedded_ids(connection, id_)) for id_ in made]
        assert embeddings.standing_basis(connection, "dpiat", generation - 1) == made[-2]
    assert counts == [0, 1, 1]


def test_one_row_of_a_name_stands_at_a_time(store: Store) -> None:
    from zoo_index.errors import IndexFileError

    put(store, "a", nets.mlp(3, 4))
    put(store, "b", nets.mlp(3, 5))
    with pytest.raises(IndexFileError, match=r"(?i)unique"), store.writing() as connection:
        connection.execute(update(ARCHITECTURE).where(ARCHITECTURE.c.name == "b").values(name="a"))
    with pytest.raises(IndexFileError, match=r"(?i)unique"), store.writing() as connection:
        connection.execute(update(ENTRY).values(name="a.x"))


NETWORKS = [nets.mlp(3, n) for n in range(2, 5)]
DESCRIBED = {(name, k): description_of(name, NETWORKS[k]) for name in "abc" for k in range(3)}


class Generations(RuleBasedStateMachine):
    """Any order of preparing, publishing, dying and clearing against a plain model."""

    numbers = itertools.count()

    @initialize()
    def start(self) -> None:
        import tempfile
        from pathlib import Path

        self.folder = tempfile.TemporaryDirectory()
        self.store = SqliteStore(Path(self.folder.name) / "zoo.db")
        self.ready: dict[str, int] = {}
        self.stands: dict[str, int] = {}
        self.seen: list[tuple[int, dict[str, int]]] = [(0, {})]
        with self.store.writing():
            pass

    @rule(name=st.sampled_from("abc"), k=st.integers(0, 2))
    def prepare(self, name: str, k: int) -> None:
        with self.store.writing() as connection:
            descriptions.prepare(connection, "timm", "1", [DESCRIBED[name, k]])
        self.ready.pop(name, None)
        if self.stands.get(name) != k:
            self.ready[name] = k

    @rule(names=st.sets(st.sampled_from("abc")), is_whole=st.booleans())
    def publish(self, names: set[str], is_whole: bool) -> None:
        listing = Listing("timm", entries_named(*(f"{name}.x" for name in sorted(names))), is_whole)
        with self.store.writing() as connection:
            planned = next_architectures(connection, [listing])
            publish(connection, [listing])
            assert loading.architecture_ids(connection, queries.generation(connection)).tolist() == planned
        if is_whole:
            self.stands = {name: k for name, k in self.stands.items() if name in names}
        self.stands |= {name: k for name, k in self.ready.items() if name in names}
        self.ready = {name: k for name, k in self.ready.items() if name not in names}
        generation = look(self.store).generation
        if generation != self.seen[-1][0]:
            self.seen.append((generation, dict(self.stands)))

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = SqliteStore(self.store.path)

    @rule()
    def clear(self) -> None:
        with self.store.writing() as connection:
            clear(connection, keep_days=0)
        self.seen = self.seen[-1:]

    @invariant()
    def every_generation_is_whole(self) -> None:
        for generation, expected in self.seen[-4:]:
            view = View(self.store, generation)
            found = {}
            for entry in view.entries.all:
                found[entry["architecture"]] = entry["fingerprint"]
                architecture = view.search.architecture(entry["architecture_id"], "dpiat")
                assert architecture is not None
                assert architecture.fingerprint == entry["fingerprint"]
            wanted = {name: DESCRIBED[name, k].dpiat.fingerprint for name, k in expected.items()}
            assert found == wanted
        with self.store.reading() as connection:
            assert self.store.check(connection) == []
            numbers = connection.execute(select(GENERATION.c.number)).scalars().all()
            assert connection.execute(select(STATE.c.generation)).scalar_one() in (0, *numbers)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.folder.cleanup()


Generations.TestCase.settings = settings(max_examples=12, stateful_step_count=20, deadline=None, derandomize=True)
TestGenerations = Generations.TestCase
