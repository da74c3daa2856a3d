"""Every known way to take a model for another one, and the tests that hold it.

A1 messages of NumPyro, A2 what an analysis of dependencies misses, A3 kernels and `MCMC`,
A4 ordinary models, T what users of other packages ran into, R bugs of those packages, X functions
of latents. `models` are entries of the table of models (`test_identity`), `declined` are models of
`test_declined`.

A1.1   values are substituted after an inner handler has run
       test_kernel::test_collapsed_model_for_other_samplers_and_prediction
A1.2   handlers outside rename, replace or set sites
       test_effects::test_outer_handlers_that_come_too_late
A1.3   the stack of handlers is global to all threads
       test_kernel::test_threads_do_not_mix_their_models
A1.4   messages share the user's dictionaries
       test_effects::test_what_belongs_to_the_user_is_left_alone
A2.1   `scale` depends on a latent
       declined::weight_depends_on_a_latent
A2.2   mutable references
       test_values::test_mutable_reference
A2.3   an unobserved Delta
       test_distributions::test_unobserved_delta
A2.4   dependence inside a scan
       declined::state_space_with_a_curved_step declined::chain_of_gammas
       test_effects::test_chain_inside_a_scan
A2.5   plates whose rows depend on each other
       test_shapes::test_plate_whose_rows_share_a_mean
       test_shapes::test_plate_whose_rows_read_each_other
A2.6   dependence that is none
       models::gaussian_zero_coefficient models::gamma_times_zero
       test_shapes::test_latent_that_is_stacked_and_not_read
A2.7   names of sites that are names of arguments
       test_effects::test_names_that_are_taken
A2.8   branching on a latent in Python
       test_effects::test_branching_in_python
A2.9   parameters of modules
       test_effects::test_param_is_a_constant
A2.10  private names of JAX
       test_effects::test_only_public_names_of_jax
A2.11  edges stop at deterministic sites
       models::gaussian_not_centred test_effects::test_deterministic_sites_hide_no_dependence
A3.1   states are restarted, and hold a dictionary of samples
       test_kernel::test_warm_restart_with_new_data_and_pickle
       test_kernel::test_progress_bar_and_summary
A3.2   draws need keys of their own, which no postprocessing has
       test_kernel::test_draws_of_a_step_use_keys_of_their_own
A3.3   pickles, interrupted runs, one key or one for each chain
       test_kernel::test_an_interrupted_run_can_be_repeated test_kernel::test_chains
A3.4   nothing left for the kernel, and no latents at all
       test_kernel::test_nothing_kept test_kernel::test_a_model_without_latents_runs
A3.5   divergences and statistics under their usual names
       test_kernel::test_arviz_sees_the_users_model
A3.6   options that name sites the kernel no longer has
       test_kernel::test_mass_matrix_and_acceptance
       test_kernel_options::test_options_that_name_collapsed_sites
       test_kernel_options::test_mass_matrix_of_a_collapsed_site
A3.7   heuristic step sizes and other kernels
       test_kernel::test_thinning_and_inner_kernels
A3.8   discrete latents, enumerated by NumPyro
       declined::discrete_parent test_kernel::test_discrete_latents_that_stay_are_enumerated_by_numpyro
A4.1   `sample_shape`
       models::gaussian_sample_shape test_shapes::test_sample_shape_outside_a_plate
       test_shapes::test_sample_shape_inside_a_plate
A4.2   observations wider or narrower than their distribution
       models::gaussian_narrow_observation models::gaussian_grid_observation
       test_shapes::test_one_observation_in_a_plate_of_five
       test_shapes::test_column_of_rates_by_row_of_counts
A4.3   order of wrappers
       test_densities::test_wrappers test_shapes::test_order_of_wrappers
A4.4   masks wider than the batch, NaN behind masks
       models::masked_wider_than_batch test_densities::test_nan_in_masked_cells
       test_shapes::test_masked_rows_may_hold_nan_covariates
       test_shapes::test_missing_cells_are_imputed
A4.5   masks that are Python's True and False
       models::masked_altogether test_shapes::test_model_that_asks_for_its_mask
A4.6   weights
       models::tempered models::weighted_rows declined::weighted_prior
       test_shapes::test_weight_of_two_is_every_row_twice
       test_shapes::test_weight_times_a_fixed_subsample
A4.7   subsampled plates
       declined::subsampled test_shapes::test_latent_of_a_subsampled_plate
       test_shapes::test_subsample_of_all_rows test_shapes::test_subsampling_is_refused_as_by_nuts
A4.8   factor statements
       declined::factor_on_a_rate declined::quadratic_factor models::gaussian_linear_factor
       test_shapes::test_factor_counts_once_for_each_row
A4.9   functions that make distributions
       test_densities::test_equals_numpyro models::beta_bernoulli models::beta_bernoulli_logit
A4.10  subclasses
       declined::subclass_as_a_prior declined::subclass_as_a_likelihood
       test_distributions::test_subclass_of_a_wrapper test_distributions::test_subclass_of_a_gamma
A4.11  transformed distributions with parameters in several places
       test_distributions::test_inverse_gamma_has_its_parameters_twice
       test_distributions::test_prior_of_no_family
       test_distributions::test_transformed_prior_with_and_without_its_reparametrisation
A4.12  distributions that forget what they were made from
       models::mvn_precision test_distributions::test_multivariate_normal_keeps_only_its_root
A4.13  mixtures, truncation, censoring, copulas
       declined::mixture declined::truncated_prior_of_another_shape test_distributions::test_opaque_likelihood
A4.14  improper priors cannot be drawn
       models::gaussian_flat test_distributions::test_flat_prior_cannot_be_drawn
A4.15  distributions without moments
       test_distributions::test_initialisation_by_moments
A4.16  observations that are latents, or small integers
       models::gaussian_latent_as_observation models::gaussian_small_integers
       test_values::test_observation_made_of_latents test_values::test_bytes_as_counts
       test_values::test_bytes_as_trials
A4.17  spellings of one power
       test_algebra::test_one_form models::gamma_precision_rsqrt
A4.18  look-ups by group
       models::gaussian_gather models::gaussian_negative_index
       test_values::test_look_ups_are_selections
A4.19  checks of arguments, sorted dictionaries
       test_values::test_validation_leaves_no_trace test_values::test_order_of_names
A4.20  scan and cond
       declined::state_space_with_a_curved_step declined::chain_of_gammas
       test_effects::test_latent_read_inside_a_scan
       test_effects::test_recursion_of_a_latent_inside_a_scan
       test_effects::test_latent_inside_a_cond
A4.21  hidden randomness
       declined::hidden_noise declined::hidden_noise_in_a_prediction
       test_effects::test_noise_outside_sites
A4.22  a value given for one site shifts the keys of others
       test_input::test_recover_ignores_other_sites
       test_kernel::test_draws_of_a_step_use_keys_of_their_own
A4.23  do, lift, reparam, obs_mask, uncondition
       models::do_latent models::lift models::reparam_half_centred models::masked_by_obs_mask
       test_effects::test_uncondition test_effects::test_centring_that_is_learned
A4.24  deterministic sites depend on collapsed ones
       test_kernel::test_chains
A4.25  parameters and state
       test_effects::test_param_is_a_constant test_effects::test_mutable_state
A4.26  supports that depend on latents, names of auxiliary sites
       declined::support_edge test_distributions::test_latent_between_latents
       test_effects::test_names_that_are_taken
A4.27  arguments that are no arrays
       models::gaussian_static_arguments
A4.28  plates prove nothing
       models::gaussian_centred_effects test_shapes::test_plate_whose_rows_share_a_mean
T1     the first row decides, a latent index, slices, sticks
       test_other_packages::test_first_row_of_coefficient_one_and_offset_zero
       test_other_packages::test_overlapping_slices_of_a_vector
       test_other_packages::test_stick_breaking declined::latent_as_an_index
T2     coefficients that are zero, or latents
       models::gaussian_zero_coefficient declined::product_of_two declined::product_with_itself
T3     a latent shared over a plate
       test_shapes::test_latent_shared_over_a_plate
T4     plates of one, masks of observations, enumerated axes
       models::gaussian_plate_of_one models::masked_by_obs_mask declined::discrete_parent
       test_shapes::test_plate_of_size_one
T5     predictions under mask(False)
       test_kernel::test_collapsed_model_for_other_samplers_and_prediction
       test_shapes::test_model_that_asks_for_its_mask
T6     subsampling, tempering
       declined::subsampled test_shapes::test_subsampling_is_refused_as_by_nuts
       models::tempered_counts
T7     deterministic sites and factors on collapsed ones
       test_kernel::test_chains declined::factor_on_a_rate
T8     truncated priors and dependents
       declined::truncated_prior_of_another_shape test_distributions::test_opaque_likelihood
T9     constants that depend on the data alone
       test_other_packages::test_small_models
T10    variances by subtraction
       test_other_packages::test_posterior_variance_without_subtraction
       test_draws::test_conditionals_at_scales_of_all_sizes
T11    the prior's mean in the posterior's
       test_other_packages::test_prior_mean_enters_the_posterior_mean
T12    which log likelihood is shown
       test_kernel_options::test_options_that_name_collapsed_sites
       test_kernel::test_arviz_sees_the_users_model
T13    effective samples of recovered draws
       test_kernel::test_nothing_kept test_kernel::test_draws_of_a_step_use_keys_of_their_own
T14    flat priors without data
       declined::flat_prior_without_rank declined::flat_prior_between_sites
T15    chains, thinning, groups by chain
       test_kernel::test_chains test_kernel::test_thinning_and_inner_kernels
       test_input::test_recover_follows_the_batch_axes
T16    precision, variance and sd; logits and probabilities
       models::gamma_precision_power models::inverse_gamma_variance_sqrt
       models::beta_bernoulli_logit
T17    collapsing may cost more than it gains
       test_input::test_keep_and_only_are_followed
R1     crashes on eleven small models (numpyro.handlers.collapse)
       test_other_packages::test_small_models
R2     a zero mean is assumed (numpyro-ext)
       test_other_packages::test_prior_mean_enters_the_posterior_mean
R3     every Uniform is (0, 1), every Pareto starts at 1 (AMMCMC)
       declined::half_a_probability test_distributions::test_prior_of_no_family
       models::gamma_pareto test_distributions::test_pareto_above_a_latent
R4     probabilities of a count that are not the latent (AMMCMC)
       declined::scaled_probability test_other_packages::test_binomial_of_a_power
R5     sites in the order of their names (AMMCMC)
       test_values::test_order_of_names
       test_other_packages::test_many_sites_in_any_order_of_names
R6     variances by subtraction (AMMCMC, LMM-HMC)
       test_other_packages::test_posterior_variance_without_subtraction
R7     binomial coefficients of a plate are lost (funsor)
       test_other_packages::test_small_models
R8     only two correlated effects, no predictions (LMM-HMC)
       test_other_packages::test_more_than_two_correlated_effects
       test_kernel::test_collapsed_model_for_other_samplers_and_prediction
R9     cells taken for a simplex (NIMBLE's sticks)
       test_other_packages::test_cells_that_are_no_simplex declined::one_cell_of_a_simplex
X1     callbacks
       declined::callback
X2     mutable references, side effects
       test_values::test_mutable_reference test_values::test_printing
X3     loops over a latent
       declined::loop_of_unknown_length test_values::test_linear_or_not_it_is_declined
X4     casts
       declined::cast_to_whole_numbers declined::cast_to_fewer_digits
X5     the root of a square
       declined::root_of_a_square
X6     Uniform(0, th)
       test_distributions::test_observations_below_a_latent
X7     padding, fill modes, indices out of range
       declined::look_up_out_of_range test_values::test_look_ups_are_selections
       test_values::test_index_out_of_range
X8     derivatives that lie
       test_values::test_custom_derivatives_that_lie
       test_values::test_custom_derivative_that_looks_linear
X9     unknown primitives
       test_values::test_unknown_primitive test_algebra::test_stays_opaque
X10    designs computed in the model
       test_values::test_design_computed_in_the_model
X11    supports that a latent moves
       test_found::test_edges_that_a_latent_moves
       test_found::test_transforms_over_all_reals_have_no_edge
X12    known numbers in another precision than the model's
       test_found::test_known_numbers_jump_where_those_of_the_model_do
       test_found::test_half_precision_counts_round
       test_found::test_whole_numbers_overflow_as_those_of_the_model_do
X13    states of a sampler with another warm-up
       test_found::test_restart_with_a_longer_warmup test_found::test_warmup_that_is_collected
X14    `param` sites
       test_found::test_param_whose_value_is_not_known_ahead test_found::test_recovery_beside_a_param
       test_found::test_a_param_that_was_optimised
X15    names that the package makes up
       test_found::test_site_named_like_a_marginal
X16    no derivative in reverse mode
       test_found::test_marginal_without_a_reverse_derivative
X17    handlers around a collapsed model
       test_found::test_scope_around_a_collapsed_model
X18    values that the model makes impossible
       test_found::test_check_where_some_values_are_impossible
       test_found::test_check_where_the_density_is_no_number
X19    scales of which only the square is seen
       test_found::test_scale_that_may_be_negative
X20    observed values that are latents
       test_found::test_observed_value_that_is_a_latent
X21    factors in other clothes
       test_found::test_delta_with_a_density_of_its_own
X22    forms that another reference point takes away
       test_found::test_monomials_that_are_none_about_another_point
X23    data that are changed in place
       test_found::test_data_that_are_changed_in_place
X24    masks within an event
       test_found::test_mask_within_an_event
X25    what a compiled call rounds once
       test_found::test_bins_that_a_call_makes
X26    points by two measures of what is typical
       test_found::test_points_of_what_is_beside_a_chain
X27    data that are no arguments
       test_found::test_data_that_are_no_arguments
X28    supports that a kept latent moves
       test_found::test_support_that_a_kept_latent_moves
X29    bounds of a truncated latent
       test_found::test_gradient_in_a_bound_that_the_peak_lies_at
       test_found::test_nothing_between_the_bounds
X30    logits that are far from 0
       test_range::test_logits_beyond_the_range_of_exponentials test_range::test_quotients_whose_parts_are_large
X31    latents that data multiply by 0
       test_found::test_covariate_that_is_zero_in_all_rows
X32    half precision in front of a coefficient
       test_range::test_half_precision
X33    random keys of other kinds
       test_found::test_keys_of_other_kinds
       test_found::test_a_typed_key_that_a_model_holds
X34    parameters that kept latents move out of range
       test_found::test_rate_that_a_kept_latent_makes_negative
X35    data in large and small units
       test_range::test_data_in_large_and_small_units
X36    data on the edge of a support
       test_found::test_proportion_on_the_edge
X37    whole numbers that are traced
       test_found::test_whole_numbers_that_are_traced
X38    loops in reverse
       declined::loop_that_runs_backwards models::hidden_markov_backwards
       test_found::test_a_loop_in_reverse_that_nothing_is_seen_of
X39    data that are traced
       test_cost::test_traced_data_are_analysed_as_known_ones test_level::test_marginal_of_traced_data_at_a_level
X40    states that an element cannot have, and models that are not validated
       test_finite::test_states_that_an_element_cannot_have
X41    sums of several masks, events and cases
       test_sums::test_several_masks_of_a_site
       test_sums::test_events_of_proportions_that_cancel
       test_sums::test_cases_of_a_choice_with_a_sum_each
       test_sums::test_rate_of_a_line_that_starts_at_time_zero
X42    indices that are traced
       test_sums::test_indices_that_are_traced_below_functions_of_kept_sites
X43    a prior without a mean, given by Python's own numbers
       test_distributions::test_priors_without_a_mean
X44    whole numbers: divided by zero, in products of larger ones, added up by NumPy and by JAX
       test_values::test_whole_numbers_divided_by_zero
       test_values::test_products_of_small_integers_that_are_asked_for_in_larger_ones
       test_values::test_sums_of_whole_numbers_of_numpy_and_of_jax
X45    simplices of 49 cells
       test_values::test_simplices_whose_cells_are_no_fractions
X46    nothing compiled
       test_kernel_options::test_nothing_compiled
X47    angles of a whole turn
       test_distributions::test_directions_of_a_whole_turn
"""
