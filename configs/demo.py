"""The demo: synthetic house numbers, a few minutes on 2 CPU cores.

    python -m svhn_jax.demo

renders the data, trains this and evaluates it.
"""

from svhn_jax.config import AugmentConfig, Config, DataConfig, ModelConfig, OptimizerConfig

config = Config(
    name="demo",
    num_epochs=4.5,
    batch_size=64,
    eval_every_steps=1000,
    data=DataConfig(dir="data/synthetic"),
    augment=AugmentConfig(scale=0.1, rotate_degrees=5, shear=0.1),
    model=ModelConfig(patch=4, width=48, blocks=(1, 2), dropout=0.1),
    optimizer=OptimizerConfig(algorithm="muon", learning_rate=4e-3),
)
