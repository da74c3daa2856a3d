"""Integrating latents out: what a block leaves behind, and how it is drawn back.

`joint` eliminates Gaussian latents together, `elementwise` one site of a conjugate family. Both prove
what they need from the monomials and raise `Declined` where they cannot.
"""

from conjugate_ppl.elimination.base import Declined, Elimination, Pool
from conjugate_ppl.elimination.elementwise import eliminate_elementwise
from conjugate_ppl.elimination.joint import eliminate_gaussian

__all__ = ["Declined", "Elimination", "Pool", "eliminate_elementwise", "eliminate_gaussian"]
