"""The fake server replies as Replicate does, transcript by transcript."""

import re

import httpx
import pytest

from replicate_transcripts import (
    PRO,
    REPLIES,
    SCHNELL,
    comparable,
    expected,
    fetch,
)

VENDOR = {
    "official": True,
    "output": "string",
    "seconds": 0.0,
    "schema": {
        "prompt": {"type": "string"},
        "aspect_ratio": {"type": "string", "default": "1:1"},
        "width": {"type": "integer"},
        "height": {"type": "integer"},
        "num_outputs": {"type": "integer", "default": 1},
        "output_format": {"type": "string", "default": "png"},
        "seed": {"type": "integer"},
    },
}
"""A model behind the server, such as flux-2-pro, as far as the transcripts use it."""


class Case:
    """A transcript, and the server that shall come into its situation."""

    def __init__(self, number, server, web):
        self.server = server
        self.web = web
        self.request = REPLIES[number]["request"]
        self.response = REPLIES[number]["response"]
        body = self.response["body"]
        self.given = body.get("input") if isinstance(body, dict) else None

    def send(self, **headers):
        """Sends the request of the transcript."""
        sent = {**self.request["headers"], **headers}
        sent["Authorization"] = headers.get("Authorization", f"Bearer {self.server.token}")
        body = self.request.get("body")
        if body is not None:
            self.given = body["input"]
        url = self.request["url"].removeprefix("https://api.replicate.com/v1")
        return self.web.request(self.request["method"], url, json=body, headers=sent)

    def begin(self, model=SCHNELL, status="", **headers):
        """Creates a prediction of the transcript's input, and gives its id in that status."""
        url = f"/models/{model}/predictions"
        reply = self.web.post(url, json={"input": self.given}, headers=headers)
        prediction_id = reply.json()["id"]
        if status:
            self.server.wait_for(prediction_id, status)
        return prediction_id

    def look(self, prediction_id):
        return self.web.get(f"/predictions/{prediction_id}")


def send(case):
    return case.send()


def send_the_whole_input(case):
    case.request = {**case.request, "body": {**case.request["body"], "input": case.given}}
    return case.send()


def send_for_early_files(case):
    case.server.files_ready_early(True)
    return case.send()


def send_held_in_starting(case):
    case.server.hold("starting")
    case.server.shorten_holds()
    return case.send()


def send_held_in_processing(case):
    case.server.models["black-forest-labs/flux-2-max"] = VENDOR
    case.server.hold("processing")
    case.server.shorten_holds()
    return case.send()


def look_while_it_runs(case):
    case.server.hold()
    return case.look(case.begin(status="processing"))


def look_at_its_end(case):
    return case.look(case.begin(status="succeeded"))


def look_at_a_string(case):
    case.given = {"prompt": "a lighthouse in fog", "seed": 47742, "output_format": "jpg"}
    return case.look(case.begin(PRO, "succeeded"))


def look_at_three_of_four(case):
    case.server.withhold(1)
    case.given = {**case.given, "num_outputs": 4}
    return case.look(case.begin(status="succeeded"))


def send_for_data(case):
    case.server.answer_with("data")
    case.server.files_ready_early(True)
    return case.send(Prefer="wait")


def look_at_none_of_one(case):
    case.server.withhold(1)
    return case.look(case.begin(status="failed"))


def look_at_a_vendors_failure(case):
    case.server.models["black-forest-labs/flux-2-pro"] = VENDOR
    case.server.fail_with(case.response["body"]["error"])
    return case.look(case.begin("black-forest-labs/flux-2-pro", "failed"))


def cancel(case):
    case.server.hold()
    return case.web.post(f"/predictions/{case.begin(status='processing')}/cancel")


def look_after_the_deadline_in_starting(case):
    case.server.hold("starting")
    prediction_id = case.begin(**{"Cancel-After": "60s"})
    case.server.deadline(prediction_id)
    return case.look(prediction_id)


def look_after_the_deadline_in_processing(case):
    case.server.hold("processing")
    prediction_id = case.begin(status="processing", **{"Cancel-After": "60s"})
    case.server.deadline(prediction_id)
    return case.look(prediction_id)


def look_an_hour_later(case):
    case.given = {"prompt": "x"}
    prediction_id = case.begin(status="succeeded")
    case.server.remove_data(prediction_id)
    case.given = {}
    return case.look(prediction_id)


