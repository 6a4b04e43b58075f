"""What the fake server does wrong on demand."""

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from comfy_small import graph, history, listening, submit, until, until_closed


def test_lost_reply_leaves_a_prompt_that_was_accepted(server, web):
    server.drop_reply("/prompt")

    with pytest.raises(httpx.RemoteProtocolError):
        web.post("/prompt", json={"prompt": graph()})

    [submitted] = server.submits
    server.wait_for(submitted.prompt_id, "success")


def test_lost_request_leaves_nothing(server, web):
    server.drop_request("/prompt")

    with pytest.raises(httpx.RemoteProtocolError):
        web.post("/prompt", json={"prompt": graph()})

    assert (server.submits, server.idle) == ([], True)
    assert [one.method for one in server.requests] == ["POST"]


def test_failing_path_answers_the_status_as_often_as_said(server, web):
    server.fail("POST /prompt", 503, times=2, body=b"<html>", content_type="text/html")

    replies = [web.post("/api/prompt", json={"prompt": graph()}) for _ in range(3)]

    assert [reply.status_code for reply in replies] == [503, 503, 200]
    assert (replies[0].content, replies[0].headers["content-type"]) == (b"<html>", "text/html")
    assert web.get("/prompt").status_code == 200
    assert len(server.submits) == 1


def test_failing_path_can_accept_the_prompt_all_the_same(server, web):
    server.fail("/prompt", 502, accept=True)

    assert web.post("/prompt", json={"prompt": graph()}).status_code == 502
    assert len(server.submits) == 1


def test_request_that_hangs_is_answered_when_it_is_released(server, web):
    server.hang("/prompt", accept=True)

    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(web.post, "/prompt", json={"prompt": graph()})
        server.wait_hung()
        server.release()

    assert reply.result().json()["prompt_id"] == server.submits[0].prompt_id


def test_request_that_hangs_unhandled_is_never_answered(server, web):
    server.hang("/queue")

    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(web.get, "/queue")
        server.wait_hung()
        server.release()

    assert isinstance(reply.exception(), httpx.RemoteProtocolError)


def test_delayed_request_is_handled(server, web):
    server.delay("/queue", 0.001)

    assert web.get("/queue").json() == {"queue_running": [], "queue_pending": []}


def test_picture_can_be_truncated_or_corrupt_once(server, web):
    server.wait_for(submit(web), "success")
    whole = server.images.output["x_00001_.png"]
    view = "/view?filename=x_00001_.png"

    server.truncate_view()
    with pytest.raises(httpx.RemoteProtocolError):
        web.get(view)
    server.corrupt_view()
    assert web.get(view).content == whole[: len(whole) // 2]
    assert web.get(view).content == whole


def test_deleted_output_is_still_in_history(server, web):
    prompt_id = submit(web)
    server.wait_for(prompt_id, "success")

    server.forget_output()

    [image] = history(web, prompt_id)[prompt_id]["outputs"]["6"]["images"]
    assert web.get("/view", params=image).status_code == 404


def test_exception_is_raised_in_a_node_once(server, web):
    server.raise_in("KSampler")
    failed, fine = submit(web), submit(web)
    server.wait_for(failed, "error")
    server.wait_for(fine, "success")

    event, data = history(web, failed)[failed]["status"]["messages"][-1]
    assert (event, data["exception_type"]) == ("execution_error", "torch.OutOfMemoryError")
    assert data["current_inputs"]["seed"] == [1]


def test_black_pictures_are_all_zero(server, web):
    server.black()
    server.wait_for(submit(web, prefix="black"), "success")
    server.wait_for(submit(web, prefix="again", seed=2), "success")

    output = server.images.output
    idat = [output[name].split(b"IDAT")[1] for name in ("black_00001_.png", "again_00001_.png")]
    assert idat[0] == idat[1]


def test_messages_of_a_fork_are_plain_strings(server, web):
    server.string_messages()
    server.raise_in("VAEDecode", exception_type="ValueError", message="oh")
    prompt_id = submit(web)
    server.wait_for(prompt_id, "error")

    assert history(web, prompt_id)[prompt_id]["status"] == {
        "status_str": "error",
        "completed": False,
        "messages": ["execution_start", "execution_cached", "execution_error: oh"],
    }


def test_muted_history_shows_nothing_for_some_looks(server, web):
    prompt_id = submit(web)
    server.wait_for(prompt_id, "success")

    server.mute_history(2)

    looks = [bool(history(web, prompt_id)) for _ in range(3)]
    assert looks == [False, False, True]


def test_refused_socket_gets_the_status(server):
    server.refuse_sockets(403)
    with pytest.raises(InvalidStatus) as refusal, listening(server):
        pass
    server.allow_sockets()
    with listening(server) as socket:
        socket.recv(timeout=60)

    assert refusal.value.response.status_code == 403


def test_dropped_sockets_are_reset_and_the_run_goes_on(server, web):
    server.hold()
    with listening(server) as socket:
        socket.recv(timeout=60)
        prompt_id = submit(web)
        server.wait_for(prompt_id, "held")
        server.drop_sockets()
        with pytest.raises(ConnectionClosed) as closed:
            list(iter(socket.recv, None))

    assert isinstance(closed.value.__cause__, ConnectionResetError)
    assert server.sockets == 0
    server.release()
    server.wait_for(prompt_id, "success")


def test_sockets_are_dropped_after_so_many_messages(server, web):
    with listening(server) as socket:
        socket.recv(timeout=60)
        server.drop_sockets(after=3)
        submit(web)
        messages = until_closed(socket)

    assert [json.loads(message)["type"] for message in messages] == [
        "status",
        "status",
        "execution_start",
    ]


def test_late_noticed_drop_silences_the_socket_that_comes_after_it(server, web):
    with listening(server) as socket:
        socket.recv(timeout=60)
        server.drop_sockets(late=True)
        with listening(server) as back:
            first = json.loads(back.recv(timeout=60))
            server.wait_for(submit(web), "success")
            server.drop_sockets()
            rest = until_closed(back)

    assert (first["type"], rest) == ("status", [])


def test_silenced_sockets_stay_open_and_hear_again_later(server, web):
    with listening(server) as socket:
        socket.recv(timeout=60)
        server.silence_sockets()
        server.wait_for(submit(web), "success")
        server.unsilence_sockets()
        server.wait_for(submit(web, seed=2), "success")
        events = [json.loads(message) for message in until(socket, "execution_cached")]

    assert [event["type"] for event in events] == [
        "status",
        "status",
        "execution_start",
        "execution_cached",
    ]
    assert events[2]["data"]["prompt_id"] == server.submits[1].prompt_id
