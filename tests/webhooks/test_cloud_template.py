"""Prefect Cloud's webhook template, rendered as Cloud renders it: it gives what the trigger needs."""

import json
from typing import Any

import jinja2
import pytest
import yaml

from sandbox.stack import ROOT
from webhooks.objects import created_objects

TEMPLATE = (ROOT / "docs" / "cloud-webhook.json.j2").read_text(encoding="utf-8")


def body(**fields: Any) -> dict[str, Any]:
    found = {"key": 'members/"dép" \\ 1.csv', "version-id": "v1", "etag": "e1", "size": 7, **fields}
    return {"source": "aws.s3", "detail-type": "Object Created", "detail": {"bucket": {"name": "b"}, "object": found}}


def rendered(event: dict[str, Any]) -> dict[str, Any]:
    text = jinja2.Environment().from_string(TEMPLATE).render(body=event)  # noqa: S701 - JSON, by tojson
    event = json.loads(text)
    return event


def test_it_tells_what_the_service_tells() -> None:
    [found], _ = created_objects(body())
    ours = found.event()
    theirs = rendered(body())
    assert theirs == {name: ours[name] for name in ("event", "resource", "payload")}


def test_a_version_that_s3_does_not_give_is_null() -> None:
    event = body()
    del event["detail"]["object"]["version-id"]
    assert rendered(event)["payload"]["version_id"] is None


def test_a_reject_file_is_another_event() -> None:
    assert rendered(body(key="members/x.csv.rejected/1.csv"))["event"] == "s3.object.rejected"


@pytest.mark.parametrize("name", ["bucket", "key", "version_id"])
def test_the_trigger_names_no_field_that_is_not_sent(name: str) -> None:
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    [trigger] = [trigger for deployment in deployments for trigger in deployment.get("triggers", [])]
    assert trigger["parameters"][name] == f"{{{{ event.payload.{name} }}}}"
    assert set(trigger["parameters"]) <= set(rendered(body())["payload"])
