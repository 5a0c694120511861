"""Every code has a meaning for people, and every error says what it knows."""

import ast
import sys
from pathlib import Path

import pytest

import ichd.domain
from ichd.domain import errors
from ichd.domain.reason import MEANINGS, Reason


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_meaning_of_one_sentence(reason: Reason) -> None:
    assert reason.meaning == reason.meaning.strip()
    assert len(reason.meaning.split()) >= 5
    assert not reason.meaning.endswith(".")
    assert reason.value == reason.name.lower()


def test_no_meaning_is_used_twice_or_left_over() -> None:
    assert set(MEANINGS) == set(Reason)
    assert len(set(MEANINGS.values())) == len(Reason)


@pytest.mark.parametrize("kind", [errors.Transient, errors.Permanent, errors.Refused, errors.NotAnalysable])
def test_a_coded_error_says_meaning_and_numbers(kind: type[errors.CodedError]) -> None:
    error = kind(Reason.TOO_FEW_SLICES, "3 positions, 10 needed")
    assert str(error) == "fewer distinct slice positions than study.min_slices asks for (3 positions, 10 needed)"
    assert (error.reason, error.detail) == (Reason.TOO_FEW_SLICES, "3 positions, 10 needed")
    assert str(kind(Reason.NOT_A_HEAD)) == Reason.NOT_A_HEAD.meaning


def test_an_error_is_transient_or_permanent_never_both() -> None:
    coded = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, errors.CodedError)]
    for kind in coded:
        if kind is not errors.CodedError:
            assert issubclass(kind, errors.Transient) != issubclass(kind, errors.Permanent)
    assert all(
        issubclass(e, errors.IchdError)
        for e in vars(errors).values()
        if isinstance(e, type) and issubclass(e, Exception)
    )


def test_domain_imports_the_standard_library_and_itself_only() -> None:
    for path in Path(ichd.domain.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.startswith("ichd.domain") or name.split(".")[0] in sys.stdlib_module_names, (path, name)
