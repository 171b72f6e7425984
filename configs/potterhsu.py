"""potterhsu/SVHNClassifier-PyTorch (2019) as a baseline: its network, batch, optimizer and loss.

    python -m svhn_jax.train --config configs/potterhsu.py

SGD with momentum 0.9 and weight decay 5e-4, batch 512, a random 54-pixel crop, blanks trained as an
eleventh digit, no running average. It reported 95.65 % of whole numbers on test after 54,000 steps.
Differences: its learning rate is multiplied by 0.9 every 625 steps, here it follows a cosine; its
crop is square (the longer side plus 30 %), ours has the box's aspect; we divide by each image's
contrast. NOT YET RUN on the full set. 793 million multiply-accumulates an image.
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
    name="potterhsu",
    num_epochs=120,
    batch_size=512,
    eval_every_steps=1000,
    keep_newest=20,
    data=DataConfig(dir="data/full"),
    augment=AugmentConfig(brightness=0.0, contrast=0.0, saturation=0.0),
    model=ModelConfig(architecture="potterhsu", dropout=0.2),
    loss=LossConfig(blank_weight=1.0),
    optimizer=OptimizerConfig(
        algorithm="sgd",
        learning_rate=0.16,
        weight_decay=5e-4,
        beta1=0.9,
        warmup_fraction=0.01,
        ema_decay=0.0,
    ),
)
