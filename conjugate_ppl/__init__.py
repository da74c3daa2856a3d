"""Exact marginalisation of conjugate latents in ordinary NumPyro models."""

from conjugate_ppl.additive.posterior import Posterior as Posterior
from conjugate_ppl.arviz import to_arviz as to_arviz
from conjugate_ppl.check import Certificate as Certificate
from conjugate_ppl.check import check as check
from conjugate_ppl.collapse import CollapsedModel as CollapsedModel
from conjugate_ppl.collapse import collapse as collapse
from conjugate_ppl.collapse import explain as explain
from conjugate_ppl.densities import register_density as register_density
from conjugate_ppl.errors import ConjugatePPLError as ConjugatePPLError
from conjugate_ppl.errors import DataError as DataError
from conjugate_ppl.errors import InternalError as InternalError
from conjugate_ppl.errors import ModelError as ModelError
from conjugate_ppl.errors import PlanError as PlanError
from conjugate_ppl.families import Family as Family
from conjugate_ppl.families import register_family as register_family
from conjugate_ppl.kernel import Collapsed as Collapsed
from conjugate_ppl.planning.decision import Decision as Decision
from conjugate_ppl.planning.decision import Plan as Plan

__version__ = "0.1.0"
