"""Turns photos into arrays. No module of this package imports jax."""
