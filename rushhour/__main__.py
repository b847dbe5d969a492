"""`python -m rushhour`."""

from rushhour.cli import main

main()
