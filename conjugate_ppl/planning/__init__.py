"""From a program to a plan: which sites are collapsed, in which order, and why not the others.

`decision` has the results that a user reads, `screen` judges sites one by one, `choose` puts blocks
together, `execute` is a plan made ready to run.
"""
