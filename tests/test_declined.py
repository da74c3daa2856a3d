"""The nearest models that must not be collapsed, and what the user is told.

Each entry of `declined` is one step away from a model that collapses. `explain` must keep the site, name what
stood in the way in words, and give its line. The identity of `check` must hold all the same (`campaign.py` compiles all).
"""

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
import pytest
from declined import CASES, marked_line
from declined.table import OUTCOME
from generated.numpy_jaxpr import check_by_numpy
from numpyro import sample

import conjugate_ppl as cj
from conjugate_ppl.planning.attempt import Attempt

BY_XLA = frozenset(list(CASES)[::10])


@pytest.mark.parametrize("name", CASES)
def test_reason_and_line(name):
    entry = CASES[name]
    plan = cj.explain(entry.model, *map(jnp.asarray, entry.args))
    assert not plan[entry.site].collapsed
    assert entry.site in plan.kept
    assert entry.words in plan[entry.site].reason, f"\n{plan}"
    assert plan[entry.site].source == marked_line(entry.model), f"\n{plan}"
    assert frozenset(plan.collapsed) == entry.collapsed, f"\n{plan}"


@pytest.mark.parametrize("name", CASES)
def test_identity(name, x64):
    entry = CASES[name]
    check = cj.check if name in BY_XLA and not x64 else check_by_numpy
    check(entry.model, jax.random.key(0), *map(jnp.asarray, entry.args), num_points=1)


def test_scaled_simplex():
    # NumPyro's own density refuses these probabilities, so that there is no identity to check

    def model(y):
        phi = sample("phi", dist.Dirichlet(jnp.ones(3)))
        sample("y", dist.Categorical(0.9 * phi), obs=y)

    assert cj.explain(model, OUTCOME).collapsed == ()


def test_what_is_tried_again_ends(monkeypatch):
    """Of factors in pairs each stays for another, and that one for the next: who comes back because of whom comes back once."""
    count, rounds, stay = 9, [], Attempt._stay
    monkeypatch.setattr(Attempt, "_stay", lambda self, problem: (rounds.append(problem.site), stay(self, problem)))

    def model(y):
        z = [sample(f"z{k}", dist.Normal(0.0, 1.0)) for k in range(count)]
        for i in reversed(range(count - 1)):
            for j in reversed(range(i + 1, count)):
                sample(f"y{i}{j}", dist.Normal(z[i] * z[j], 1.0), obs=y)

    assert cj.explain(model, 0.3).collapsed == ("z0",)
    assert len(rounds) < count**2
