"""The main job: three well-known models on bundled data, sampled plainly and collapsed."""
