"""What the fake server does wrong on demand."""

from io import BytesIO

import httpx
import pytest
from PIL import Image

from imagen_replicate.testing import FakeReplicate
from replicate_transcripts import SCHNELL, create, fetch, finish, open_client

GETS = {
    "get": "/predictions/unknown",
    "list": "/predictions",
    "model": f"/models/{SCHNELL}",
}
HURRY = httpx.Timeout(0.1)


def test_failed_prediction_tells_why_and_costs_nothing(server, web):
    server.fail_with("CUDA out of memory", times=2, logs="loading")

    records = [finish(web) for _ in range(3)]

    assert [one["status"] for one in records] == ["failed", "failed", "succeeded"]
    assert [one["error"] for one in records] == ["CUDA out of memory"] * 2 + [None]
    assert (records[0]["logs"], records[0]["output"]) == ("loading", None)
    assert [one.pictures for one in server.predictions] == [0, 0, 1]


def test_withheld_pictures_are_missing_and_billed(server, web):
    server.withhold(2)

    record = finish(web, num_outputs=4)

    assert [url.rpartition("/")[2] for url in record["output"]] == ["out-0.webp", "out-3.webp"]
    assert record["logs"].splitlines()[1:] == [
        "NSFW content detected in image 1",
        "NSFW content detected in image 2",
        "Total safe images: 2 out of 4",
    ]
    assert (record["status"], server.bills) == ("succeeded", 4)


def test_prediction_without_a_picture_left_fails(server, web):
    server.withhold(2)

    record = finish(web, num_outputs=2)

    assert (record["status"], server.bills) == ("failed", 0)
    assert record["error"].startswith("All generated images contained NSFW content.")


def test_refused_create_makes_nothing(server, web):
    server.refuse("create", 429, {"detail": "Slow down.", "retry_after": 5}, times=2)

    replies = [create(web) for _ in range(3)]

    assert [reply.status_code for reply in replies] == [429, 429, 201]
    assert replies[0].json() == {"detail": "Slow down.", "retry_after": 5}
    assert replies[0].headers["content-type"] == "application/problem+json"
    assert (len(server.creates), len(server.predictions)) == (3, 1)


def test_refusal_may_be_a_page_or_bytes_with_headers(server, web):
    server.refuse("list", 502, "<html></html>", {"Retry-After": "7"})
    server.refuse("list", 500, b"\x00")
    server.refuse("list", 503)

    page, data, problem = (web.get("/predictions") for _ in range(3))

    assert (page.text, page.headers["content-type"]) == ("<html></html>", "text/html")
    assert (page.headers["retry-after"], page.headers["server"]) == ("7", "cloudflare")
    assert (data.content, data.headers["content-type"]) == (b"\x00", "application/octet-stream")
    assert problem.json()["status"] == 503


@pytest.mark.parametrize("route", GETS)
def test_every_route_can_be_refused_alone(route, server, web):
    server.refuse(route, 418)

    statuses = {name: web.get(path).status_code for name, path in GETS.items()}

    assert statuses == {"get": 404, "list": 200, "model": 200, route: 418}


def test_refused_cancel_cancels_nothing(server, web):
    server.hold()
    prediction_id = create(web).json()["id"]
    server.refuse("cancel", 500)

    assert web.post(f"/predictions/{prediction_id}/cancel").status_code == 500
    assert server.predictions[0].status in ("starting", "processing")


def test_refused_upload_keeps_nothing(server, web):
    server.refuse("upload", 413)

    assert web.post("/files", files={"content": b"x"}).status_code == 413
    assert server.uploads == []


def test_create_is_accepted_although_the_reply_says_otherwise(server, web):
    server.accept_then("create", 502, "<html></html>")

    reply = create(web, headers={"Prefer": "wait"})

    assert (reply.status_code, len(server.predictions)) == (502, 1)
    server.wait_for(server.predictions[0].id, "succeeded")


def test_create_is_accepted_although_the_reply_is_lost(server, web):
    server.hold()
    server.accept_then("create", None)

    with pytest.raises(httpx.RemoteProtocolError):
        create(web, headers={"Prefer": "wait"})

    [one] = web.get("/predictions").json()["results"]
    assert one["input"] == {"prompt": "a lighthouse in fog", "seed": 41}


def test_dropped_create_makes_nothing(server, web):
    server.drop("create")

    with pytest.raises(httpx.RemoteProtocolError):
        create(web)

    assert (len(server.creates), server.predictions) == (1, [])


