import sys

from experiments.sweep.command import main

main(sys.argv[1:])
