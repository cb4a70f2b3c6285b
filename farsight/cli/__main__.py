"""`python -m farsight.cli` is the `farsight` command."""

from farsight.cli.app import main

main()
