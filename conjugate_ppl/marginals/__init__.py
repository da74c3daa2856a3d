"""Distributions of one observation whose latent is integrated out, those that NumPyro lacks.

As NumPyro distributions they go wherever one goes: `sample`, `log_prob`, moments, `expand`, `to_event`, plates.
"""

from conjugate_ppl.marginals.burr import BurrXII as BurrXII
from conjugate_ppl.marginals.compound_gamma import CompoundGamma as CompoundGamma
from conjugate_ppl.marginals.double_lomax import DoubleLomax as DoubleLomax
from conjugate_ppl.marginals.generalized_beta_prime import GeneralizedBetaPrime as GeneralizedBetaPrime
from conjugate_ppl.marginals.lomax import Lomax as Lomax
from conjugate_ppl.marginals.matrix_student import MatrixStudentT as MatrixStudentT
from conjugate_ppl.marginals.on_interval import CompoundOnInterval as CompoundOnInterval
from conjugate_ppl.marginals.von_mises import CompoundVonMises as CompoundVonMises
