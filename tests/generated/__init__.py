"""A generator of random NumPyro models, and what must hold of every one."""
