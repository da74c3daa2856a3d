"""`to_arviz`: results for ArviZ, with the plan that made them.

`arviz.from_numpyro(mcmc)` works unchanged; this adds what it cannot know.
"""

from __future__ import annotations

import json
from typing import Any

__all__ = ["to_arviz"]


def to_arviz(mcmc: Any, **kwargs: Any) -> Any:
    """`arviz.from_numpyro(mcmc, **kwargs)` with the plan in the attributes of the posterior.

    Args:
        mcmc: a `numpyro.infer.MCMC` that has run a `Collapsed` kernel (any other is passed on).
        **kwargs: for `arviz.from_numpyro`; pass `log_likelihood=` to say whether pointwise log
            likelihoods are wanted (they are those of the original model, given the recovered draws).

    Returns:
        ArviZ's container (InferenceData or DataTree); `["posterior"].attrs["conjugate_ppl_plan"]`
        holds the plan as JSON.
    """
    import arviz

    from conjugate_ppl.kernel import Collapsed

    kwargs.setdefault("log_likelihood", False)
    data = arviz.from_numpyro(mcmc, **kwargs)
    if isinstance(mcmc.sampler, Collapsed):
        plan = mcmc.sampler.plan(*mcmc._args, **mcmc._kwargs)
        data["posterior"].attrs["conjugate_ppl_plan"] = json.dumps(plan.as_dict())
    return data
