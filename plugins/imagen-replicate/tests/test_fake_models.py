"""The models of the fake server, and the inputs that they take."""

from io import BytesIO

import pytest
from PIL import Image

from replicate_transcripts import BANANA, SCHNELL, TINY, create, fetch


def fields(reply):
    assert reply.status_code == 422, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    return [(one["type"], one["field"]) for one in reply.json()["invalid_fields"]]


def test_community_model_runs_by_its_version_only(server, web):
    version = server.version_of(TINY)
    body = {"input": {"prompt": "a cat"}}

    bare = web.post("/predictions", json={**body, "version": version}).json()
    named = web.post("/predictions", json={**body, "version": f"{TINY}:{version}"}).json()

    assert {(one["model"], one["version"]) for one in (bare, named)} == {(TINY, version)}
    assert web.post(f"/models/{TINY}/predictions", json=body).status_code == 404
    refused = web.post("/predictions", json={**body, "version": TINY})
    assert (refused.status_code, refused.json()["title"]) == (
        422,
        "Invalid version or not permitted",
    )


def test_version_of_another_model_is_invalid(server, web):
    version = f"{SCHNELL}:{server.version_of(TINY)}"

    reply = web.post("/predictions", json={"version": version, "input": {"prompt": "x"}})

    assert (reply.status_code, server.predictions) == (422, [])


def test_model_that_a_test_adds_runs(server, web):
    schema = {"text": {"type": "string"}, "width": {"type": "integer"}, "height": {}}
    server.models["lab/new"] = {"official": True, "schema": schema, "seconds": 0.0, "required": []}
    given = {"text": "x", "width": 96, "height": 64}

    reply = web.post("/models/lab/new/predictions", json={"input": given})
    server.wait_for(reply.json()["id"], "succeeded")

    [url] = server.predictions[0].output
    assert Image.open(BytesIO(fetch(url).content)).size == (96, 64)
    assert web.get("/models/lab/new").json()["is_official"] is True


def test_model_shows_its_choices_behind_references(server, web):
    model = web.get(f"/models/{TINY}").json()

    schemas = model["latest_version"]["openapi_schema"]["components"]["schemas"]
    assert (model["is_official"], model["owner"], model["name"]) == (False, "lab", "tiny")
    assert schemas["scheduler"] == {"enum": ["DDIM", "K_EULER", "PNDM"], "type": "string"}
    assert schemas["Input"]["required"] == ["prompt"]
    properties = schemas["Input"]["properties"]
    assert properties["scheduler"]["allOf"] == [{"$ref": "#/components/schemas/scheduler"}]
    assert properties["width"] == {
        "type": "integer",
        "minimum": 64,
        "maximum": 1024,
        "default": 512,
        "x-order": 1,
    }
    assert list(properties) == list(server.models[TINY]["schema"])


def test_version_shows_the_same_schema_as_its_model(server, web):
    model = web.get(f"/models/{TINY}").json()

    version = web.get(f"/models/{TINY}/versions/{server.version_of(TINY)}").json()

    assert version == model["latest_version"]
    assert version["id"] == server.version_of(TINY)


def test_model_or_version_that_is_unknown_is_refused(web):
    assert web.get("/models/no/such").status_code == 404
    assert web.get(f"/models/{TINY}/versions/{'0' * 64}").status_code == 422


def test_body_with_unknown_keys_is_refused(web):
    reply = web.post(f"/models/{SCHNELL}/predictions", json={"inputs": {}, "stream": False})

    assert fields(reply) == [("required", "(root)"), ("additional_property_not_allowed", "(root)")]


def test_body_that_is_no_object_is_refused(web):
    assert web.post("/predictions", content=b"[1]").status_code == 400
    assert fields(web.post(f"/models/{SCHNELL}/predictions", json={"input": 1})) == [
        ("invalid_type", "input")
    ]


@pytest.mark.parametrize(
    ("given", "kind", "said"),
    [
        ({"num_outputs": 5}, "number_lte", "Must be less than or equal to 4"),
        ({"num_outputs": 0}, "number_gte", "Must be greater than or equal to 1"),
        ({"go_fast": 1}, "invalid_type", "Invalid type. Expected: boolean, given: integer"),
        ({"seed": True}, "invalid_type", "Invalid type. Expected: integer, given: boolean"),
        ({"seed": None}, "invalid_type", "Invalid type. Expected: integer, given: null"),
    ],
)
def test_value_out_of_its_bounds_is_refused(given, kind, said, server, web):
    reply = create(web, **given)

    field = f"input.{next(iter(given))}"
    assert reply.status_code == 422
    assert reply.json()["detail"] == f"- {field}: {said}\n"
    assert reply.json()["invalid_fields"] == [{"type": kind, "field": field, "description": said}]
    assert server.predictions == []


def test_input_that_the_model_does_not_have_is_refused(web):
    reply = create(web, negative_prompt="rain")

    assert fields(reply) == [("additional_property_not_allowed", "input")]
    assert reply.json()["detail"] == (
        "- input: Additional property negative_prompt is not allowed\n"
    )


def test_items_of_a_list_are_checked_too(web):
    given = {"prompt": "x", "image_input": [7]}

    reply = web.post(f"/models/{BANANA}/predictions", json={"input": given})

    assert fields(reply) == [("invalid_type", "input.image_input.0")]
