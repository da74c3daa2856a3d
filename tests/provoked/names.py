"""Names of latents."""


from test_input import schools

import conjugate_ppl as cj
from provoked.table import Y, raises


@raises(cj.PlanError, r"'thetta'.*mu, tau, theta", "keep", "only", "require")
def unknown_names_list_the_latents(option):
    cj.explain(cj.collapse(schools, **{option: ["thetta"]}), Y)


@raises(cj.PlanError, r"'y'.*mu, tau, theta", "keep", "only", "require")
def an_observed_site_is_no_latent(option):
    cj.explain(cj.collapse(schools, **{option: ["y"]}), Y)


@raises(cj.PlanError, r"(keep|only|require)=\['theta'\]", *(
    (how, option) for how in (cj.collapse, cj.Collapsed) for option in ("keep", "only", "require")))
def a_string_is_no_list_of_names(given):
    how, option = given
    how(schools, **{option: "theta"})


@raises(cj.PlanError, "no list of names", {"keep": 3}, {"keep": None}, {"only": 0}, {"require": None})
def no_names(options):
    cj.collapse(schools, **options)


@raises(cj.PlanError, r"`tau`.*HalfCauchy.*test_input\.py:\d+")
def a_required_site_that_is_declined_says_why():
    cj.explain(cj.collapse(schools, require=["theta", "tau"]), Y)


@raises(cj.PlanError, r"`mu`.*`keep`")
def required_and_kept_contradict():
    cj.explain(cj.collapse(schools, keep=["mu"], require=["mu"]), Y)


@raises(KeyError, r"mu, tau, theta")
def the_plan_lists_the_latents_for_an_unknown_name():
    cj.explain(schools, Y)["y"]
