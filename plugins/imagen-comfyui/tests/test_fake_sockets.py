"""The fake server against recordings of websockets, and of runs that others push aside."""

import copy
import json

from comfy_stage import FLAGS, RUNS, comparable, entry, history_of, make_room, write_down


def of_prompt(events, name):
    return [event for event in events if event[1].get("prompt_id") == name]


def of_queue(events):
    return [event[1] for event in events if event[0] == "status"]


def test_interrupted_run_makes_way_as_recorded(stage):
    recorded = RUNS["interrupt"]
    with stage() as one:
        socket = one.listen()
        one.server.hold("FaultSlow", 5)
        first = one.hold(recorded["graphs"][0])
        second = one.submit(recorded["graphs"][1])
        calls = answers(one, recorded["calls"][:3])
        one.server.wait_for(first, "interrupted")
        one.server.release()
        one.server.wait_for(second, "success")
        calls += answers(one, recorded["calls"][3:])

    assert calls == [expectation(call) for call in recorded["calls"]]
    events = one.events(socket)
    assert of_prompt(events, "P1") == of_prompt(recorded["events"], "P1")
    assert of_prompt(events, "P2") == of_prompt(recorded["events"], "P2")
    assert of_queue(events) == of_queue(recorded["events"])
    assert one.server.interrupts == [second, first]


def test_run_cancelled_as_a_job_ends_as_recorded(stage):
    recorded = RUNS["cancel"]
    with stage(previews=True) as one:
        socket = one.listen()
        one.server.hold()
        prompt_id = one.hold(recorded["graphs"][0])
        calls = answers(one, recorded["calls"][:1])
        one.server.wait_for(prompt_id, "interrupted")
        calls += answers(one, recorded["calls"][1:])
        again = one.web.post(f"/api/jobs/{prompt_id}/cancel").json()

    assert calls == [expectation(call) for call in recorded["calls"]]
    assert one.events(socket) == recorded["events"]
    assert again == {"cancelled": False}


def test_waiting_prompts_are_deleted_without_a_trace_as_recorded(stage):
    recorded = RUNS["delete"]
    running, waiting = recorded["graphs"]
    with stage() as one:
        one.server.images.output["slow_00002_.png"] = b""
        socket = one.listen()
        one.server.hold("FaultSlow", 0)
        ids = [one.hold(running), one.submit(waiting), one.submit(waiting)]
        calls = answers(one, recorded["calls"])
        one.server.release()
        one.server.wait_for(ids[0], "success")

    assert calls == [expectation(call) for call in recorded["calls"]]
    events = one.events(socket)
    assert of_prompt(events, "P1") == of_prompt(recorded["events"], "P1")
    assert of_queue(events) == of_queue(recorded["events"])
    assert [one.server.state(prompt_id) for prompt_id in ids] == ["success", "deleted", "deleted"]


def answers(one, calls):
    """What the server replies to recorded calls, as `expectation` puts it."""
    ids = {name: prompt_id for prompt_id, name in one.names.items()}
    done = []
    for call in calls:
        text = json.dumps({key: call[key] for key in ("method", "path", "json") if key in call})
        for name, prompt_id in ids.items():
            text = text.replace(name, prompt_id)
        request = json.loads(text)
        reply = one.web.request(request["method"], request["path"], json=request.get("json"))
        json_reply = comparable(reply.json(), one.names) if reply.content else None
        done.append((reply.status_code, numberless(json_reply)))
    return done


def expectation(call):
    return call["status"], numberless(call.get("reply"))


def numberless(data):
    """Without the numbers of prompts."""
    data = copy.deepcopy(data)
    if isinstance(data, dict):
        data.pop("priority", None)
        for value in data.values():
            for item in value if isinstance(value, list) else [value]:
                prompt = item.get("prompt") if isinstance(item, dict) else item
                if isinstance(prompt, list):
                    prompt[0] = 0
    return data


def test_client_that_comes_back_hears_where_its_run_is_and_goes_on(stage):
    recorded = RUNS["reconnect"]
    with stage() as one:
        make_room(one.server, recorded["history"][0])
        one.server.hold("FaultSlow", 8)
        gone = one.listen()
        prompt_id = one.hold(recorded["graphs"][0])
        gone.take(len(recorded["before"]) - 1)
        gone.socket.close()
        one.server.wait_sockets(0)
        back = one.listen()
        one.server.release()
        one.server.wait_for(prompt_id, "success")
        history = history_of(one, prompt_id)

    before = write_down(gone.messages, one.names)
    flags = [event for event in recorded["events"] if event[0] == "feature_flags"]
    assert before == recorded["before"]
    assert one.events(back) == [event for event in recorded["events"] if event not in flags]
    assert entry(history) == entry(recorded["history"][0])


