"""The seed project's network and settings (kvn219/multi-number-recognition, 2017), as a baseline.

    python -m svhn_jax.train --config configs/seed.py

32x32 input from a random 54-pixel crop, Adam 1e-4, batch 36, 10 epochs, blanks trained as an
eleventh digit, no running average. Two differences: it had no length head, and its batch norm was
off outside training. It reported 95.0 % positional digit accuracy on test after 88,000 steps.
"""

from svhn_jax.config import (
    AugmentConfig,
    Config,
    DataConfig,
    ImageConfig,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
)

config = Config(
    name="seed",
    num_epochs=10,
    batch_size=36,
    log_every_steps=1000,
    eval_every_steps=1000,
    data=DataConfig(dir="data/full"),
    image=ImageConfig(crop=54, resize=32, normalize="mean"),
    augment=AugmentConfig(brightness=64 / 255, contrast=0.5, saturation=0.5, hue=0.2),
    model=ModelConfig(architecture="seed", dropout=0.15),
    loss=LossConfig(blank_weight=1.0),
    optimizer=OptimizerConfig(
        learning_rate=1e-4,
        schedule="constant",
        warmup_fraction=0.0,
        weight_decay=0.0,
        beta2=0.999,
        ema_decay=0.0,
    ),
)
