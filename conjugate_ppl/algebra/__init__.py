"""The algebra: a model's densities as sums of monomials in the elements of its latents.

`host` runs primitives on known numbers, `movement` says where data movement takes its elements
from, `variables` are the things monomials are made of, `value` the sums of monomials, `rules` the
table of what each primitive does to them, `walk` the pass over a model's equations.
"""
