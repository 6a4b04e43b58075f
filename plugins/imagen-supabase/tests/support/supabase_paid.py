"""A backend that costs what its block says, for tests of what is written down."""

from io import BytesIO

from msgspec import Struct

from imagen_core import About, Accepted, BackendSpec, Cost, Image, UnavailableError, hookimpl


class PaidConfig(Struct, frozen=True, kw_only=True):
    """`usd` None: nobody knows the price. `fails`: after the server has the request, or before."""

    usd: float | None = None
    fails: str = ""


class PaidBackend:
    """Makes a small picture, for money."""

    resource = None

    def __init__(self, config, context):
        del context
        self._config = config
        self.about = About(model="paid-1", honours=frozenset({"size", "seed"}))

    def generate(self, request):
        """One picture, or a failure."""
        if self._config.fails == "before":
            raise UnavailableError("nobody is there")
        yield Accepted(remote_id="r-1")
        if self._config.usd is not None:
            yield Cost(usd=self._config.usd, basis="the price of a test")
        if self._config.fails == "after":
            raise UnavailableError("it broke off")
        yield Image(data=_png(request.seed), mime="image/png", seed=request.seed)

    def check(self, request):
        """Anything will do."""

    def remarks(self, request):
        """Nothing to say."""
        del request
        return ()

    def estimate(self, request):
        """What it will cost."""
        del request
        return None

    def status(self):
        """It is always there."""


@hookimpl
def imagen_backends():
    """The type `paid`."""
    return [
        BackendSpec(
            type="paid",
            summary="costs something",
            config="supabase_paid:PaidConfig",
            create="supabase_paid:PaidBackend",
        )
    ]


def _png(seed):
    from PIL import Image as Pillow

    file = BytesIO()
    Pillow.new("RGB", (8, 8), (seed % 256, 0, 0)).save(file, "png")
    return file.getvalue()
