"""What the fake server does when nothing goes wrong."""

import datetime
import hashlib
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from imagen_replicate.testing import FakeReplicate
from replicate_transcripts import (
    DEV,
    SCHNELL,
    create,
    create_tiny,
    fetch,
    finish,
    open_client,
)


def test_token_may_come_in_either_form(server, web):
    said = {"Authorization": f"Token {server.token}"}

    assert web.get("/predictions", headers=said).status_code == 200


def test_path_that_is_none_is_not_found(web):
    assert web.get("/trainings").status_code == 404
    assert web.get("/predictions/unknown").status_code == 404
    assert web.post("/predictions/unknown/cancel").status_code == 404


def test_requests_are_kept_in_order_and_creates_apart(server, web):
    create(web)
    web.get("/predictions")
    web.post("/models/no/such/predictions", json={})

    assert [one.method for one in server.requests] == ["POST", "GET", "POST"]
    assert [one.path for one in server.creates] == [
        f"/v1/models/{SCHNELL}/predictions",
        "/v1/models/no/such/predictions",
    ]


def test_prediction_is_there_to_look_at(server, web):
    record = finish(web, seed=7, num_outputs=2)

    [one] = server.predictions
    assert (one.id, one.model, one.version) == (record["id"], SCHNELL, "hidden")
    assert (one.status, one.output, one.logs) == ("succeeded", record["output"], record["logs"])
    assert one.input == {"prompt": "a lighthouse in fog", "seed": 7, "num_outputs": 2}
    assert (one.error, one.pictures, one.cancel_after, one.deadline) == (None, 2, None, None)
    assert one.created_at <= one.started_at <= one.completed_at


def test_pictures_are_billed_at_their_end(server, web):
    server.hold()
    create(web, num_outputs=3)
    assert (server.bills, server.idle) == (0, False)

    server.release()
    server.wait_for(server.predictions[0].id, "succeeded")

    assert (server.bills, server.run_seconds_billed, server.idle) == (3, 0, True)


def test_reply_is_held_until_the_end(web):
    reply = create(web, headers={"Prefer": "wait"})

    assert (reply.status_code, reply.json()["status"]) == (201, "succeeded")
    assert reply.headers["preference-applied"] == "wait"
    assert "location" not in reply.headers


def test_hold_runs_out_while_the_prediction_starts(server, web):
    server.hold("starting")

    reply = create(web, headers={"Prefer": "wait=1"})

    assert (reply.status_code, reply.json()["status"]) == (202, "starting")
    assert reply.headers["location"] == reply.json()["urls"]["get"]


def test_holds_can_be_shortened(server, web):
    server.hold("processing")
    server.shorten_holds()

    reply = create(web, headers={"Prefer": "wait=60"})

    assert (reply.status_code, reply.json()["status"]) == (202, "processing")
    assert reply.headers["preference-applied"] == "wait=60"


@pytest.mark.parametrize("said", ["wait=0", "wait=61", "wait=1.5", "return=minimal"])
def test_preference_that_is_out_of_bounds_is_refused(said, server, web):
    assert create(web, headers={"Prefer": said}).status_code == 422
    assert server.predictions == []


def test_held_prediction_is_answered_when_it_is_released(server, web):
    server.hold("processing")
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(create, web, headers={"Prefer": "wait"})
        server.wait_predictions(1)
        server.wait_for(server.predictions[0].id, "processing")
        server.release()

    assert reply.result().json()["status"] == "succeeded"
    assert create(web, headers={"Prefer": "wait"}).json()["status"] == "succeeded"


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("90s", 90), ("5m", 300), ("1h30m45s", 5445), ("30", 30), ("5s", 5), ("2h", 7200)],
)
def test_deadline_is_read_in_all_its_forms(said, seconds, server, web):
    server.hold()

    record = create(web, headers={"Cancel-After": said}).json()

    assert server.predictions[0].cancel_after == seconds
    created, deadline = (
        datetime.datetime.fromisoformat(record[key]) for key in ("created_at", "deadline")
    )
    assert deadline - created == datetime.timedelta(seconds=seconds)


@pytest.mark.parametrize("said", ["4s", "4", "", "soon", "1d", "0h"])
def test_deadline_that_is_too_near_or_none_is_refused(said, server, web):
    assert create(web, headers={"Cancel-After": said}).status_code == 422
    assert server.predictions == []


@pytest.mark.system  # There is no nearer deadline than that of five seconds.
def test_deadline_ends_a_prediction_by_itself(server, web):
    server.hold("starting")
    prediction_id = create(web, headers={"Cancel-After": "5s"}).json()["id"]

    server.wait_for(prediction_id, "aborted")

    assert server.finished_at(prediction_id) - server.predictions[0].created >= 5
    assert (server.bills, server.run_seconds_billed, server.idle) == (0, 0, True)


def test_prediction_canceled_while_it_runs_is_billed_by_its_time(server, web):
    server.hold()
    prediction_id = create(web).json()["id"]
    server.wait_for(prediction_id, "processing")

    record = web.post(f"/predictions/{prediction_id}/cancel").json()

    assert (record["status"], server.bills) == ("canceled", 0)
    assert record["metrics"]["predict_time"] == pytest.approx(server.run_seconds_billed, abs=1e-5)
    assert server.run_seconds_billed > 0


def test_prediction_canceled_before_it_runs_costs_nothing(server, web):
    server.hold("starting")
    prediction_id = create(web).json()["id"]

    record = web.post(f"/predictions/{prediction_id}/cancel").json()

    assert (record["status"], "metrics" in record, server.run_seconds_billed) == (
        "canceled",
        False,
        0,
    )


