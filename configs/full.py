"""All of SVHN Format 1: train and extra, 223,972 training numbers, for a GPU or TPU.

    python -m svhn_jax.preprocess --raw RAW --to data/full
    python -m svhn_jax.train --config configs/full.py
    python -m svhn_jax.evaluate --config configs/full.py --split test --step best

Large batch, bfloat16 convolutions, 80 epochs (about 17,500 steps). Wide layers on an 18x18 map do
more arithmetic for each value that batch norm and ReLU read and write. 830 million
multiply-accumulates an image. NOT YET RUN on the full set: no accuracy is claimed, and learning
rate and augmentation were not tuned for it.
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
    name="full",
    num_epochs=80,
    batch_size=1024,
    eval_batch_size=1024,
    log_every_steps=100,
    eval_every_steps=500,
    keep_newest=20,
    data=DataConfig(dir="data/full"),
    augment=AugmentConfig(
        scale=0.15,
        rotate_degrees=10,
        shear=0.2,
        channel_gain=0.1,
        channel_offset=0.03,
        gamma=0.2,
        blur=0.5,
        cutout=12,
    ),
    model=ModelConfig(patch=3, width=192, blocks=(2, 2), dropout=0.2, compute_dtype="bfloat16"),
    loss=LossConfig(label_smoothing=0.05),
    optimizer=OptimizerConfig(
        learning_rate=4e-3, weight_decay=0.05, clip_norm=1.0, ema_decay=0.9995
    ),
)
