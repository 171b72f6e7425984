"""svhn_jax: train and run readers of whole house numbers (SVHN Format 1) in JAX."""

__version__ = "0.1.0"
