"""The whole of SVHN Format 1: train + extra, 223,972 training numbers, for a GPU or TPU.

    python -m svhn_jax.preprocess --raw RAW --to data/full
    python -m svhn_jax.train --config configs/full.py
    python -m svhn_jax.evaluate --config configs/full.py --split test --step best

Large batch, bfloat16 convolutions, a wide network, 40 epochs (about 8,750 steps). The learning rate
is that of the small configs times the square root of the batch ratio. NOT YET RUN on the full set: no
accuracy is claimed. About 264 million multiply-accumulates an image.
"""

from svhn_jax.config import AugmentConfig, Config, DataConfig, LossConfig, ModelConfig, OptimizerConfig

config = Config(
    name="full",
    num_epochs=40,
    batch_size=1024,
    eval_batch_size=1024,
    log_every_steps=100,
    eval_every_steps=500,
    keep_newest=20,
    data=DataConfig(dir="data/full"),
    augment=AugmentConfig(scale=0.1, rotate_degrees=5, shear=0.1),
    model=ModelConfig(patch=2, width=64, blocks=(1, 2, 2), dropout=0.1, compute_dtype="bfloat16"),
    loss=LossConfig(label_smoothing=0.05),
    optimizer=OptimizerConfig(learning_rate=8e-3, weight_decay=0.05, ema_decay=0.999),
)
