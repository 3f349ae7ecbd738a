import sys

from experiments.benchmark.command import main

main(sys.argv[1:])
