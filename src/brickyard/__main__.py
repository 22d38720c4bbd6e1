"""`python -m brickyard` is the command `brickyard`."""

from brickyard.cli.main import main

main(prog_name="brickyard")
