"""Prefect's runs that name the person in their parameters go; others, and what a user name only seems to name, stay."""

from collections.abc import Iterator
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed

from commands.erasure.person import Person
from commands.erasure.runs import erase_runs, find_runs

pytestmark = pytest.mark.usefixtures("prefect_api")
ID = "0c0c0c0c-1111-4222-8333-444444444444"
PERSON = Person(ID, hashed_id="f" * 64, addresses=frozenset({"Ada@Example.org", "true"}))


@flow
def with_parameters(key: str | None = None, names: dict[str, Any] | None = None) -> None:
    """Does nothing."""


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as made:
        yield made


def exists(client: SyncPrefectClient, run_id: Any) -> bool:
    try:
        return client.read_flow_run(run_id) is not None
    except ObjectNotFound:
        return False


@pytest.mark.parametrize(
    ("parameters", "goes"),
    [
        ({"key": f"by-hand/{ID.upper()}.csv"}, True),
        ({"key": f"by-hand/{ID.replace('-', '')}.csv"}, True),
        ({"names": {"notes": ["for", {"who": "ADA@example.org"}]}}, True),
        ({"key": "f" * 64}, True),
        ({"key": f"by-hand/{ID[:-1]}5.csv"}, False),
        ({"key": "not-ada@example.org"}, False),
        ({"names": {"is": True, "word": "true"}}, False),
        ({}, False),
    ],
)
def test_a_run_goes_if_its_parameters_name_the_person(
    client: SyncPrefectClient, parameters: dict[str, Any], goes: bool
) -> None:
    run = client.create_flow_run(with_parameters, parameters=parameters, state=Completed())
    lines = [found.line() for found in find_runs(client, PERSON)]
    assert lines == (["erase  Prefect: 1 runs whose parameters have the id or an address, deleted"] if goes else [])
    erase_runs(client, PERSON)
    assert exists(client, run.id) != goes
    assert find_runs(client, PERSON) == []


def test_a_run_goes_if_its_name_names_the_person(client: SyncPrefectClient) -> None:
    run = client.create_flow_run(with_parameters, name=f"s3-to-rds {ID}.csv", state=Completed())
    erase_runs(client, PERSON)
    assert not exists(client, run.id)


def test_a_deployment_is_named_and_left(client: SyncPrefectClient) -> None:
    flow_id = client.create_flow(with_parameters)
    deployment = client.create_deployment(flow_id, "for-one", parameters={"key": ID}, enforce_parameter_schema=False)
    [found] = find_runs(client, PERSON)
    assert found.is_left and "change them: for-one" in found.line()
    erase_runs(client, PERSON)
    client.delete_deployment(deployment)
