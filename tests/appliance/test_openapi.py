"""The description of /api/v1, run against the appliance: no 5xx, and what it promises is what comes back."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from appliance_desk import Desk, added
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

_CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
_SETTINGS = settings(
    max_examples=6,
    derandomize=True,  # the same requests on every run
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def session(desk: Desk) -> Iterator[requests.Session]:
    """mary's session, as programs have it that know nothing but the description."""
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {desk.token('mary')}"
        yield session


@pytest.fixture
def known(mary: httpx.Client, new_collection: Callable[[], str]) -> dict[str, Any]:
    """Ids that mean something, so that requests get past the first 404."""
    collection = new_collection()
    document = added(mary, collection, "plain.txt", b"The tenant pays on the first day of each month.")
    batch = mary.post(
        "/api/v1/batches", json={"collection": collection, "files": [{"path": "a.txt", "size_bytes": 3}]}
    ).json()
    ids = {"collection_id": collection, "document_id": document, "batch_id": batch["id"]}
    return ids | {"file_id": batch["files"][0], "n": 1, "ordinal": 0, "token_id": str(uuid.uuid4())}


def test_every_operation_keeps_what_the_description_says(
    desk: Desk, session: requests.Session, known: dict[str, Any]
) -> None:
    described = session.get(f"{desk.room.url}/api/v1/openapi.json", timeout=30).json()
    schema = schemathesis.openapi.from_dict(described)
    ran = 0

    def run(strategy: Any) -> None:
        @_SETTINGS
        @given(case=strategy)
        def check(case: Any) -> None:
            nonlocal ran
            ran += 1
            response = case.call(base_url=desk.room.url, session=session, timeout=30)
            case.validate_response(response, checks=_CHECKS)

        check()

    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) >= 30
    # What destroys comes last: what it destroys is what the others need.
    for operation in sorted(operations, key=lambda one: one.method.upper() == "DELETE"):
        run(operation.as_strategy())
        names = [parameter.name for parameter in operation.path_parameters]
        if names and set(names) <= set(known):
            run(operation.as_strategy(path_parameters={name: known[name] for name in names}))
    assert ran > 200
