import sys

from experiments.priors.command import main

main(sys.argv[1:])
