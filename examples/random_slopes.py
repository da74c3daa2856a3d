"""Random intercepts and slopes: 176 patients, 1549 unbalanced rows, simulated.

The model of NumPyro's tutorial on hierarchical linear regression (lung capacity over time, here in
litres and years). Both effects of every patient and both population means are integrated out; three
scales are left.
"""

import jax
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC

import conjugate_ppl as cj

PATIENTS, ROWS = 176, 1549


def model(patient, year, y, num_patients):
    m_a = numpyro.sample("m_a", dist.Normal(0.0, 5.0))
    s_a = numpyro.sample("s_a", dist.HalfCauchy(1.0))
    m_b = numpyro.sample("m_b", dist.Normal(0.0, 1.0))
    s_b = numpyro.sample("s_b", dist.HalfCauchy(1.0))
    s = numpyro.sample("s", dist.HalfCauchy(1.0))
    with numpyro.plate("patients", num_patients):
        a = numpyro.sample("a", dist.Normal(m_a, s_a))
        b = numpyro.sample("b", dist.Normal(m_b, s_b))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(a[patient] + b[patient] * year, s), obs=y)


def data():
    """Capacity `y` (litres) of each `patient` at each time `year`: 3 to about 20 rows a patient."""
    rng = np.random.default_rng(20)
    share = rng.dirichlet(np.full(PATIENTS, 4.0))
    rows = 3 + rng.multinomial(ROWS - 3 * PATIENTS, share)
    patient = np.repeat(np.arange(PATIENTS), rows)
    year = rng.integers(-4, 60, ROWS) / 52
    a, b = rng.normal(2.7, 0.8, PATIENTS), rng.normal(-0.2, 0.25, PATIENTS)
    y = rng.normal(a[patient] + b[patient] * year, 0.14)
    return {"patient": patient, "year": year, "y": y, "num_patients": PATIENTS}


def main():
    print(cj.explain(model, **data()))
    mcmc = MCMC(cj.Collapsed(model), num_warmup=500, num_samples=1000)
    mcmc.run(jax.random.key(0), **data())
    mcmc.print_summary()


if __name__ == "__main__":
    main()
