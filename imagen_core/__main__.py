"""`python -m imagen_core` is `imagen`."""

from imagen_core.cli import main

main()
