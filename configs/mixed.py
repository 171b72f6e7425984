r"""The first part of the shipped weights: real photos, photos boxed by a network, synthetic ones.

    python -m svhn_jax.preprocess --raw RAW --to data/real --validation-fraction 0.2
    python -m svhn_jax.synthesize --arrays data/synthetic_150k --train 150000 --test 500 \
        --validation-fraction 0.01 --seed 5
    python -m svhn_jax.synthesize --arrays data/synthetic_200k --train 200000 --test 500 \
        --validation-fraction 0.001 --seed 6
    python -m svhn_jax.box PHOTOS --run checkpoints/real --to data/boxed_raw
    python -m svhn_jax.preprocess --raw data/boxed_raw --to data/boxed --validation-fraction 0
    python -m svhn_jax.train --config configs/mixed.py --seed 2

RAW holds archives of SVHN Format 1, PHOTOS photos with a labels.csv without boxes. checkpoints/real
is a run of configs/real.py (for the shipped weights, as of commit 484673c). The synthetic photos of
the shipped weights are of the renderer's version 2; it is at version 3 now.

GPU: 3.5 minutes of an H100, which trained three seeds at once. They read 0.928 to 0.942 of 500 real
test photos, 0.936 to 0.948 with --tta (docs/experiments.md). On a CPU it takes
--model.compute-dtype float32 and many hours (not tried). 371 million multiply-accumulates an image.
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
    name="mixed",
    num_steps=12_000,
    batch_size=512,
    log_every_steps=250,
    eval_every_steps=3_001,  # as the shipped weights were trained: four validations
    keep_newest=2,
    data=DataConfig(
        dir="data/real",
        repeat=30,
        mix_in=("data/boxed", "data/synthetic_150k", "data/synthetic_200k"),
        mix_in_repeat=(20, 1, 1),
    ),
    augment=AugmentConfig(
        scale=0.2,
        rotate_degrees=12,
        shear=0.2,
        hue=0.5,
        channel_gain=0.1,
        channel_offset=0.03,
        gamma=0.2,
        invert=0.3,
        blur=0.5,
        downscale=2.5,
        noise=0.05,
        cutout=12,
    ),
    loss=LossConfig(label_smoothing=0.05),
    model=ModelConfig(patch=3, width=128, blocks=(2, 2), dropout=0.3, compute_dtype="bfloat16"),
    optimizer=OptimizerConfig(learning_rate=5e-3, clip_norm=1.0, ema_decay=0.9995),
)
