"""Pages and pictures are written to what a link leads to, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from transfer.errors import OutputError
from zoo_index.reports.saving import check_html, write, write_text


def test_a_link_stays_and_what_it_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    real, link, first = tmp_path / "real" / "page", tmp_path / "page.html", tmp_path / "first.html"
    real.write_text("old")
    real.chmod(0o640)
    first.symlink_to(link)
    link.symlink_to(Path("real") / "page")
    write_text(check_html(first), "new", "--html")
    assert (real.read_text(), real.stat().st_mode & 0o777) == ("new", 0o640)
    assert first.is_symlink()
    assert link.is_symlink()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["first.html", "page", "page.html", "real"]


def test_what_is_written_has_the_suffix_that_was_asked_for(tmp_path: Path) -> None:
    link = tmp_path / "picture.svg"
    link.symlink_to(tmp_path / "blob")  # which is not there yet
    write(link, lambda place: place.write_text(place.suffix), "--plot")
    assert (tmp_path / "blob").read_text() == ".svg"
    assert link.is_symlink()


def test_what_fails_leaves_all_as_it_was(tmp_path: Path) -> None:
    real, link = tmp_path / "real.html", tmp_path / "page.html"
    real.write_text("old")
    link.symlink_to(real)

    def half(place: Path) -> None:
        place.write_text("ha")
        raise OSError("no more")

    with pytest.raises(OutputError, match=r"page.html', failed: no more; choose another file with --html"):
        write(link, half, "--html")
    assert real.read_text() == "old"
    assert sorted(tmp_path.iterdir()) == [link, real]


def test_links_that_lead_nowhere_are_refused_at_once(tmp_path: Path) -> None:
    loop, lost = tmp_path / "loop.html", tmp_path / "lost.html"
    loop.symlink_to(loop)
    lost.symlink_to(tmp_path / "gone" / "page.html")
    with pytest.raises(OutputError, match="leads to itself; name a file"):
        check_html(loop)
    with pytest.raises(OutputError, match="expected an existing folder"):
        check_html(lost)
    with pytest.raises(OutputError, match="leads to itself"):
        write_text(loop, "text", "--html")
