"""The conformance kit for backends: subclass it, give one fixture, inherit the checks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import pytest

from imagen_core.errors import UsageError
from imagen_core.resolve import DEFAULT_SIZE, parse_size, resolve_params
from imagen_core.testing.asking import SEEDS
from imagen_core.testing.behaviour import Behaviour
from imagen_core.testing.driving import decode, drive, fractions, images, pictures
from imagen_core.types import About, Cost, Event, Image, Progress, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imagen_core.protocols import Backend
    from imagen_core.testing.asking import Script


class BackendConformance(Behaviour):
    """What every backend must do, whatever it talks to.

    Subclass it as `TestSomething`, set `module`, and write a fixture `backend` (in the class or
    outside). If the backend talks to a server, write a fixture `script` in the class, too: a
    function that makes the fake server act as it is told, "ok" or one of `faults`, and returns
    the parameters to send. Each check's docstring says how to fix what it finds.
    """

    def test_about_is_complete_and_consistent(self, backend: Backend) -> None:
        """`about` names the model, and everything in it is of its type and means something.

        To fix it: see the fields of `imagen_core.About`; a size is "WIDTHxHEIGHT", a name in
        `honours` one of negative, steps, size, seed and images.
        """
        about = backend.about
        try:
            msgspec.json.decode(msgspec.json.encode(about), type=About)
            parse_size(about.size or DEFAULT_SIZE)
        except (msgspec.ValidationError, TypeError, UsageError) as error:
            raise AssertionError(f"about has a field that means nothing: {error}") from error
        assert about.model, "about.model is empty: name the model, or the workflow, or the server"
        assert about.steps is None or about.steps > 0, "about.steps is None or at least 1"
        assert backend.about == about, "about is not the same twice: it depends on nothing"

    def test_params_are_declared_consistently(self, backend: Backend) -> None:
        """Each parameter is declared once, and its default is a value that it would accept.

        To fix it: see the fields of `imagen_core.Param`; a parameter without a default has None.
        """
        params = backend.about.params or ()
        names = [param.name for param in params]
        assert len(set(names)) == len(names), f"about.params has a name twice: {names}"
        for param in params:
            if param.default is None:
                continue
            try:
                resolve_params("tested", {param.name: param.default}, params)
            except UsageError as error:
                raise AssertionError(f"the default is not accepted: {error}") from error

    def test_status_needs_no_run(self, backend: Backend) -> None:
        """`status()` tells whether it is configured, as a Status in a few words.

        To fix it: return `Status(ok=True)`, or `Status(ok=False, text="not configured (set X)")`.
        """
        status = backend.status()
        assert isinstance(status, Status), f"status() gave {status!r}, which is no Status"
        assert status.text, "the Status has no text: say in a few words how it stands"

    def test_only_events_are_yielded(self, backend: Backend, script: Script) -> None:
        """`generate` is a generator, and all that it yields is an Event.

        To fix it: `yield` Accepted, Progress, Preview, Image and Cost, nothing else; it needs
        no return value. A function that returns a list can't be closed half-way.
        """
        events = backend.generate(self.ask(backend, script))
        assert hasattr(events, "close"), "generate gives no generator: write it with yield"
        foreign = [event for event in events if not isinstance(event, get_args(Event))]
        assert not foreign, f"it yielded {foreign}: yield only the events of imagen_core"

    def test_pictures_decode_and_match_their_mime(self, backend: Backend, script: Script) -> None:
        """Every Image is a whole picture, of the type that it is said to be.

        To fix it: yield the bytes of the file as they came, with the MIME type of these bytes
        rather than of a header or of a file name; declare what is usual as `about.mime`.
        """
        usual = backend.about.mime
        for image in images(drive(backend, self.ask(backend, script))):
            mime = decode(image).mime
            assert image.mime == mime, f"Image.mime is {image.mime}, but its data is {mime}"
            assert usual == mime, f"about.mime is {usual}, but it makes {mime}: declare that"

    def test_size_is_honoured_or_not_claimed(self, backend: Backend, script: Script) -> None:
        """A picture has the width and height of its request, if `about.honours` has "size".

        To fix it: send width and height to the server; or take "size" out of `about.honours`
        and declare as `about.size` what it makes; or, where only certain sizes exist, give two
        of them as `sizes`. A fake server draws what it is asked for.
        """
        self.needs_claim(backend, "size")
        for width, height in self.sizes:
            request = self.ask(backend, script, width=width, height=height)
            for picture in pictures(backend, request):
                told = f"asked for {width}x{height}, got {picture.size[0]}x{picture.size[1]}"
                assert picture.size == (width, height), (
                    f"{told}: send the size, or take 'size' out of about.honours"
                )

    def test_seed_is_honoured_or_not_claimed(self, backend: Backend, script: Script) -> None:
        """A picture depends on its seed, and says which, if `about.honours` has "seed".

        To fix it: send the request's seed to the server and put it into `Image.seed` (that of
        each picture, if there are several); or take "seed" out of `about.honours`. A fake
        server draws something else for another seed.
        """
        self.needs_claim(backend, "seed")
        made = []
        for seed in SEEDS:
            image = images(drive(backend, self.ask(backend, script, seed=seed)))[0]
            assert image.seed == seed, f"Image.seed is {image.seed}, the request's was {seed}"
            made.append(decode(image))
        assert made[0] != made[1], "two seeds give one picture: the seed does not reach the model"

    def test_same_request_gives_the_same_picture(self, backend: Backend, script: Script) -> None:
        """A request can be made again, pixel by pixel, if `about.honours` has "seed".

        To fix it: let nothing but the request decide the picture; a seed that is drawn, a clock
        or a counter must not. If the model is not deterministic, take "seed" out of
        `about.honours`.
        """
        self.needs_claim(backend, "seed")
        first, second = (pictures(backend, self.ask(backend, script)) for _ in range(2))
        assert first == second, "the same request gave another picture: honour its seed"

    def test_steps_are_honoured_or_not_claimed(self, backend: Backend, script: Script) -> None:
        """The steps that it reports are those of the request, if `about.honours` has "steps".

        To fix it: send the request's steps to the server; or take "steps" out of
        `about.honours`. They are reported by `Progress.steps` and `Image.metadata["steps"]`.
        """
        self.needs_claim(backend, "steps")
        default = backend.about.steps or 1
        asked = default - 1 if default > 1 else default + 1
        found = _reported_steps(drive(backend, self.ask(backend, script, steps=asked)))
        if not found:
            pytest.skip("it reports no steps, so there is nothing to compare")
        assert found == {asked}, f"asked for {asked} steps, it reports {sorted(found)}"

    def test_progress_never_goes_back_nor_ends_early(
        self, backend: Backend, script: Script
    ) -> None:
        """Fractions grow from 0, and stay below 1.0 until the last Image is there.

        To fix it: leave out what would go back, and keep a part for the download, say the last
        tenth; where nobody knows how far it is, `Progress()` has no fraction.
        """
        events = drive(backend, self.ask(backend, script))
        assert images(events)
        last = max(place for place, event in enumerate(events) if isinstance(event, Image))
        found = fractions(events)
        assert found == sorted(found), f"the progress goes back: {found}; never yield less"
        assert all(0 <= one <= 1 for one in found), f"a fraction is 0 to 1: {found}"
        early = [one for one in fractions(events[:last]) if one >= 1]
        assert not early, "the fraction is 1.0 before the last Image: keep a part for it"

    def test_cost_is_a_number_or_absent(self, backend: Backend, script: Script) -> None:
        """A Cost is in USD and says what it rests on; what nobody knows is None, not 0.

        To fix it: `Cost(usd=0, basis="local")` is free; yield no Cost, and return None from
        `estimate`, if the price is not known.
        """
        request = self.ask(backend, script)
        estimate = backend.estimate(request)
        assert estimate is None or isinstance(estimate, Cost), f"estimate() gave {estimate!r}"
        costs = [event for event in drive(backend, request) if isinstance(event, Cost)]
        for cost in [*costs, *([estimate] if estimate else [])]:
            sound = math.isfinite(cost.usd) and cost.usd >= 0
            assert sound, f"{cost} is no price: yield no Cost if it is not known"
            assert cost.basis, f"{cost} rests on nothing: say where the number is from"

    def test_nothing_is_printed(
        self, backend: Backend, script: Script, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """A backend writes neither to stdout nor to stderr; it yields what there is to say.

        To fix it: take the print out; what a reader should see is `Progress.message`, what is
        worth keeping `Image.metadata`.
        """
        request = self.ask(backend, script)
        capfd.readouterr()
        backend.status()
        backend.estimate(request)
        drive(backend, request)
        out, err = capfd.readouterr()
        assert (out, err) == ("", ""), "it prints: yield a Progress with a message instead"


def _reported_steps(events: Sequence[Event]) -> set[Any]:
    told = {event.steps for event in events if isinstance(event, Progress) and event.steps}
    kept = {e.metadata["steps"] for e in events if isinstance(e, Image) and "steps" in e.metadata}
    return told | kept
