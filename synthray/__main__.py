"""``python -m synthray``: the command line."""

from synthray.cli import main

main()
