"""Integrating latents out: what a block leaves behind, and how it is drawn back.

`joint` eliminates Gaussian latents together, `statespace` those in chains of steps, `elementwise` one site of a conjugate family, `finite` sums
discrete latents out. The first two prove what they need from the monomials, the last from which elements
meet in a cell; all raise `Declined` where they cannot.
"""

from conjugate_ppl.elimination.base import Declined, Elimination, Pool
from conjugate_ppl.elimination.elementwise import choose_family, eliminate_elementwise
from conjugate_ppl.elimination.finite import eliminate_finite
from conjugate_ppl.elimination.joint import eliminate_gaussian
from conjugate_ppl.elimination.matrix import eliminate_matrix
from conjugate_ppl.elimination.statespace import eliminate_statespace

__all__ = ["Declined", "Elimination", "Pool", "choose_family", "eliminate_elementwise", "eliminate_finite",
           "eliminate_gaussian", "eliminate_matrix", "eliminate_statespace"]
