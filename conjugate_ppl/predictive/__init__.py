"""The law of a new observation, its latents integrated out, as a NumPyro distribution."""
