"""Queries and pages."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest
from starlette.requests import Request

from platform_core.domain.errors import Invalid
from platform_core.domain.jobs import JobStatus
from platform_core.wire.base import PageQuery
from platform_server.kit import pages

MakeRequest = Callable[..., Request]


class Jobs(PageQuery, frozen=True):
    status: JobStatus | None = None


def wrong(request: Request) -> list[str]:
    with pytest.raises(Invalid) as refused:
        pages.query(request, Jobs)
    return sorted(error.field for error in refused.value.errors)


def test_a_page_has_50_items_unless_it_is_asked_for_1_to_200(request_of: MakeRequest) -> None:
    assert pages.query(request_of(), Jobs).limit == 50
    assert [pages.query(request_of(query=f"limit={n}"), Jobs).limit for n in (1, 200)] == [1, 200]


@pytest.mark.parametrize("limit", ["0", "201", "-1", "x", "", "1.5", "9" * 400])
def test_no_other_limit_is_taken(request_of: MakeRequest, limit: str) -> None:
    assert wrong(request_of(query=f"limit={limit}")) == ["limit"]


def test_every_bad_parameter_is_named_at_once(request_of: MakeRequest) -> None:
    assert wrong(request_of(query="limit=0&status=gone&typo=1")) == ["limit", "status", "typo"]


def test_filters_are_read(request_of: MakeRequest) -> None:
    assert pages.query(request_of(query="status=running"), Jobs).status is JobStatus.RUNNING


def test_a_cursor_leads_on_after_the_last_item_and_is_null_at_the_end() -> None:
    items = [UUID(int=n) for n in range(5, 0, -1)]
    seen: list[UUID] = []
    asked = PageQuery(limit=2)
    while True:
        last = pages.after(asked, UUID)
        left = [item for item in items if last is None or item < last]
        page = pages.cut(left[: asked.limit + 1], asked, key=lambda item: item)
        seen += page.items
        if page.next_cursor is None:
            break
        asked = PageQuery(limit=2, cursor=page.next_cursor)
    assert seen == items


def test_a_full_last_page_has_no_next_one() -> None:
    assert pages.cut([1, 2], PageQuery(limit=2), key=lambda item: item).next_cursor is None


def test_a_cursor_may_be_of_several_columns() -> None:
    key = (datetime(2026, 1, 24, 1, 2, 3, 456789, UTC), UUID(int=7))
    cursor = pages.cut([key, key], PageQuery(limit=1), key=lambda item: item).next_cursor
    assert pages.after(PageQuery(cursor=cursor), tuple[datetime, UUID]) == key


@pytest.mark.parametrize("cursor", ["", "x", "%%%", "é", "bnVsbA==", "MQ==", "/w==", "\x00"])
def test_what_is_no_cursor_of_the_list_is_invalid(cursor: str) -> None:
    with pytest.raises(Invalid) as refused:
        pages.after(PageQuery(cursor=cursor), UUID)
    assert [error.field for error in refused.value.errors] == ["cursor"]
