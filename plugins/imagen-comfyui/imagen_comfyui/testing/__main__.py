"""`python -m imagen_comfyui.testing`: the fake server in the foreground, until interrupted."""

from __future__ import annotations

import argparse

from imagen_comfyui.testing.fake import FakeComfyUI
from imagen_comfyui.testing.site import NEW, OLD
from imagen_core.testing import serve


def main() -> None:
    """Runs the server, and prints where it listens."""
    serve(FakeComfyUI(**vars(_parser().parse_args())))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m imagen_comfyui.testing", description="A fake ComfyUI server."
    )
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--version", choices=(NEW, OLD), default=NEW)
    parser.add_argument("--step-seconds", type=float, default=0.0, help="time of a sampling step")
    parser.add_argument("--run-seconds", type=float, default=0.0, help="time of a run in all")
    parser.add_argument("--previews", action="store_true", help="send a picture after each step")
    return parser


if __name__ == "__main__":
    main()
