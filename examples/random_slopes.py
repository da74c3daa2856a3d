"""Random intercepts and slopes: 176 patients, 1549 unbalanced rows, simulated.

The model of NumPyro's tutorial on hierarchical linear regression (lung capacity over weeks). Both
effects of every patient and both population means are integrated out; three scales are left.
"""

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC

import conjugate_ppl as cj

PATIENTS, ROWS = 176, 1549


def model(patient, week, y, num_patients):
    m_a = numpyro.sample("m_a", dist.Normal(0.0, 500.0))
    s_a = numpyro.sample("s_a", dist.HalfCauchy(100.0))
    m_b = numpyro.sample("m_b", dist.Normal(0.0, 3.0))
    s_b = numpyro.sample("s_b", dist.HalfCauchy(3.0))
    s = numpyro.sample("s", dist.HalfCauchy(100.0))
    with numpyro.plate("patients", num_patients):
        a = numpyro.sample("a", dist.Normal(m_a, s_a))
        b = numpyro.sample("b", dist.Normal(m_b, s_b))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(a[patient] + b[patient] * week, s), obs=y)


def data():
    """Capacity `y` (ml) of each `patient` in each `week`: 3 to about 20 rows a patient."""
    rng = np.random.default_rng(20)
    share = rng.dirichlet(np.full(PATIENTS, 4.0))
    rows = 3 + rng.multinomial(ROWS - 3 * PATIENTS, share)
    patient = np.repeat(np.arange(PATIENTS), rows)
    week = rng.integers(-4, 60, ROWS).astype(float)
    a, b = rng.normal(2700.0, 800.0, PATIENTS), rng.normal(-4.0, 5.0, PATIENTS)
    y = rng.normal(a[patient] + b[patient] * week, 140.0)
    return {"patient": patient, "week": week, "y": y, "num_patients": PATIENTS}


def main():
    print(cj.explain(model, **data()))
    mcmc = MCMC(cj.Collapsed(model), num_warmup=500, num_samples=1000)
    mcmc.run(jax.random.key(0), **data())
    mcmc.print_summary()


if __name__ == "__main__":
    main()
