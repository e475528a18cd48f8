"""The description of the API is true: it lists every path that is answered and no other, its
examples are accepted, its answers have the shape it says, and what it requires is required."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema
import msgspec
import pytest
from openapi_spec_validator import validate

from tests.gateway.media_lane import FORM, form
from tests.gateway.site import Org, Site, eventually
from tests.gateway.wire import Answer, raw_request
from tests.unit.adapters.pictures import DATA_URL
from tests.unit.adapters.sounds import WAV
from tokenmarket.web.api import COHERE_EMBED, OPERATIONS
from tokenmarket.web.manage.endpoint import PREFIX
from tokenmarket.web.manage.table import ENDPOINTS
from tokenmarket.web.openapi import document
from tokenmarket.web.openapi import operations as table
from tokenmarket.web.openapi.operation import V1, Operation
from tokenmarket.web.openapi.schema import Schemas, struct_fields
from tokenmarket.web.openapi.texts import describe, raw

pytestmark = pytest.mark.asyncio(loop_scope="module")
LANES = 0
ALWAYS = ("x-request-id", "x-tokenmarket-cost")
WITH_EXAMPLE = [row for row in table.OPERATIONS if row.example is not None]


@cache
def described() -> dict[str, Any]:
    return document.public_document()


def checked(schema: dict[str, Any], value: object) -> None:
    """Raises jsonschema.ValidationError unless the value is as described."""
    rooted = {**schema, "components": described()["components"]}
    jsonschema.Draft202012Validator(rooted).validate(value)


def answered_paths(site: Site) -> set[tuple[str, str]]:
    """(method, path) of everything below /api that the server answers."""
    api = site.server.api
    paths = {("POST", path) for path in (*OPERATIONS, *COHERE_EMBED)}
    paths |= {("GET", path) for path in api._exact}
    paths |= {("GET", path) for path in api._public if path.startswith("/api/")}
    for prefix, _ in api._prefixes:
        name = "model" if prefix.endswith("/models/") else "id"
        paths.add(("GET", f"{prefix}{{{name}}}"))
    paths.add(("GET", f"{V1}/models/{{model}}/endpoints"))
    assert api.files is not None  # and ``api.notices`` are for providers, not for callers
    paths.add(("GET", "/files/{folder}/{name}"))
    assert api.videos is not None
    for path, methods in api.videos._exact.items():
        paths |= {(method, V1 + path) for method in methods}
    for (parent, last), methods in api.videos._below.items():
        tail = f"/{last}" if last else ""
        paths |= {(method, f"{V1}/{parent}/{{id}}{tail}") for method in methods}
    return paths


async def test_it_lists_every_path_that_is_answered(site: Site) -> None:
    listed = {
        (method.upper(), path)
        for path, methods in described()["paths"].items()
        for method in methods
    }
    assert listed == answered_paths(site)


async def test_it_is_valid_openapi_and_public(site: Site) -> None:
    answer = await site.get("/api/v1/openapi.json", key=None)
    assert answer.status == 200
    assert answer.json == described()
    validate(answer.json)
    wrong = await site.post("/api/v1/openapi.json", {}, key=None)
    assert wrong.status == 405


async def test_the_management_api_is_described_too(site: Site) -> None:
    answer = await site.get("/api/manage/v1/openapi.json", key=None)
    assert answer.status == 200
    validate(answer.json)
    listed = {
        (method.upper(), path.removeprefix(PREFIX))
        for path, methods in answer.json["paths"].items()
        for method in methods
    }
    assert listed == {(row.method, row.path) for row in ENDPOINTS}
    ids = [
        one["operationId"] for methods in answer.json["paths"].values() for one in methods.values()
    ]
    assert len(ids) == len(set(ids))


async def test_every_field_of_every_body_is_explained() -> None:
    schemas = Schemas(describe, raw)
    bodies = [row.body for row in table.OPERATIONS if row.body is not None]
    for body in bodies:
        schemas.of(body)
    told = {f"{body.__name__}.{name}" for body in bodies for name in struct_fields(body)}
    assert told.isdisjoint(schemas.undescribed)


def filled(value: Any) -> Any:
    """An example with its placeholders replaced by what they stand for."""
    return json.loads(json.dumps(value).replace("{picture}", DATA_URL))


async def sent(site: Site, org: Org, row: Operation, body: dict[str, Any]) -> Answer:
    if row.form != "only":
        return await org.post(row.path, body)
    fields = [(name, str(value)) for name, value in body.items() if name not in row.files]
    files = [(name, "hello.wav", WAV) for name in row.files if name in body]
    return await org.post(row.path, form(fields, files), headers=FORM)


def schema_of(path: str, method: str, kind: str = "application/json") -> Any:
    shown = described()["paths"][path][method.lower()]["responses"]["200"]
    return shown["content"][kind]["schema"]


@pytest.mark.parametrize("row", WITH_EXAMPLE, ids=lambda row: row.id)
async def test_the_example_is_accepted_and_answered_as_described(
    site: Site, row: Operation
) -> None:
    org = await site.org()
    body = filled(row.example)
    answer = await sent(site, org, row, body)
    assert answer.status == 200, answer.body[:500]
    shown = described()["paths"][row.path]["post"]
    for name in shown["responses"]["200"]["headers"]:
        if name in ALWAYS:
            assert name in answer.headers
    content = shown["requestBody"]["content"]
    if "application/json" in content:
        checked(content["application/json"]["schema"], body)
    if row.audio:
        assert answer.headers["content-type"] == "audio/wav"
    else:
        checked(schema_of(row.path, "POST"), answer.json)


REQUIRED = [
    (row, name)
    for row in WITH_EXAMPLE
    if row.body is not None
    for name in (
        *(one.encode_name for one in msgspec.structs.fields(row.body) if one.required),
        *row.required,
        *row.files[: row.files_required],
    )
]


@pytest.mark.parametrize(("row", "name"), REQUIRED, ids=lambda one: getattr(one, "id", one))
async def test_what_is_required_is_required(site: Site, row: Operation, name: str) -> None:
    org = await site.org()
    body = filled(row.example)
    del body[name]
    answer = await sent(site, org, row, body)
    assert answer.status == 400, answer.body[:500]
    assert answer.json["error"]["param"] == name
    checked({"$ref": "#/components/schemas/Error"}, answer.json)


WRONG: tuple[Any, ...] = ({"x": [1]}, [[{}]], "", "surely wrong", -1, 1.5, 2**40, True)


@pytest.mark.parametrize(
    "row", [row for row in WITH_EXAMPLE if row.form != "only"], ids=lambda row: row.id
)
async def test_what_the_description_refuses_is_refused(site: Site, row: Operation) -> None:
    """Every field with every value that its schema does not allow."""
    org = await site.org()
    shown = described()["paths"][row.path]["post"]["requestBody"]["content"]["application/json"]
    refused = 0
    for name in properties(shown["schema"]):
        for value in WRONG:
            body = filled(row.example) | {name: value}
            if allows(shown["schema"], body):
                continue
            answer = await org.post(row.path, body)
            assert answer.status == 400, (name, value, answer.body[:300])
            assert answer.json["error"]["code"] == "REQUEST_001"
            refused += 1
    assert refused > 10


def properties(schema: dict[str, Any]) -> list[str]:
    """The names of a body's fields."""
    parts = schema.get("allOf", [schema])
    components = described()["components"]["schemas"]
    return [
        name
        for part in parts
        if "$ref" in part
        for name in components[part["$ref"].rpartition("/")[2]]["properties"]
    ]