def test_slow_reply_comes_later(server, web):
    server.slow("list", 3600)

    with pytest.raises(httpx.ReadTimeout):
        web.get("/predictions", timeout=HURRY)

    server.slow("list", 0.01)
    assert web.get("/predictions").status_code == 200


def test_closing_does_not_wait_for_slow_and_hanging_replies():
    with FakeReplicate() as server, open_client(server) as web:
        server.slow("create", 3600)
        server.hang("create")
        for _ in range(2):
            with pytest.raises(httpx.ReadTimeout):
                web.post(
                    f"/models/{SCHNELL}/predictions", json={"input": {"prompt": "x"}}, timeout=HURRY
                )
        server.wait_predictions(2)  # what was not read by then never will be

    assert len(server.predictions) == 2


def test_file_can_be_refused_dropped_or_slow(server, web):
    [url] = finish(web)["output"]
    server.refuse("file", 503, "busy")
    server.drop("file")
    server.slow("file", 0.01)

    assert fetch(url).status_code == 503
    with pytest.raises(httpx.RemoteProtocolError):
        fetch(url)
    assert fetch(url).status_code == 200
    assert len(server.downloads) == 3


def test_file_can_be_cut_short(server, web):
    [url] = finish(web)["output"]
    server.truncate()

    with pytest.raises(httpx.RemoteProtocolError, match="peer closed connection"):
        fetch(url)

    assert fetch(url).status_code == 200


@pytest.mark.parametrize("kind", ["png", "jpg", "webp"])
def test_file_can_be_broken_inside(kind, server, web):
    [url] = finish(web, output_format=kind)["output"]
    server.damage()

    broken, sound = fetch(url).content, fetch(url).content

    assert (len(broken), broken != sound) == (len(sound), True)


def test_broken_png_has_a_wrong_checksum(server, web):
    [url] = finish(web, output_format="png")["output"]
    server.damage()

    with pytest.raises(SyntaxError, match="broken PNG file"):
        Image.open(BytesIO(fetch(url).content)).verify()


def test_files_that_have_expired_are_not_found(server, web):
    [url] = finish(web)["output"]
    server.expire_files()

    reply = fetch(url)

    assert (reply.status_code, reply.headers["content-type"]) == (404, "text/plain")


def test_removed_data_takes_the_files_of_that_prediction_along(server, web):
    gone, kept = finish(web), finish(web)
    server.remove_data(gone["id"])

    assert fetch(gone["output"][0]).status_code == 404
    assert fetch(kept["output"][0]).status_code == 200
    record = web.get(f"/predictions/{gone['id']}").json()
    assert (record["data_removed"], record["output"], record["input"]) == (True, None, {})


def test_files_can_be_redirected(server, web):
    [url] = finish(web)["output"]
    server.redirect_files("http://127.0.0.1:9/elsewhere")

    reply = fetch(url)

    assert (reply.status_code, reply.headers["location"]) == (302, "http://127.0.0.1:9/elsewhere")


def test_error_replies_can_repeat_the_token(server, web):
    server.echo_token()
    server.refuse("list", 502, "<html></html>")

    texts = [web.get(path).text for path in ("/predictions", "/predictions/unknown")]

    assert all(f"Bearer {server.token}" in text for text in texts)
    assert server.token not in web.get("/predictions").text


def test_deadline_that_passes_is_paid_for_only_if_the_prediction_ran(server, web):
    server.hold("starting")
    waits = create(web).json()["id"]
    server.deadline(waits)
    assert (server.predictions[0].status, server.run_seconds_billed) == ("aborted", 0)

    server.hold("processing")
    runs = create(web).json()["id"]
    server.wait_for(runs, "processing")
    server.deadline(runs)
    assert server.predictions[1].status == "canceled"
    assert server.run_seconds_billed > 0


def test_wish_that_the_server_does_not_know_is_an_error(server):
    with pytest.raises(ValueError, match="no route: creates"):
        server.drop("creates")
    with pytest.raises(ValueError, match="nothing can be held in succeeded"):
        server.hold("succeeded")
    with pytest.raises(ValueError, match="no shape of an output: dict"):
        server.answer_with("dict")


def create_of_a_broken_model(server):
    with server:
        server.models[SCHNELL] = {"official": True}
        with open_client(server) as web, pytest.raises(httpx.RemoteProtocolError):
            create(web)


def test_exception_inside_the_server_fails_the_test():
    server = FakeReplicate()

    with pytest.raises(ExceptionGroup, match="in the fake Replicate"):
        create_of_a_broken_model(server)

    assert [type(error) for error in server.errors] == [KeyError]
