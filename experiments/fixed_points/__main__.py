import sys

from experiments.fixed_points.command import main

main(sys.argv[1:])
