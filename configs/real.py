"""Real photos, few of them, helped by synthetic ones: for arrays made from archives under data/.

    python -m svhn_jax.preprocess --raw RAW --to data/real --validation-fraction 0.1
    python -m svhn_jax.synthesize --to data/synthetic_raw
    python -m svhn_jax.preprocess --raw data/synthetic_raw --to data/synthetic
    python -m svhn_jax.train --config configs/real.py
    python -m svhn_jax.evaluate --config configs/real.py --split test --step best

Each real photo is shown three times for each time a synthetic one is. Made for about 2,000 real photos
and 2 CPU cores; docs/experiments.md has what it reached, and how long it took.
"""

from svhn_jax.config import AugmentConfig, Config, DataConfig, LossConfig, ModelConfig

config = Config(
    name="real",
    num_epochs=18,
    batch_size=64,
    eval_every_steps=1000,
    data=DataConfig(dir="data/real", repeat=3, mix_in=("data/synthetic",)),
    augment=AugmentConfig(scale=0.15, rotate_degrees=8, shear=0.15),
    loss=LossConfig(label_smoothing=0.1),
    model=ModelConfig(patch=4, width=48, blocks=(1, 2), dropout=0.3),
)
