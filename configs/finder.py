"""The finder of numbers in whole photos, on scenes that svhn_jax.train_finder composes.

    python -m svhn_jax.train_finder --config configs/finder.py --raw RAW --boxed BOXED --empty EMPTY

Not run as a whole yet: the shipped weights are a chain of shorter runs (their model card).
"""

from svhn_jax.config import Config, DataConfig, ImageConfig, ModelConfig, OptimizerConfig

config = Config(
    name="finder",
    num_steps=6000,
    batch_size=48,
    eval_batch_size=64,
    eval_every_steps=500,
    keep_newest=2,
    data=DataConfig(dir="data/scenes", placement="streamed"),
    image=ImageConfig(crop=96),
    model=ModelConfig(architecture="finder", width=128, blocks=(3,)),
    optimizer=OptimizerConfig(
        learning_rate=1.5e-3,
        weight_decay=0.02,
        clip_norm=10.0,  # the first steps of a box loss have large gradients
    ),
)
