"""`python -m imagen_replicate.testing`: the fake server in the foreground, until interrupted."""

from __future__ import annotations

import argparse

from imagen_core.testing import serve
from imagen_replicate.testing.fake import TOKEN, FakeReplicate


def main() -> None:
    """Runs the server, and prints where it listens."""
    serve(FakeReplicate(**vars(_parser().parse_args())))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m imagen_replicate.testing", description="A fake Replicate."
    )
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--run-seconds", type=float, default=0.0, help="time of a prediction")
    parser.add_argument("--token", default=TOKEN, help=f"default: {TOKEN}")
    return parser


if __name__ == "__main__":
    main()
