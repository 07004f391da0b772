"""python -m ddpm: the program."""

from ddpm._program import main

main()
