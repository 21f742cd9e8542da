"""What passes between the command and the process of a target: messages, errors, text, plans."""

from __future__ import annotations

import contextlib
import json
import os
import unicodedata
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import zoo_index.errors
from transfer.errors import CoverageError, InputError, ZooError
from zoo_index.contained import channel
from zoo_index.contained.failures import error_from, error_values
from zoo_index.contained.limits import limits
from zoo_index.contained.relay import Readable
from zoo_index.contained.surroundings import without_secrets
from zoo_index.foundation.plain_text import plain_lines

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def sent(messages: list[Any]) -> bytes:
    """Bytes of messages, as they go through a pipe."""
    reading, writing = os.pipe()
    for message in messages:
        channel.send(writing, message)
    os.close(writing)
    with open(reading, "rb") as file:
        return file.read()


def cut(data: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(bounds)]


@given(
    st.lists(st.dictionaries(st.text(max_size=3), values, max_size=3), max_size=4), st.lists(st.integers(0, 10**4))
)
def test_messages_arrive_however_they_are_cut(messages: list[dict[str, Any]], places: list[int]) -> None:
    inbox = channel.Inbox()
    assert [message for piece in cut(sent(messages), places) for message in inbox.take(piece)] == messages


@given(st.binary(max_size=40) | st.binary(max_size=20).map(lambda data: b"zoo1" + bytes(7) + b"\x03" + data))
def test_other_bytes_are_refused_or_waited_on(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert all(isinstance(message, dict) for message in channel.Inbox().take(data))


@pytest.mark.parametrize(
    "data",
    [
        b"no message at all",
        b"zoo1" + b"\xff" * 8,
        b"zoo1" + (5).to_bytes(8, "big") + b"[1,2]",
        b"zoo1" + (5).to_bytes(8, "big") + b'{"a":',
        b"zoo1" + (10**5).to_bytes(8, "big") + b"[" * 10**5,
        b"zoo1" + (2).to_bytes(8, "big") + b"\xff\xff",
    ],
)
def test_what_is_no_message(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        list(channel.Inbox().take(data))


@given(st.text() | st.text("\r\n\x1bé"), st.lists(st.integers(0, 10**4)))
def test_text_is_spelt_out_however_it_is_cut(text: str, places: list[int]) -> None:
    spelt = Readable()
    data = text.encode("utf-8", "surrogatepass")
    found = "".join(map(spelt, cut(data, places))) + spelt(b"", is_last=True)
    assert found == Readable()(data, is_last=True)
    assert all(c in "\n\t" or unicodedata.category(c)[0] != "C" for c in found)
    if text.isprintable():
        assert found == text


def test_lines_of_a_progress_bar() -> None:
    spelt = Readable()
    assert "".join(map(spelt, (b"1%\r", b"2%\r\n", b"3%\r", b"\n", b"\n4\xc3", b"\xa9"))) == "1%\n2%\n3%\n\n4é"
    assert plain_lines("a\nb\t\x1b\r") == "a\nb\t\\x1b\\r"


def kinds(root: type[ZooError] = ZooError) -> list[type[ZooError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in kinds(child))]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_every_error_arrives_as_what_it_was(kind: type[ZooError]) -> None:
    assert {CoverageError, InputError, zoo_index.errors.OfflineError} <= set(kinds())
    try:
        raise kind("expected 'a', got \x1b[31m'b'; do that")
    except ZooError as error:
        found = error_from(json.loads(json.dumps(error_values(error))), "net.py")
    assert type(found) is kind
    assert str(found) == "expected 'a', got \\x1b[31m'b'; do that"
    assert found.exit_code == kind.exit_code
    assert Path(__file__).name in found.__notes__[0]


@given(values | st.fixed_dictionaries({"class": values, "message": values, "traceback": values}))
def test_what_is_no_error_is_refused(value: Any) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(error_from(value, "net.py"), ZooError)


@pytest.mark.parametrize(
    ("text", "size"),
    [("8G", 8 << 30), ("500m", 500 << 20), ("1.5GiB", 3 << 29), ("2 KB", 2048), ("100000", 100000)],
)
def test_sizes(monkeypatch: pytest.MonkeyPatch, text: str, size: int) -> None:
    monkeypatch.setenv("ZOO_TARGET_MEMORY", text)
    assert limits().memory == size


@pytest.mark.parametrize("text", ["8X", "G", "-1G", "0", "1e9", "nan", "8G8"])
def test_sizes_that_are_none(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("ZOO_TARGET_MEMORY", text)
    with pytest.raises(InputError, match="such as 8G"):
        limits()


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "two"])
def test_seconds_that_are_none(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("ZOO_TARGET_SECONDS", text)
    with pytest.raises(InputError, match="a number of seconds"):
        limits()


def test_addresses_with_passwords_are_secrets() -> None:
    environment = {
        "ZOO_DB": "postgresql://me:secret@host/zoo",
        "OTHER_DB": "postgresql://me@host/zoo",
        "PROXY": "http://me:secret@proxy:80",
        "MY_TOKEN": "x",
        "HOME": "/home/me",
    }
    assert without_secrets(environment).keys() == {"OTHER_DB", "HOME"}
