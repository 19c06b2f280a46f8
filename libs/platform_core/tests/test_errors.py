"""The tree of domain errors."""

from datetime import timedelta
from inspect import isclass

import pytest

from platform_core.domain import errors
from platform_core.domain.errors import DomainError, FieldError, Invalid, NotFound, QueueFull, Unauthorised

LEAVES = [e for e in vars(errors).values() if isclass(e) and issubclass(e, DomainError) and not e.__subclasses__()]


def test_codes_are_of_one_error_each() -> None:
    codes = [error.code for error in LEAVES]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize("error", LEAVES, ids=lambda e: e.__name__)
def test_every_error_stands_in_the_picture_of_the_tree(error: type[DomainError]) -> None:
    assert error.__name__ in (errors.__doc__ or "")


def test_invalid_input_names_every_bad_field_at_once() -> None:
    error = Invalid([FieldError("name", "Required."), FieldError("region", "Too long.")])
    assert [e.field for e in error.errors] == ["name", "region"]
    assert str(error) == "name: Required.; region: Too long."


def test_what_is_wrong_with_the_whole_input_is_told_without_a_field() -> None:
    assert str(Invalid([FieldError("", "The body is not valid JSON.")])) == "The body is not valid JSON."


def test_the_reason_of_a_refusal_is_not_told_to_the_caller() -> None:
    error = errors.TokenInvalid("token_revoked")
    assert isinstance(error, Unauthorised)
    assert error.reason == "token_revoked"
    assert "revoked" not in error.detail


def test_a_full_queue_tells_limit_size_and_when_to_come_back() -> None:
    error = QueueFull(limit=10, size=10)
    assert (error.limit, error.size) == (10, 10)
    assert error.retry_after > timedelta(0)
    assert "10 of 10" in error.detail


def test_not_found_says_what() -> None:
    assert NotFound("job").detail == "There is no such job."
