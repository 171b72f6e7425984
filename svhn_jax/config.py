"""The configuration of a run: frozen dataclasses that check every value when they are made."""

import re
import typing
from dataclasses import dataclass, field
from typing import Annotated, Literal

from svhn_jax.checked import Checked, Fraction, Positive, Rule, at_least, within
from svhn_jax.labels import DEFAULT_MAX_DIGITS, MaxDigits

Count = Annotated[int, at_least(1)]
CountOrNone = Annotated[int, at_least(0)]
NAME = re.compile(r"(?!\.+$)[^/\x00-\x1f\x7f]+")
NotNegative = Annotated[float, at_least(0)]
Blocks = Annotated[tuple[int, ...], Rule(lambda x: min(x, default=-1) >= 0, "counts of blocks")]


class _Part(Checked):
    """The configuration or a section of it, such as `optimizer`."""

    @classmethod
    def called(cls, name: str) -> str:
        """SECTION.NAME, or NAME for a field of Config itself."""
        sections = typing.get_type_hints(Config).items()
        return ".".join([*(section for section, hint in sections if hint is cls), name])


@dataclass(frozen=True)
class DataConfig(_Part):
    """Which arrays to train on."""

    dir: Annotated[str, Rule(bool, "the path of a prepared data set")] = "data/synthetic"
    """prepared data set (svhn_jax.preprocess) with the splits train and validation"""
    repeat: Count = 1
    """how many times an epoch shows each training image of `dir`"""
    mix_in: tuple[str, ...] = ()
    """further prepared data sets; their train splits are trained on too, see `mix_in_repeat`"""
    mix_in_repeat: tuple[int, ...] = ()
    """how many times an epoch shows each image of each data set of `mix_in`; none given: once"""
    placement: Literal["auto", "resident", "streamed"] = "auto"
    """training images on every device, or streamed from disk, in the same batches; auto: resident
    if they fit in half of a GPU's or TPU's memory; on CPUs streamed"""

    def __post_init__(self) -> None:
        super().__post_init__()
        counts, sets = self.mix_in_repeat, len(self.mix_in)
        if len(counts) not in (0, sets) or min(counts, default=1) < 1:
            raise self.mistake("mix_in_repeat", f"{sets} counts of at least 1, or none")


@dataclass(frozen=True)
class ImageConfig(_Part):
    """From the stored crop to the model's input, in training and in evaluation."""

    crop: Annotated[int, at_least(8)] = 54
    """side of the window cut from the stored 64 x 64 image: at a random position in training, in
    the middle in evaluation"""
    resize: Annotated[int, Rule(lambda side: side == 0 or side >= 8, "0, or at least 8")] = 0
    """side the window is resized to; 0 leaves it as it is"""
    grayscale: bool = False
    """convert photos to grey"""
    normalize: Literal["mean", "mean and contrast"] = "mean and contrast"
    """mean: subtract each image's mean (Goodfellow et al. 2014); mean and contrast: also divide by
    its standard deviation"""


@dataclass(frozen=True)
class AugmentConfig(_Part):
    """Random changes to training images, drawn for each image in each step.

    The strengths are upper bounds; 0 turns a change off.
    """

    random_crop: bool = True
    """cut the window at a random position; if false, in the middle"""
    brightness: Fraction = 0.2
    """change of brightness, as a fraction of the full range; image.normalize nearly undoes it"""
    contrast: Fraction = 0.4
    """relative change of contrast; image.normalize "mean and contrast" nearly undoes it"""
    saturation: Fraction = 0.5
    """relative change of saturation"""
    hue: Fraction = 0.0
    """rotation of the hue, as a fraction of the colour circle"""
    scale: Fraction = 0.0
    """relative change of width and of height, drawn separately"""
    rotate_degrees: Annotated[float, within(0, 45)] = 0.0
    """rotation, in degrees, either way"""
    shear: Fraction = 0.0
    """horizontal slant, as a fraction of the height"""
    channel_gain: Fraction = 0.0
    """relative change of each colour channel, drawn separately (Eigen et al., arXiv:1406.2283)"""
    channel_offset: Fraction = 0.0
    """change of each colour channel, drawn separately, as a fraction of the full range"""
    gamma: Fraction = 0.0
    """tone curve: values in 0 ... 1 are raised to exp(-gamma) ... exp(gamma)"""
    invert: Fraction = 0.0
    """probability, below 1, of the negative: dark digits on bright become bright on dark"""
    blur: Annotated[float, within(0, 8)] = 0.0
    """standard deviation of a Gaussian blur, in pixels of the window"""
    downscale: Annotated[float, Rule(lambda x: x == 0 or 1 <= x <= 8, "0, or 1 to 8")] = 0.0
    """factor by which the resolution is lowered and raised again, 1 to 8; 0 turns it off"""
    noise: Fraction = 0.0
    """standard deviation of Gaussian noise, as a fraction of the full range"""
    cutout: Annotated[int, within(0, 32)] = 0
    """side of a patch of the mean colour, pixels of the window (arXiv:1708.04552)"""


