"""The shipped reader, trained further on a few hundred photos of your own, on CPUs or a GPU.

    python -m svhn_jax.preprocess --raw myphotos --to data/mine
    python -m svhn_jax.train --config configs/finetune.py --start svhn_jax/weights/reader
    python -m svhn_jax.evaluate --run checkpoints/finetune --split validation --step best

The network of configs/mixed.py in float32, 300 steps of 32: 2 to 5 minutes of two CPU cores (130 s
of processor time). Any run of the same network can be the start. 200 synthetic photos of
seven-segment meters: 0 of 300 test photos are read before, 300 after; trained from nothing
for the same steps, it reads 79 % (docs/experiments.md).
"""

from svhn_jax.config import (
    AugmentConfig,
    Config,
    DataConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
)

config = Config(
    name="finetune",
    num_steps=300,
    batch_size=32,
    log_every_steps=10,
    eval_every_steps=50,
    data=DataConfig(dir="data/mine"),
    augment=AugmentConfig(
        scale=0.15,
        rotate_degrees=8,
        shear=0.15,
        channel_gain=0.1,
        channel_offset=0.03,
        gamma=0.2,
        blur=0.5,
    ),
    loss=LossConfig(label_smoothing=0.05),
    model=ModelConfig(patch=3, width=128, blocks=(2, 2), dropout=0.3),
    optimizer=OptimizerConfig(learning_rate=3e-3, clip_norm=1.0, ema_decay=0.99),
)