def test_client_that_comes_back_after_the_end_hears_only_the_status(stage):
    with stage() as one:
        one.run(RUNS["cached"]["graphs"][0])
        back = one.listen()

    assert one.events(back) == [
        ["status", {"status": {"exec_info": {"queue_remaining": 0}}, "sid": "client"}]
    ]


def test_newer_of_two_sockets_gets_all_and_a_bystander_only_the_status(stage):
    recorded = RUNS["two sockets"]
    with stage() as one:
        one.server.images.output["slow_00005_.png"] = b""
        first, second, other = one.listen(), one.listen(), one.listen("other")
        one.run(recorded["graphs"][0])
        count = one.server.sockets

    assert count == 3
    assert one.events(first) == recorded["first"]
    assert one.events(second) == recorded["events"]
    assert one.events(other) == recorded["bystander"]


def test_older_socket_that_closes_silences_the_newer_one(stage):
    recorded = RUNS["trap"]
    with stage() as one:
        first, second = one.listen(), one.listen()
        first.socket.close()
        one.server.wait_sockets(1)
        one.run(recorded["graphs"][0])

    assert one.events(second) == recorded["events"]


def test_prompt_without_client_id_shows_its_progress_to_everybody(stage):
    recorded = RUNS["without client id"]
    with stage() as one:
        socket = one.listen()
        one.run(recorded["graphs"][0], client_id=None)

    assert one.events(socket) == recorded["events"]


def test_prompt_without_client_id_says_to_everybody_that_it_was_interrupted(stage):
    with stage() as one:
        socket = one.listen()
        one.server.hold("FaultSlow")
        prompt_id = one.hold(RUNS["trap"]["graphs"][0], client_id=None)
        one.web.post("/interrupt")
        one.server.wait_for(prompt_id, "interrupted")

    events = [event[0] for event in one.events(socket)]
    assert events[-3:] == ["progress", "execution_interrupted", "status"]
    assert one.server.interrupts == [None]


def test_socket_without_a_client_id_gets_one(stage):
    with stage() as one:
        socket = one.listen("")

    [[event, data]] = one.events(socket)
    assert (event, len(data["sid"])) == ("status", 32)


def test_feature_flags_count_only_as_the_first_message(stage):
    with stage() as one:
        socket = one.listen()
        socket.socket.send("hello")
        socket.socket.send(json.dumps(FLAGS))
        one.run(RUNS["stream"]["graphs"][0])

    kinds = [data["event_type"] for event, data in one.events(socket) if event == "binary"]
    assert kinds == [1, 1]


def test_progress_names_each_node_in_full(stage):
    with stage() as one:
        socket = one.listen()
        prompt_id = one.run(RUNS["stream"]["graphs"][0])

    [first, *_] = [
        json.loads(message) for message in socket.socket if '"progress_state"' in str(message)
    ]
    node = {
        "value": 0.0,
        "max": 1.0,
        "state": "running",
        "node_id": "1",
        "prompt_id": prompt_id,
        "display_node_id": "1",
        "parent_node_id": None,
        "real_node_id": "1",
    }
    assert first["data"] == {"prompt_id": prompt_id, "nodes": {"1": node}}


def test_jobs_show_a_run_as_recorded(stage):
    calls = RUNS["jobs"]["calls"]
    graph = calls[2]["reply"]["workflow"]["prompt"]
    extra_data = calls[2]["reply"]["workflow"]["extra_data"]
    with stage() as one:
        one.server.hold()
        one.hold(graph, extra_data=extra_data)
        last = one.submit(RUNS["stream"]["graphs"][0])
        done = answers(one, calls[:2])
        one.server.release()
        one.server.wait_for(last, "success")
        done += answers(one, calls[2:])
        listed = one.get("/api/jobs?limit=1")

    assert done == [expectation(call) for call in calls]
    assert [job["id"] for job in listed["jobs"]] == ["P2"]
    assert listed["pagination"] == {"offset": 0, "limit": 1, "total": 2, "has_more": True}


def test_prompt_at_the_front_runs_before_those_that_wait(stage):
    second, first, queue = RUNS["front"]["calls"]
    with stage() as one:
        held = one.server.add_foreign()
        one.server.wait_for(held, "held")
        numbers = [
            one.web.post("/prompt", json=call["json"]).json()["number"] for call in (second, first)
        ]
        pending = one.get("/queue")["queue_pending"]
        remaining = one.get("/prompt")

    assert numbers == [1, -2]
    assert [item[0] for item in pending] == [-2, 1]
    assert [item[2:3] for item in pending] == [
        item[2:3] for item in queue["reply"]["queue_pending"]
    ]
    assert remaining == {"exec_info": {"queue_remaining": 3}}
