"""A few real photos and synthetic ones, for 2 CPU cores.

    python -m svhn_jax.preprocess --raw RAW --to data/real --validation-fraction 0.2
    python -m svhn_jax.synthesize --arrays data/synthetic_30k --train 30000 --test 1000
    python -m svhn_jax.train --config configs/real.py
    python -m svhn_jax.evaluate --config configs/real.py --split test --step best

Made for about 2,000 real photos; a fifth of them choose the step. Each is shown six times as often
as a synthetic one. 14 minutes on 2 CPU cores: 0.890 of 500 real test photos (docs/experiments.md).
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
    name="real",
    num_epochs=20,
    batch_size=64,
    eval_every_steps=1000,
    data=DataConfig(dir="data/real", repeat=6, mix_in=("data/synthetic_30k",)),
    augment=AugmentConfig(
        scale=0.2,
        rotate_degrees=12,
        shear=0.2,
        channel_gain=0.1,
        channel_offset=0.03,
        gamma=0.2,
        blur=0.5,
        cutout=12,
    ),
    loss=LossConfig(label_smoothing=0.05),
    model=ModelConfig(patch=4, width=48, blocks=(1, 2), dropout=0.2),
    optimizer=OptimizerConfig(learning_rate=4e-3, clip_norm=1.0, ema_decay=0.9995),
)
