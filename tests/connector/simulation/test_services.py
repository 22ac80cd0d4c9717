"""The storage services of the simulation keep the rules of Azure's documentation."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.data.tables import TableTransactionError, TransactionOperation, UpdateMode

from connector.simulation.queue_service import QueueAccount, QueueService
from connector.simulation.table_filter import FilterError
from connector.simulation.table_service import PAGE, Table, TableAccount, TableService

NOW = datetime(2026, 3, 2, tzinfo=UTC)


def table() -> Table:
    return TableService(TableAccount()).create_table_if_not_exists("things")


def entity(row: str = "r", **values: object) -> dict[str, object]:
    return {"PartitionKey": "p", "RowKey": row, **values}


def test_an_entity_is_created_once() -> None:
    there = table()
    there.create_entity(entity(a=1))

    with pytest.raises(ResourceExistsError):
        there.create_entity(entity(a=2))
    assert there.get_entity("p", "r")["a"] == 1


def test_a_write_with_the_etag_of_another_version_is_refused() -> None:
    there = table()
    there.create_entity(entity(a=1))
    read = there.get_entity("p", "r")
    there.update_entity(entity(a=2))

    with pytest.raises(ResourceModifiedError):
        there.update_entity(
            entity(a=3),
            etag=read.metadata["etag"],
            match_condition=MatchConditions.IfNotModified,
        )
    assert there.get_entity("p", "r")["a"] == 2


def test_a_merge_keeps_what_is_not_given_and_a_replacement_does_not() -> None:
    there = table()
    there.create_entity(entity(a=1, b=2))
    there.upsert_entity(entity(a=3), mode=UpdateMode.MERGE)
    assert there.get_entity("p", "r")["b"] == 2

    there.upsert_entity(entity(a=4), mode=UpdateMode.REPLACE)

    assert "b" not in there.get_entity("p", "r")


def test_an_update_of_what_is_not_there_is_refused_and_its_deletion_is_not() -> None:
    there = table()

    with pytest.raises(ResourceNotFoundError):
        there.update_entity(entity(a=1))
    there.delete_entity("p", "r")


def test_a_transaction_is_done_whole_or_not_at_all() -> None:
    there = table()
    there.create_entity(entity("2"))
    steps = [(TransactionOperation.CREATE, entity(row)) for row in ("1", "2", "3")]

    with pytest.raises(TableTransactionError) as refused:
        there.submit_transaction(steps)

    assert refused.value.status_code == 409
    assert [found["RowKey"] for found in there.list_entities()] == ["2"]


@pytest.mark.parametrize("count", [100, 101])
def test_a_transaction_has_at_most_a_hundred_operations(count: int) -> None:
    there = table()
    steps = [(TransactionOperation.CREATE, entity(str(n))) for n in range(count)]

    if count > 100:
        with pytest.raises(HttpResponseError):
            there.submit_transaction(steps)
    else:
        assert len(there.submit_transaction(steps)) == count


def test_a_transaction_touches_an_entity_once_in_one_partition_and_has_four_mebibytes() -> None:
    there = table()
    twice = [(TransactionOperation.UPSERT, entity()), (TransactionOperation.UPSERT, entity())]
    large = [
        (TransactionOperation.UPSERT, entity(str(n), a="x" * 30_000, b="x" * 30_000))
        for n in range(50)
    ]
    apart = [
        (TransactionOperation.UPSERT, entity()),
        (TransactionOperation.UPSERT, {**entity(), "PartitionKey": "q"}),
    ]

    with pytest.raises(TableTransactionError, match="InvalidDuplicateRow"):
        there.submit_transaction(twice)
    with pytest.raises(TableTransactionError) as refused:
        there.submit_transaction(large)
    assert refused.value.status_code == 413
    with pytest.raises(ValueError, match="Partition Keys"):
        there.submit_transaction(apart)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"RowKey": "a/b"}, HttpResponseError),
        ({"RowKey": "a\u0080b"}, HttpResponseError),
        ({"RowKey": "x" * 513}, HttpResponseError),
        ({"a": "x" * 32_769}, HttpResponseError),
        ({"a": 2**31}, TypeError),
        ({"a-b": 1}, HttpResponseError),
        ({"a": ["list"]}, TypeError),
    ],
)
def test_what_no_entity_may_be_is_refused(
    values: Mapping[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        table().create_entity({**entity(), **values})


def test_a_query_gives_all_entities_in_the_order_of_their_keys_over_many_pages() -> None:
    there = table()
    for number in reversed(range(PAGE + 5)):
        there.create_entity(entity(f"{number:05}", even=number % 2 == 0))

    rows = list(there.query_entities("PartitionKey eq @p", parameters={"p": "p"}))
    even = list(there.query_entities("even eq true and RowKey lt '00010'", select=["RowKey"]))

    assert [row["RowKey"] for row in rows] == [f"{n:05}" for n in range(PAGE + 5)]
    assert even == [{"RowKey": f"{n:05}"} for n in (0, 2, 4, 6, 8)]


def test_a_comparison_with_a_property_that_is_not_there_does_not_hold() -> None:
    there = table()
    there.create_entity(entity("without"))
    there.create_entity(entity("with", closed=False))

    assert [e["RowKey"] for e in there.query_entities("closed eq false")] == ["with"]
    assert [e["RowKey"] for e in there.query_entities("closed ne true")] == ["with"]
    assert [e["RowKey"] for e in there.query_entities("not ( closed eq true )")] == [
        "with",
        "without",
    ]


@pytest.mark.parametrize("asked", ["a eq", "a like 'b'", "( a eq 1", "a eq 1 a eq 2", "a eq b"])
def test_what_is_no_filter_is_refused(asked: str) -> None:
    there = table()
    there.create_entity(entity(a=1))

    with pytest.raises(FilterError):
        list(there.query_entities(asked))


def test_a_filter_compares_fifteen_values_at_most() -> None:
    asked = " or ".join(["a eq 1"] * 16)

    with pytest.raises(FilterError, match="16 comparisons"):
        list(table().query_entities(asked))


def queue() -> tuple[QueueAccount, list[datetime]]:
    now = [NOW]
    return QueueAccount(lambda: now[0], Random(1)), now  # noqa: S311 - no secret


def test_a_message_that_was_taken_is_hidden_for_a_while_and_counted() -> None:
    account, now = queue()
    there = QueueService(account).get_queue_client("q")
    there.create_queue()
    there.send_message("text", visibility_timeout=5)
    assert there.take(1, timedelta(minutes=1)) == []

    now[0] += timedelta(seconds=5)
    [first] = there.take(32, timedelta(minutes=1))
    assert there.take(32, timedelta(minutes=1)) == []
    now[0] += timedelta(minutes=1)
    [second] = there.take(32, timedelta(minutes=1))

    assert (first.dequeued, second.dequeued) == (1, 2)
    with pytest.raises(HttpResponseError, match="PopReceiptMismatch"):
        there.delete(first)
    there.delete(second)
    assert there.get_queue_properties().approximate_message_count == 0


def test_a_message_is_gone_after_seven_days() -> None:
    account, now = queue()
    there = QueueService(account).get_queue_client("q")
    there.create_queue()
    there.send_message("text")

    now[0] += timedelta(days=7)

    assert there.take(1, timedelta(minutes=1)) == []


@pytest.mark.parametrize("seconds", [-1, 7 * 86_400])
def test_a_message_is_hidden_for_less_than_its_life(seconds: int) -> None:
    account, _ = queue()
    there = QueueService(account).get_queue_client("q")
    there.create_queue()

    with pytest.raises(HttpResponseError):
        there.send_message("text", visibility_timeout=seconds)


def test_a_queue_is_created_once() -> None:
    account, _ = queue()
    there = QueueService(account).get_queue_client("q")
    there.create_queue()

    with pytest.raises(ResourceExistsError):
        there.create_queue()