def allows(schema: dict[str, Any], value: object) -> bool:
    try:
        checked(schema, value)
    except jsonschema.ValidationError:
        return False
    return True


@pytest.mark.parametrize("path", ["chat/completions", "completions"])
async def test_events_of_a_stream_are_as_described(site: Site, path: str) -> None:
    org = await site.org()
    row = next(row for row in WITH_EXAMPLE if row.path == f"{V1}/{path}")
    more = {"stream": True, "stream_options": {"include_usage": True}}
    answer = await org.post(row.path, filled(row.example) | more)
    events = [line[6:] for line in answer.body.decode().splitlines() if line.startswith("data: ")]
    assert events.pop() == "[DONE]"
    assert len(events) > 2
    for event in events:
        checked(schema_of(row.path, "POST", "text/event-stream"), json.loads(event))
    assert json.loads(events[-1])["usage"]["cost_details"]["total"]


async def test_what_can_be_read_is_as_described(site: Site) -> None:
    org = await site.org()
    done = await org.post(f"{V1}/chat/completions", filled(WITH_EXAMPLE[0].example))
    order = filled(next(row for row in WITH_EXAMPLE if row.id == "createVideo").example)
    video = (await org.post(f"{V1}/videos", order)).json["id"]

    async def finished() -> bool:
        return (await org.get(f"{V1}/videos/{video}")).json["status"] == "completed"

    await eventually(finished, "the video is made", within_s=30)
    found = {"model": "sandbox-chat", "videos": video, "requests": done.headers["x-request-id"]}
    read = 0
    for row in table.OPERATIONS:
        if row.method != "GET" or row.binary or row.public:
            continue
        kind = "videos" if "/video" in row.path else "requests"
        path = row.path.replace("{id}", found[kind]).replace("{model}", found["model"])
        query = {"getGeneration": f"?id={found['requests']}"}.get(row.id, "")
        if row.id == "getUsage":
            query = "?group_by=day,model,provider,key,operation"
        answer = await org.get(path + query)
        assert answer.status == 200, (path, answer.body[:300])
        checked(schema_of(row.path, "GET"), answer.json)
        read += 1
    assert read >= 12
    content = await org.get(f"{V1}/videos/{video}/content")
    assert content.headers["content-type"] == "video/mp4"
    gone = await site.raw(raw_request("DELETE", f"{V1}/videos/{video}", key=org.key))
    checked(schema_of(f"{V1}/videos/{{id}}", "DELETE"), gone.json)


@pytest.mark.parametrize(
    "row", [row for row in table.OPERATIONS if row.query and not row.public], ids=lambda row: row.id
)
async def test_every_parameter_of_a_query_is_known_and_no_other(site: Site, row: Operation) -> None:
    org = await site.org()
    path = row.path.replace("{id}", "video_" + "0" * 34)
    for query in row.query:
        value = query.choices[0] if query.choices else "1"
        answer = await org.get(f"{path}?{query.name}={value}")
        error = answer.json.get("error", {}) if answer.status != 200 else {}
        assert "Known query parameters" not in error.get("message", "")
    answer = await org.get(f"{path}?surely_unknown=1")
    assert answer.status in (400, 404)
    if answer.status == 400:
        for query in row.query:
            assert query.name in answer.json["error"]["message"]