def fetch_an_hour_later(case):
    case.given = {"prompt": "x", "output_format": "png"}
    [url] = case.look(case.begin(status="succeeded")).json()["output"]
    case.server.expire_files()
    return fetch(url)


def send_without_a_token(case):
    return case.send(Authorization="")


def send_with_another_token(case):
    return case.send(Authorization="Bearer r8_other")


def send_to_be_refused(case):
    body, headers = case.response["body"], case.response["headers"]
    case.server.refuse("create", case.response["status"], body, headers)
    return case.send()


def send_two_wrong_inputs(case):
    case.server.models[SCHNELL]["schema"]["aspect_ratio"]["enum"] = ["1:1", "16:9"]
    return case.send()


def list_all(case):
    case.given = case.response["body"]["results"][0]["input"]
    case.begin(status="succeeded")
    return case.web.get("/predictions?created_after=2000-01-01T00:00:00Z")


def upload(case):
    picture = ("in.png", bytes(51234), "image/png")
    return case.web.post("/files", files={"content": picture})


def show_the_model(case):
    schema = case.server.models[SCHNELL]["schema"]
    short = {name: schema[name] for name in ("prompt", "aspect_ratio")}
    case.server.models[SCHNELL]["schema"] = short
    return case.send()


SITUATIONS = {
    "01": send,
    "02": send_for_early_files,
    "03": send,
    "04": send_held_in_starting,
    "05": send_held_in_processing,
    "06": send_the_whole_input,
    "07": send_the_whole_input,
    "08": look_while_it_runs,
    "09": look_at_its_end,
    "10": look_at_a_string,
    "11": look_at_three_of_four,
    "12": send_for_data,
    "13": look_at_none_of_one,
    "14": look_at_a_vendors_failure,
    "15": look_at_a_vendors_failure,
    "16": cancel,
    "17": look_after_the_deadline_in_starting,
    "18": look_after_the_deadline_in_processing,
    "19": look_an_hour_later,
    "20": fetch_an_hour_later,
    "21": send_without_a_token,
    "22": send_with_another_token,
    "23": send_to_be_refused,
    "24": send_to_be_refused,
    "25": send,
    "26": send,
    "27": send,
    "28": send_two_wrong_inputs,
    "29": send_to_be_refused,
    "30": send_to_be_refused,
    "31": send_to_be_refused,
    "32": send_to_be_refused,
    "33": list_all,
    "34": upload,
    "35": show_the_model,
}
UNSAID = {"14": {"started_at"}, "15": {"started_at"}}
"""Keys of a reply that its transcript leaves out, although the prediction was started."""


def test_every_transcript_has_its_case():
    # The last one is no reply but what the server sends to a webhook.
    assert {*SITUATIONS, "36"} == set(REPLIES)


@pytest.mark.parametrize("number", SITUATIONS)
def test_fake_replies_as_the_transcript_says(number, server, web):
    case = Case(number, server, web)

    reply = SITUATIONS[number](case)

    assert reply.status_code == case.response["status"]
    headers = case.response["headers"]
    assert {name: comparable(reply.headers[name]) for name in headers} == comparable(headers)
    assert without(body_of(reply), UNSAID.get(number, ())) == wanted(number, case)


def test_record_at_its_end_is_what_a_webhook_gets(server, web):
    case = Case("09", server, web)

    reply = look_at_its_end(case)

    assert body_of(reply) == comparable(REPLIES["36"]["request"]["body"])


def test_addresses_lead_to_the_prediction_and_to_the_other_host(server, web):
    reply = Case("01", server, web).send()

    own = f"{server.url}/predictions/{reply.json()['id']}"
    assert reply.headers["location"] == own
    assert reply.json()["urls"]["get"] == own
    server.wait_for(reply.json()["id"], "succeeded")
    [file] = web.get(own).json()["output"]
    assert re.fullmatch(rf"{server.files_url}/xezq/[\w-]+/out-0\.png", file)
    assert httpx.URL(file).host != httpx.URL(server.url).host


def body_of(reply):
    if "json" in reply.headers["content-type"]:
        return comparable(reply.json())
    return comparable(reply.text)


def wanted(number, case):
    said = case.response["body"]
    named = isinstance(said, dict) and ("input" in said or "results" in said)
    return expected(number, case.given if named else None)


def without(body, keys):
    assert set(keys) <= set(body)
    return {name: one for name, one in body.items() if name not in keys} if keys else body