def test_cancel_of_a_finished_prediction_changes_nothing(server, web):
    record = finish(web)

    assert web.post(f"/predictions/{record['id']}/cancel").json() == record
    assert server.bills == 1


def test_prediction_canceled_elsewhere_ends_a_held_reply(server, web):
    server.hold()
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(create, web, headers={"Prefer": "wait"})
        server.wait_predictions(1)
        server.cancel_elsewhere(server.predictions[0].id)

    assert (reply.result().status_code, reply.result().json()["status"]) == (201, "canceled")


def test_list_has_the_newest_first_in_pages(server, web):
    ids = [create_tiny(web, server, seed=seed).json()["id"] for seed in range(103)]

    first = web.get("/predictions").json()
    second = web.get(first["next"]).json()

    listed = [one["id"] for one in (*first["results"], *second["results"])]
    assert (listed, len(first["results"])) == (ids[::-1], 100)
    assert (first["previous"], second["next"]) == (None, None)
    for one in ids:
        server.wait_for(one, "succeeded")


def test_list_leaves_out_what_is_older(web):
    record = finish(web)
    created = datetime.datetime.fromisoformat(record["created_at"])

    def listed(moment):
        found = web.get("/predictions", params={"created_after": moment.isoformat()})
        return [one["id"] for one in found.json()["results"]]

    assert listed(created - datetime.timedelta(seconds=5)) == [record["id"]]
    assert listed(created + datetime.timedelta(milliseconds=1)) == []
    assert web.get("/predictions?created_after=yesterday").status_code == 422


def test_prediction_takes_the_time_that_it_shall_take():
    with FakeReplicate(run_seconds=0.05) as server, open_client(server) as web:
        server.models[DEV]["seconds"] = 0.1
        one, two = finish(web)["metrics"], finish(web, DEV)["metrics"]

    assert one["predict_time"] >= 0.05
    assert two["predict_time"] >= 0.1
    assert one["total_time"] >= one["predict_time"]


def test_held_reply_comes_right_after_the_end():
    with FakeReplicate(run_seconds=0.057) as server, open_client(server) as web:

        def late(seed):
            record = finish(web, seed=seed)
            return time.monotonic() - server.finished_at(record["id"])

        # Most of that is the client's own time, which on a busy machine is long now and then.
        assert any(late(seed) < 0.005 for seed in range(200))


def test_files_are_served_without_a_token_and_to_readers_only(server, web):
    [url] = finish(web)["output"]

    assert fetch(url).status_code == 200
    assert httpx.post(url, timeout=60).status_code == 405
    assert [one.method for one in server.downloads] == ["GET", "POST"]
    assert all("authorization" not in one.headers for one in server.downloads)


def test_upload_can_be_looked_at_again(server, web):
    reply = web.post("/files", files={"content": ("in.png", b"picture", "image/png")})

    [kept] = server.uploads
    assert (kept.name, kept.content_type, kept.data) == ("in.png", "image/png", b"picture")
    record = reply.json()
    assert record["checksums"] == {"sha256": hashlib.sha256(b"picture").hexdigest()}
    assert web.get(record["urls"]["get"]).json() == record
    assert web.get("/files/unknown").status_code == 404


def test_upload_that_is_too_large_or_no_form_is_refused(server, web):
    server.limit_uploads(6)

    assert web.post("/files", files={"content": b"picture"}).status_code == 413
    assert web.post("/files", files={"other": b"x"}).status_code == 400
    assert web.post("/files", content=b"picture").status_code == 400
    assert server.uploads == []


def test_server_listens_at_the_port_that_it_is_given():
    with FakeReplicate() as server:
        port = httpx.URL(server.url).port or 0

    with FakeReplicate(port=port, token="r8_mine") as server, open_client(server) as web:
        assert server.url == f"http://127.0.0.1:{port}/v1"
        assert web.get("/predictions").status_code == 200


def test_closing_abandons_what_runs():
    with ThreadPoolExecutor(1) as pool, FakeReplicate() as server:
        server.hold()
        reply = pool.submit(create, open_client(server), headers={"Prefer": "wait"})
        server.wait_predictions(1)

    assert isinstance(reply.exception(), httpx.RemoteProtocolError)
    assert server.predictions[0].status in ("starting", "processing")


def test_waiting_for_a_status_that_cannot_come_fails_at_once(server, web):
    record = finish(web)

    with pytest.raises(TimeoutError, match="is succeeded and did not become failed"):
        server.wait_for(record["id"], "failed")


def test_logs_tell_how_far_a_prediction_is(server, web):
    server.models[SCHNELL]["seconds"] = 60.0
    prediction_id = create(web).json()["id"]
    server.wait_for(prediction_id, "processing")

    assert server.predictions[0].logs == "Using seed: 41\n  0%|          | 0/4"
    server.cancel_elsewhere(prediction_id)


def test_waiting_for_predictions_that_do_not_come_has_an_end(server):
    with pytest.raises(TimeoutError, match="there are 0 predictions, not 1"):
        server.wait_predictions(1, seconds=0.01)


def test_server_runs_as_a_command_until_it_is_stopped():
    command = [sys.executable, "-m", "imagen_replicate.testing", "--token", "r8_mine"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        reply = httpx.get(
            f"{url}/predictions", headers={"Authorization": "Bearer r8_mine"}, timeout=60
        )
        process.terminate()
        rest = process.stdout.read()

    assert reply.json() == {"next": None, "previous": None, "results": []}
    assert (process.returncode, rest) == (0, "")
