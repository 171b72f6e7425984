"""The shipped weights: few real photos with boxes, more whose boxes a first network found, and many synthetic ones.

    python -m svhn_jax.preprocess --raw RAW --to data/real --validation-fraction 0.2
    python -m svhn_jax.synthesize --arrays data/synthetic_150k --train 150000 --test 2000 --validation-fraction 0.01 --seed 5
    python -m svhn_jax.box PHOTOS --run checkpoints/real --to data/boxed_raw
    python -m svhn_jax.preprocess --raw data/boxed_raw --to data/boxed --validation-fraction 0
    python -m svhn_jax.train --config configs/mixed.py

RAW holds archives of SVHN Format 1, PHOTOS photos with a labels.csv without boxes; checkpoints/real is a run of
configs/real.py. docs/experiments.md has the photos, the hardware and what it reached. 45.6 million multiply-accumulates
an image.
"""

from svhn_jax.config import AugmentConfig, Config, DataConfig, LossConfig, ModelConfig, OptimizerConfig

config = Config(
    name="mixed",
    num_epochs=9,
    batch_size=64,
    log_every_steps=200,
    eval_every_steps=1000,
    keep_newest=3,
    data=DataConfig(dir="data/real", repeat=12, mix_in=("data/boxed", "data/synthetic_150k"), mix_in_repeat=(7, 1)),
    augment=AugmentConfig(
        scale=0.15, rotate_degrees=8, shear=0.15, channel_gain=0.1, channel_offset=0.03, gamma=0.2, blur=0.5
    ),
    loss=LossConfig(label_smoothing=0.05),
    model=ModelConfig(patch=4, width=64, blocks=(1, 2), dropout=0.3),
    optimizer=OptimizerConfig(learning_rate=2e-3, clip_norm=1.0, ema_decay=0.9995),
)
