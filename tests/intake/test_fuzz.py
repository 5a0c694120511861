"""A few thousand hostile inputs for each parser, the same ones in every run; tests/benchmarks/fuzz.py brings more."""

import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ichd.domain.errors import Refused
from ichd.domain.reason import Reason
from ichd.intake.header import parse_header
from tests.intake.fuzzing import ENCODINGS, TARGETS, Patch, mutations, patched, seeds

#: More than that for one input is a hang, seconds.
LONGEST_S = 2.0

PATCHES = st.lists(
    st.tuples(st.integers(0, 1 << 14), st.integers(0, 16), st.binary(max_size=12)), min_size=1, max_size=6
)


@pytest.mark.parametrize("target", TARGETS)
def test_seeds_are_no_crash_themselves(target: str) -> None:
    for seed in seeds(target):
        TARGETS[target](seed)


@pytest.mark.parametrize("target", TARGETS)
def test_mutated_inputs_neither_crash_nor_hang(target: str) -> None:
    for content in mutations(target, 2000):
        started = time.monotonic()
        TARGETS[target](content)
        assert time.monotonic() - started < LONGEST_S


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=300, deadline=2000, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(choice=st.integers(0, 1 << 10), patches=PATCHES)
def test_patched_seeds_neither_crash_nor_hang(target: str, choice: int, patches: list[Patch]) -> None:
    starts = seeds(target)
    TARGETS[target](patched(starts[choice % len(starts)], patches))


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=300, deadline=2000, derandomize=True)
@given(content=st.binary(max_size=2000))
def test_random_bytes_neither_crash_nor_hang(target: str, content: bytes) -> None:
    TARGETS[target](content)


def test_mutations_go_deep() -> None:
    """A fuzzer whose inputs all fail at the first byte proves nothing."""
    ends: Counter[str] = Counter()
    for content in mutations("header", 1000):
        try:
            parse_header(content[1:], ENCODINGS[content[0] % len(ENCODINGS)] if content else "")
            ends["facts"] += 1
        except Refused as error:
            ends[error.reason] += 1
    assert ends["facts"] > 10
    assert {Reason.NOT_DICOM, Reason.TRUNCATED, Reason.BAD_UID} <= ends.keys()
