"""The shelf: made once, kept while there is room, and nobody is given another's failure."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ichd.web.viewing.shelf import Shelf


def test_what_many_ask_for_at_once_is_made_once() -> None:
    shelf, made, all_ask = Shelf(100), [], threading.Event()

    def make() -> bytes:
        made.append(1)
        all_ask.wait(10)
        return b"slice"

    with ThreadPoolExecutor(8) as readers:
        answers = [readers.submit(shelf.get, "a", make) for _ in range(8)]
        all_ask.set()
        assert {answer.result() for answer in answers} == {b"slice"}
    assert len(made) == 1


def test_the_one_that_was_not_asked_for_longest_goes_first() -> None:
    shelf, made = Shelf(10), []

    def get(key: str) -> bytes:
        def make() -> bytes:
            made.append(key)
            return b"12345"

        return shelf.get(key, make)

    for key in "abac":
        get(key)
    assert made == ["a", "b", "c"]
    get("a")
    get("b")
    assert made == ["a", "b", "c", "b"]


def test_what_is_larger_than_the_shelf_is_given_and_not_kept() -> None:
    shelf = Shelf(3)
    assert shelf.get("a", lambda: b"12345") == b"12345"
    assert shelf.get("a", lambda: b"other") == b"other"


def test_after_a_failure_whoever_waits_tries_by_himself() -> None:
    shelf, begun, go_on = Shelf(100), threading.Event(), threading.Event()

    def fail() -> bytes:
        begun.set()
        go_on.wait(10)
        raise OSError("disk")

    with ThreadPoolExecutor(2) as readers:
        first = readers.submit(shelf.get, "a", fail)
        begun.wait(10)
        second = readers.submit(shelf.get, "a", lambda: b"slice")
        go_on.set()
        with pytest.raises(OSError, match="disk"):
            first.result()
        assert second.result() == b"slice"
