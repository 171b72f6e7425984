"""Full house numbers for TensorFlow Datasets: importing this registers svhn_full."""

from svhn_jax.data.svhn_full.svhn_full_dataset_builder import Builder as Builder
