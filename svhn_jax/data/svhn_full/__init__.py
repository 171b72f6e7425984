"""Full house numbers for TensorFlow Datasets: importing this registers svhn_full."""

from importlib.util import find_spec

if find_spec("tensorflow_datasets"):  # without it, the rest of svhn_jax works
    from svhn_jax.data.svhn_full.svhn_full_dataset_builder import Builder as Builder
