"""The embedded default: synthetic house numbers, a few minutes on 2 CPU cores.

    python -m svhn_jax.demo

makes the data, trains this and evaluates it.
"""

from svhn_jax.config import Config, DataConfig, ModelConfig

config = Config(
    name="demo",
    num_epochs=10,
    batch_size=64,
    data=DataConfig(dir="data/synthetic"),
    model=ModelConfig(patch=4, width=48, blocks=(1, 1)),
)
