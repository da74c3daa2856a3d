"""Gaussian latents in a chain of steps, integrated out by a filter.

`layers.py` finds the steps: elements that meet in a likelihood share one, and a location reads elements of its
own step or the one before. `model.py` has the matrices of every step, `filter.py` and `smoother.py` the recursions over
them.
"""
