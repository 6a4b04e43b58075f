"""How a test steers the fake server, which always comes to an end."""

import contextlib
import json
import socket
import ssl
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from websockets.sync.client import connect

from comfy_small import PEM, graph, history, listening, submit, threads, until, until_closed
from imagen_comfyui.testing import FakeComfyUI


def test_run_can_stop_between_its_success_and_its_history(server, web):
    server.hold_end()
    with listening(server) as listener:
        prompt_id = submit(web)
        server.wait_for(prompt_id, "held")
        told = [json.loads(message)["type"] for message in until(listener, "execution_success")]
        [running] = web.get("/queue").json()["queue_running"]
        early = history(web, prompt_id)
        server.release()
        server.wait_for(prompt_id, "success")
        rest = [json.loads(listener.recv(timeout=60))["type"] for _ in range(2)]

    assert told[-1] == "execution_success"
    assert (running[1], early) == (prompt_id, {})
    assert rest == ["status", "executing"]


def test_held_run_goes_on_when_it_is_released_and_the_next_one_stops_too(server, web):
    server.hold("KSampler", 2)
    first, second = submit(web), submit(web, seed=2)

    server.wait_for(first, "held")
    assert [server.state(one) for one in (first, second)] == ["running", "pending"]
    server.release(first)
    server.wait_for(first, "success")
    server.wait_for(second, "held")
    server.release()
    server.wait_for(second, "success")

    assert server.finished_at(first) <= server.finished_at(second)
    assert server.idle


def test_run_stops_before_its_picture_is_saved(server, web):
    server.hold("SaveImage")
    prompt_id = submit(web)

    server.wait_for(prompt_id, "held")

    assert server.images.output == {}


def test_foreign_prompt_runs_until_it_is_released(server, web):
    foreign, own = server.add_foreign(), submit(web)

    server.wait_for(foreign, "held")
    assert server.state(own) == "pending"
    web.post("/interrupt", json={"prompt_id": own})
    assert server.state(foreign) == "running"
    server.release(foreign)

    server.wait_for(own, "success")
    assert server.state(foreign) == "success"
    assert [one.prompt_id for one in server.submits] == [own]


def test_untargeted_interrupt_hits_the_foreign_prompt(server, web):
    foreign = server.add_foreign()
    server.wait_for(foreign, "held")

    web.post("/interrupt")

    server.wait_for(foreign, "interrupted")
    assert server.interrupts == [None]


def test_restart_forgets_everything_but_the_files(server, web):
    done = submit(web)
    server.wait_for(done, "success")
    server.hold()
    running, waiting = submit(web, seed=2), submit(web, seed=3)
    server.wait_for(running, "held")
    server.images.temp["a.png"] = b""

    with listening(server) as listener:
        server.restart()
        until_closed(listener)

    assert [server.state(one) for one in (done, running, waiting)] == ["unknown"] * 3
    assert list(server.images.output) == ["x_00001_.png"]
    assert server.images.temp == {}
    assert history(web, done) == {}
    assert len(server.submits) == 3


def test_server_that_is_down_refuses_connections_until_it_is_up(server, web):
    server.restart(down=True)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/queue", timeout=60)

    server.up()

    assert web.get("/queue").status_code == 200
    server.wait_for(submit(web), "success")


def test_same_id_twice_runs_twice(server, web):
    body = {"prompt": graph(), "prompt_id": str(uuid.uuid4())}
    server.hold()
    for _ in range(2):
        web.post("/prompt", json=body)
    server.release()
    server.wait_for(body["prompt_id"], "success")

    assert [one.prompt_id for one in server.submits] == [body["prompt_id"]] * 2


def test_leaving_ends_held_runs_hung_requests_and_open_sockets():
    with ThreadPoolExecutor(1) as pool, contextlib.ExitStack() as stack:
        with FakeComfyUI() as server, httpx.Client(base_url=server.url, timeout=60) as web:
            server.hold()
            server.hang("/queue")
            stack.enter_context(listening(server))
            prompt_id = submit(web)
            server.wait_for(prompt_id, "held")
            reply = pool.submit(httpx.get, f"{server.url}/queue")
            server.wait_hung()

        assert threads() == []
        assert isinstance(reply.exception(), httpx.RemoteProtocolError)
        assert server.state(prompt_id) == "running"


def test_mistake_in_the_server_is_raised_when_it_ends():
    def use_broken_server():
        with FakeComfyUI() as server:
            server.classes["Broken"] = {}
            with pytest.raises(httpx.RemoteProtocolError):
                httpx.get(f"{server.url}/object_info", timeout=60)

    with pytest.raises(ExceptionGroup) as raised:
        use_broken_server()

    assert [type(error) for error in raised.value.exceptions] == [KeyError]
    assert threads() == []


def test_request_that_breaks_off_is_not_handled(server):
    foreign = server.add_foreign()
    server.wait_for(foreign, "held")
    host, _, port = server.url.removeprefix("http://").partition(":")

    with socket.create_connection((host, int(port))) as broken:
        broken.sendall(b"POST /interrupt HTTP/1.1\r\nContent-Length: 9\r\n\r\n{")
        broken.shutdown(socket.SHUT_WR)
        rest = broken.recv(100)

    assert (rest, server.interrupts, server.state(foreign)) == (b"", [], "running")


def test_waiting_in_vain_says_for_what(server):
    with pytest.raises(TimeoutError, match="abc did not become success"):
        server.wait_for("abc", "success", seconds=0)


def test_twenty_clients_at_once_each_get_their_own_events(server):
    def client(number):
        client_id = f"client-{number}"
        with (
            httpx.Client(base_url=server.url, timeout=60) as web,
            listening(server, client_id) as listener,
        ):
            ids = [submit(web, client_id=client_id, seed=number * 10 + one) for one in range(5)]
            ended = []
            for message in listener:
                event = json.loads(message)
                if event["type"] == "executing" and event["data"]["node"] is None:
                    ended.append(event["data"]["prompt_id"])
                    if len(ended) == len(ids):
                        return ids, ended
        return ids, ended

    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(client, range(20)))

    assert all(ids == ended for ids, ended in results)
    assert len(server.images.output) == 100


def test_server_speaks_tls():
    context = ssl.create_default_context(cafile=PEM)
    with (
        FakeComfyUI(tls=(PEM, PEM)) as server,
        httpx.Client(base_url=server.url, verify=context, timeout=60) as web,
    ):
        url = f"{server.url.replace('http', 'ws')}/ws?clientId=client"
        with connect(url, ssl=context, max_queue=None) as listener:
            prompt_id = submit(web)
            server.wait_for(prompt_id, "success")
            last = list(until(listener, "execution_success"))[-1]
            server.drop_sockets()
            until_closed(listener)

    assert server.url.startswith("https://")
    assert json.loads(last)["data"]["prompt_id"] == prompt_id


def test_command_prints_where_it_listens_and_ends_when_interrupted():
    command = [sys.executable, "-m", "imagen_comfyui.testing", "--version", "0.3.64"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        features = httpx.get(f"{url}/features", timeout=60).json()
        process.terminate()
        rest = process.stdout.read()

    assert features == {"supports_preview_metadata": True, "max_upload_size": 104857600}
    assert (process.returncode, rest) == (0, "")
