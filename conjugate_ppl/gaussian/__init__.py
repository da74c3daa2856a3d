"""Gaussian latents, any number of sites jointly.

`block` states what is known of a joint Gaussian block: its coefficients (`quadratic`) about a point
(`reference`), in coordinates (`rotation`) that fall into small independent components and blocks of the
rest (`structure`). Its matrices come by patterns of components (`between`) or in general (`assemble`);
`solve` eliminates (components by `grouped` or `schur`), `posterior` draws and evaluates; `small` (with
`entries`, `stacked` and `batches`), `linear` and `products` have the matrix functions all of it uses.
"""
