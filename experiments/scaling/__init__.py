"""A cost model of training: work of a step, machines, and what limits a step on each of them."""
