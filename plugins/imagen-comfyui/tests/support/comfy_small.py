"""A small graph for the fake server, and what listens to its run."""

import contextlib
import threading
import uuid
from pathlib import Path

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

PEM = str(Path(__file__).parent.parent / "transcripts" / "localhost.pem")


def graph(*, seed=1, prefix="x"):
    """A graph that samples in three steps."""
    sampling = {"seed": seed, "steps": 3, "cfg": 7.0, "denoise": 1.0}
    sampling |= {"sampler_name": "euler", "scheduler": "normal"}
    links = {"model": ["1", 0], "positive": ["2", 0], "negative": ["2", 0]}
    size = {"width": 64, "height": 64, "batch_size": 1}
    nodes = [
        ("CheckpointLoaderSimple", {"ckpt_name": "v1-5-pruned-emaonly-fp16.safetensors"}),
        ("CLIPTextEncode", {"clip": ["1", 1], "text": "a cube"}),
        ("EmptyLatentImage", size),
        ("KSampler", {**sampling, **links, "latent_image": ["3", 0]}),
        ("VAEDecode", {"samples": ["4", 0], "vae": ["1", 2]}),
        ("SaveImage", {"images": ["5", 0], "filename_prefix": prefix}),
    ]
    return {
        str(number): {"class_type": kind, "inputs": inputs}
        for number, (kind, inputs) in enumerate(nodes, 1)
    }


def submit(web, *, client_id="client", **options):
    body = {"prompt": graph(**options), "client_id": client_id, "prompt_id": str(uuid.uuid4())}
    assert web.post("/prompt", json=body).status_code == 200
    return body["prompt_id"]


def listening(server, client_id="client"):
    url = f"{server.url.replace('http', 'ws')}/ws?clientId={client_id}"
    return connect(url, max_queue=None)


def history(web, prompt_id):
    return web.get(f"/history/{prompt_id}").json()


def until(listener, event):
    """The messages up to the first one of this kind."""
    for message in listener:
        yield message
        if f'"{event}"' in message:
            return


def until_closed(listener):
    messages = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            messages.append(listener.recv(timeout=60))
    return messages


def threads():
    return [one.name for one in threading.enumerate() if one.name.startswith("fake-comfyui")]
