"""Gaussian latents, any number of sites jointly.

`block` states what is known of a joint Gaussian block, `structure` splits its elements into small
independent components and a dense rest, `assemble` turns a reduced log density into matrices,
`solve` eliminates, draws and evaluates, `linear` holds the one matrix function that all of it uses.
"""
