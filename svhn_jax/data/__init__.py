"""From photos to arrays. Nothing in this package imports jax."""
