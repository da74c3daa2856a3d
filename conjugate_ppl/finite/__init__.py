"""Discrete latents of finitely many values, summed out.

`cases.py` is an array for every value of the latents that it reads, `rules.py` what a primitive does to
it, `evaluate.py` the pass over the equations: it finds which elements of the latents each cell of a log
density reads. `order.py` finds the order of summation from that, in two kinds of steps: elements that are
independent given the others, and chains of layers. `tables.py` has them on numbers, `chain.py` the recursions;
`sums.py` is below all of them.
"""
