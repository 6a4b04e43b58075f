"""Faults at random, several at once: what holds always."""

from __future__ import annotations

import random
import threading
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from imagen_comfyui.backend import Patience
from imagen_comfyui.testing import FakeComfyUI
from imagen_core import Image, ImagenError

if TYPE_CHECKING:
    from collections.abc import Callable

ROUNDS = 8
SECONDS = 120.0
"""Longer than any limit that is set here: a run that takes more hangs."""

HASTY = Patience(poll=0.001, offline=0.3)
"""To give up is fine here, and what holds has to hold then, too."""

FAULTS: list[Callable[[FakeComfyUI, random.Random], object]] = [
    lambda s, r: s.fail("POST /prompt", r.choice([500, 502, 503, 504]), accept=r.random() < 0.5),
    lambda s, r: s.drop_reply("POST /prompt", times=r.randint(1, 2)),
    lambda s, r: s.drop_request("POST /prompt", times=r.randint(1, 3)),
    lambda s, r: s.fail("GET /queue", 503, times=r.randint(1, 4)),
    lambda s, r: s.drop_reply("GET /history", times=r.randint(1, 4)),
    lambda s, r: s.fail("GET /object_info", 500, times=r.randint(1, 3)),
    lambda s, r: s.drop_sockets(after=r.randint(0, 30), late=r.random() < 0.5),
    lambda s, _: s.silence_sockets(),
    lambda s, r: s.refuse_sockets(r.choice([404, 500, 503])),
    lambda s, _: s.mute_history(1),
    lambda s, r: s.truncate_view(times=r.randint(1, 3)),
    lambda s, r: s.corrupt_view(times=r.randint(1, 4)),
    lambda s, r: s.fail("GET /view", r.choice([404, 500, 503]), times=r.randint(1, 5)),
    lambda s, r: s.raise_in(r.choice(["KSampler", "VAEDecode"])),
    lambda s, _: s.string_messages(),
    lambda s, _: s.black(),
    lambda s, r: s.delay("GET /view", r.random() / 5),
]


def one_round(server: FakeComfyUI, dice: random.Random, backend: Any, request: Any) -> None:
    """Make one Request while things go wrong; it may be closed, or the server restarted."""
    for fault in dice.sample(FAULTS, dice.randint(1, 4)):
        fault(server, dice)
    found: list[Any] = []
    last = dice.choice([None, None, None, dice.randint(1, 25)])

    def work() -> None:
        events = backend.generate(request)
        try:
            for number, event in enumerate(events):
                found.append(event)
                if number == last:
                    break
            events.close()
        except ImagenError as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    if dice.random() < 0.3:
        thread.join(dice.random() / 10)
        server.restart(down=dice.random() < 0.3)
        server.up()
    thread.join(SECONDS)
    assert not thread.is_alive(), "it hangs"
    if last is None:
        assert isinstance(found[-1], ImagenError) or any(isinstance(e, Image) for e in found)


@pytest.mark.system
@pytest.mark.parametrize("seed", range(4))
def test_whatever_goes_wrong_no_prompt_is_doubled_and_no_other_is_touched(
    seed: int, make: Any, ask: Any
) -> None:
    dice = random.Random(seed)
    for _ in range(ROUNDS):
        with FakeComfyUI() as server:
            foreign = server.add_foreign(hold=dice.random() < 0.3)
            backend = make(HASTY, url=server.url, timeout=3, queue_timeout=1)
            requests = [ask(seed=number) for number in range(1, 1 + dice.randint(1, 2))]
            for request in requests:
                one_round(server, dice, backend, request)

            submitted = [submit.prompt_id for submit in server.submits]
            # After a restart a server knows nothing of what it accepted before.
            ends = [0, *server.restarts, len(submitted)]
            for known in (submitted[start:end] for start, end in pairwise(ends)):
                assert len(set(known)) == len(known)
            assert None not in server.interrupts
            assert foreign not in [*server.interrupts, *server.deletes]
            assert set(server.interrupts) | set(server.deletes) <= {
                *submitted,
                *(request.id for request in requests),
            }
            server.wait_sockets(0)