@dataclass(frozen=True)
class ModelConfig(_Part):
    """The network."""

    architecture: Literal["resnet", "seed", "potterhsu", "finder"] = "resnet"
    """resnet: residual stages with attention-pooled heads; seed, potterhsu: baselines, the
    networks of other projects"""
    patch: Annotated[int, within(1, 8)] = 2
    """the stem turns each square of patch x patch pixels into one position (resnet)"""
    width: Count = 48
    """channels of the first stage; later stages have 2 and 4 times as many (resnet)"""
    blocks: Blocks = (1, 1, 1)
    """residual blocks in each stage (resnet)"""
    max_digits: MaxDigits = DEFAULT_MAX_DIGITS
    """the most digits of a number that can be read, and the number of digit heads; the data must be
    prepared with the same --max-digits"""
    dropout: Fraction = 0.0
    """fraction of features dropped in training: before the heads (resnet), before the dense layer
    (seed), after each pooling (potterhsu)"""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """type of the features; params, statistics, heads and loss are always float32. At float32,
    convolutions use the platform's default precision (TF32 on NVIDIA GPUs, bfloat16 passes on
    TPUs); JAX_DEFAULT_MATMUL_PRECISION=highest gives true float32"""
    convolution: Literal["auto", "xla", "winograd"] = "auto"
    """algorithm: winograd where it is faster than XLA's own, or xla; auto: winograd on CPUs. The
    results differ by rounding only"""


@dataclass(frozen=True)
class LossConfig(_Part):
    """The sum of the heads' cross-entropies."""

    label_smoothing: Fraction = 0.0
    """fraction of the target probability that is spread evenly over the classes"""
    blank_weight: NotNegative = 0.0
    """weight of a digit head's loss where the number has no such digit: 0 as in Goodfellow et al.
    2014, 1 as in the seed project"""


@dataclass(frozen=True)
class OptimizerConfig(_Part):
    """How gradients become updates."""

    algorithm: Literal["adamw", "sgd", "muon"] = "adamw"
    """adamw: decoupled weight decay (plain Adam if weight_decay is 0); sgd: momentum beta1, weight
    decay added to the gradient; muon: orthogonal updates of convolutions, Adam for the rest"""
    learning_rate: Positive = 2e-3
    """peak of the schedule"""
    schedule: Literal["cosine", "constant"] = "cosine"
    """after the warm-up: cosine to zero at the end of the run, or constant"""
    warmup_fraction: Fraction = 0.05
    """fraction of the run over which the learning rate rises linearly from zero"""
    weight_decay: NotNegative = 0.05
    """of kernels only, not of biases, batch-norm scales and position tables"""
    beta1: Fraction = 0.9
    beta2: Fraction = 0.99
    clip_norm: NotNegative = 0.0
    """clip the gradient to this global norm; 0: no clipping"""
    ema_decay: Fraction = 0.998
    """decay of the exponential moving average of params and batch statistics, which evaluation
    uses; 0: no average"""


@dataclass(frozen=True)
class Config(_Part):
    """One run."""

    name: Annotated[str, Rule(NAME.fullmatch, "a folder's name, without a slash")] = "demo"
    """the run's folder is RUNS/NAME"""
    runs_dir: Annotated[
        str,
        Rule(re.compile("(?!s3://).+").match, "a path or gs://...: Orbax cannot write to s3://"),
    ] = "checkpoints"
    """RUNS: a path, or gs://BUCKET/PATH"""
    seed: Annotated[int, within(0, 2**31 - 1)] = 0
    """seed of the initial params, the data order, the augmentation and dropout"""
    num_epochs: Positive = 10.0
    """passes over the training images"""
    num_steps: CountOrNone = 0
    """length of the run in steps; 0: num_epochs sets it"""
    batch_size: Count = 64
    """images per step, over all devices"""
    eval_batch_size: Count = 256
    """images per evaluation step; the result does not depend on it"""
    log_every_steps: Count = 100
    """steps between log lines, rows of metrics.jsonl and TensorBoard scalars"""
    eval_every_steps: Count = 500
    """steps between validations; each also saves a checkpoint"""
    keep_newest: Count = 500
    """number of newest checkpoints to keep; the best on validation is always kept"""
    data: DataConfig = field(default_factory=DataConfig)
    image: ImageConfig = field(default_factory=ImageConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def total_steps(self, epoch_images: int) -> int:
        """Length of the run in steps, for an epoch of `epoch_images` images."""
        return self.num_steps or max(1, round(self.num_epochs * epoch_images / self.batch_size))
