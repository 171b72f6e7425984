"""The configuration of a run: frozen dataclasses that check every value when they are made."""

import dataclasses
import math
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import typeguard

from svhn_jax.errors import InputError


@dataclass(frozen=True)
class _Checked:
    """Checks the type of every field, then the rules of `_rules`, when an object is made."""

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self))
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            try:
                typeguard.check_type(value, hints[item.name])
            except typeguard.TypeCheckError:
                wanted = _wanted(hints[item.name])
                raise InputError(f"{_section(type(self))}{item.name} is {value!r}; it must be {wanted}") from None
            if isinstance(value, float) and not math.isfinite(value):
                raise InputError(f"{_section(type(self))}{item.name} is {value}; it must be finite")
        for name, is_right, rule in self._rules():
            if not is_right:
                raise InputError(f"{_section(type(self))}{name} is {getattr(self, name)!r}; it must be {rule}")

    def _rules(self) -> Sequence[tuple[str, bool, str]]:
        return ()


@dataclass(frozen=True)
class DataConfig(_Checked):
    """Which arrays to train on."""

    dir: str = "data/synthetic"
    """prepared data set (svhn_jax.preprocess) with the splits train and validation"""
    repeat: int = 1
    """how many times an epoch shows each training image of `dir`"""
    mix_in: tuple[str, ...] = ()
    """further prepared data sets; their train splits are trained on too, see `mix_in_repeat`"""
    mix_in_repeat: tuple[int, ...] = ()
    """how many times an epoch shows each training image of each data set of `mix_in`; none given: once"""
    placement: Literal["auto", "resident", "streamed"] = "auto"
    """training images on every device, or streamed from disk; the same batches (auto: resident where they fit in half of its memory)"""

    def _rules(self) -> Sequence[tuple[str, bool, str]]:
        repeats, sets = self.mix_in_repeat, len(self.mix_in)
        return (
            ("dir", bool(self.dir), "the path of a prepared data set"),
            ("repeat", self.repeat >= 1, "at least 1"),
            (
                "mix_in_repeat",
                len(repeats) in (0, sets),
                f"one count for each of the {sets} data sets of mix_in, or none",
            ),
            ("mix_in_repeat", min(repeats, default=1) >= 1, "counts of at least 1"),
        )


@dataclass(frozen=True)
class ImageConfig(_Checked):
    """From the stored crop to the model's input, in training and evaluation alike."""

    crop: int = 54
    """side of the window cut from the stored 64 x 64 image: at random in training, in the middle in evaluation"""
    resize: int = 0
    """side the window is resized to; 0 leaves it as it is"""
    grayscale: bool = False
    """convert photos to grey"""
    normalize: Literal["mean", "mean and contrast"] = "mean and contrast"
    """mean: subtract each image's mean (Goodfellow et al. 2014); mean and contrast: also divide by its standard deviation"""

    def _rules(self) -> Sequence[tuple[str, bool, str]]:
        return (
            ("crop", self.crop >= 8, "at least 8"),
            ("resize", self.resize == 0 or self.resize >= 8, "0, or at least 8"),
        )


@dataclass(frozen=True)
class AugmentConfig(_Checked):
    """Random changes to training images, drawn for each image in each step. The strengths are upper bounds; 0 turns a change off."""

    random_crop: bool = True
    """cut the window at a random position; if false, in the middle"""
    brightness: float = 0.2
    """change of brightness, as a fraction of the full range; nearly undone by image.normalize (docs/experiments.md)"""
    contrast: float = 0.4
    """relative change of contrast; nearly undone by image.normalize "mean and contrast" (docs/experiments.md)"""
    saturation: float = 0.5
    """relative change of saturation"""
    hue: float = 0.0
    """rotation of the hue, as a fraction of the colour circle"""
    scale: float = 0.0
    """relative change of width and of height, drawn separately"""
    rotate_degrees: float = 0.0
    """rotation, in degrees, either way"""
    shear: float = 0.0
    """horizontal slant, as a fraction of the height"""
    channel_gain: float = 0.0
    """relative change of each colour channel, drawn separately: a colour cast (Eigen et al. 2014, arXiv:1406.2283)"""
    channel_offset: float = 0.0
    """change of each colour channel, drawn separately, as a fraction of the full range"""
    gamma: float = 0.0
    """tone curve: values in 0 ... 1 are raised to exp(-gamma) ... exp(gamma)"""
    blur: float = 0.0
    """standard deviation of a Gaussian blur, in pixels of the window"""
    downscale: float = 0.0
    """factor by which the resolution is lowered and raised again, 1 to 8; 0 turns it off"""
    noise: float = 0.0
    """standard deviation of Gaussian noise, as a fraction of the full range"""
    cutout: int = 0
    """side of a square patch filled with the image's mean colour, in pixels of the window (arXiv:1708.04552)"""

    def _rules(self) -> Sequence[tuple[str, bool, str]]:
        shares = ("brightness", "contrast", "saturation", "hue", "scale", "shear", "channel_gain", "channel_offset",
                  "gamma", "noise")  # fmt: skip
        return (
            *((name, 0 <= getattr(self, name) < 1, "at least 0 and less than 1") for name in shares),
            ("rotate_degrees", 0 <= self.rotate_degrees <= 45, "0 to 45"),
            ("blur", 0 <= self.blur <= 8, "0 to 8"),
            ("downscale", self.downscale == 0 or 1 <= self.downscale <= 8, "0, or 1 to 8"),
            ("cutout", 0 <= self.cutout <= 32, "0 to 32"),
        )


@dataclass(frozen=True)
class ModelConfig(_Checked):
    """The network."""

    architecture: Literal["resnet", "seed", "potterhsu"] = "resnet"
    """resnet: residual stages with attention-pooled heads; seed, potterhsu: networks of other projects, as baselines"""
    patch: int = 2
    """the stem turns each square of patch x patch pixels into one position (resnet)"""
    width: int = 48
    """channels of the first stage; later stages have 2 and 4 times as many (resnet)"""
    blocks: tuple[int, ...] = (1, 1, 1)
    """residual blocks in each stage (resnet)"""
    dropout: float = 0.0
    """fraction of features dropped in training: before the heads (resnet), the dense layer (seed), after each pooling (potterhsu)"""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """type of the features; params, statistics, heads and loss are always float32. At float32, convolutions use the platform's default precision (TF32 on recent NVIDIA GPUs, bfloat16 passes on TPUs); JAX_DEFAULT_MATMUL_PRECISION=highest gives true float32"""
    convolution: Literal["auto", "xla", "winograd"] = "auto"
    """algorithm: winograd where it is faster than XLA's own, or xla; auto: winograd on CPUs. The results differ by rounding only"""

    def _rules(self) -> Sequence[tuple[str, bool, str]]:
        return (
            ("patch", 1 <= self.patch <= 8, "1 to 8"),
            ("width", self.width >= 1, "at least 1"),
            ("blocks", bool(self.blocks) and min(self.blocks) >= 0, "one count of at least 0 for each stage"),
            ("dropout", 0 <= self.dropout < 1, "at least 0 and less than 1"),
        )


@dataclass(frozen=True)
class LossConfig(_Checked):
    """The sum of the heads' cross-entropies."""

    label_smoothing: float = 0.0
    """fraction of the target probability that is spread evenly over the classes"""
    blank_weight: float = 0.0
    """weight of a digit head's loss where the number has no such digit: 0 as Goodfellow, 1 as the seed project"""

    def _rules(self) -> Sequence[tuple[str, bool, str]]:
        return (
            ("label_smoothing", 0 <= self.label_smoothing < 1, "at least 0 and less than 1"),
            ("blank_weight", self.blank_weight >= 0, "at least 0"),
        )


@dataclass(frozen=True)
class OptimizerConfig(_Checked):
    """How gradients become updates."""

    algorithm: Literal["adamw", "sgd"] = "adamw"
    """adamw: decoupled weight decay, plain Adam if weight_decay is 0; sgd: momentum beta1, weight decay added to the gradient"""
    learning_rate: float = 2e-3
    """peak of the schedule"""
    schedule: Literal["cosine", "constant"] = "cosine"
    """after the warm-up: cosine to zero at the end of the run, or constant"""
    warmup_fraction: float = 0.05
    """fraction of the run over which the learning rate rises linearly from zero"""
    weight_decay: float = 0.05
    """of kernels only, not of biases, batch-norm scales and position tables"""
    beta1: float = 0.9
    beta2: float = 0.99
    clip_norm: float = 0.0
    """clip the gradient to this global norm; 0: no clipping"""
    ema_decay: float = 0.998
    """decay of the exponential moving average of params and batch statistics that evaluation uses; 0: no average"""
    skip_nonfinite: bool = False
    """skip and count updates whose loss or gradient is not finite; the run stops after 100 in a row. If false, it stops at the first"""

    def _rules(self) -> Sequence[tuple[str, bool, str]]:
        return (
            ("learning_rate", self.learning_rate > 0, "greater than 0"),
            *((name, 0 <= getattr(self, name) < 1, "at least 0 and less than 1")
              for name in ("warmup_fraction", "beta1", "beta2", "ema_decay")),
            *((name, getattr(self, name) >= 0, "at least 0") for name in ("weight_decay", "clip_norm")),
        )  # fmt: skip


@dataclass(frozen=True)
class Config(_Checked):
    """One run."""

    name: str = "demo"
    """the run's folder is RUNS/NAME"""
    runs_dir: str = "checkpoints"
    """RUNS: a path, or gs://BUCKET/PATH"""
    seed: int = 0
    """seed of the initial params, the data order, the augmentation and dropout"""
    num_epochs: float = 10.0
    """passes over the training images"""
    num_steps: int = 0
    """length of the run in steps; 0: num_epochs sets it"""
    batch_size: int = 64
    """images per step, over all devices"""
    eval_batch_size: int = 256
    """images per evaluation step; the result does not depend on it"""
    deterministic: bool = False
    """in training on GPUs, use only operations whose results are the same in every run (slower); CPUs need no such setting. For
    svhn_jax.evaluate set XLA_FLAGS=--xla_gpu_deterministic_ops=true"""
    profile: bool = False
    """record a trace of a few steps in RUNS/NAME/profile, for TensorBoard or Perfetto"""
    log_every_steps: int = 100
    """steps between log lines, rows of metrics.jsonl and TensorBoard scalars"""
    eval_every_steps: int = 500
    """steps between validations; each also saves a checkpoint and TensorBoard images and histograms"""
    keep_newest: int = 500
    """number of newest checkpoints to keep; the best on validation is always kept"""
    keep_every_steps: int = 0
    """also keep every checkpoint at a multiple of this many steps; 0: none"""
    data: DataConfig = field(default_factory=DataConfig)
    image: ImageConfig = field(default_factory=ImageConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def total_steps(self, epoch_images: int) -> int:
        """Length of the run in steps, where an epoch has so many images."""
        return self.num_steps or max(1, round(self.num_epochs * epoch_images / self.batch_size))

    def _rules(self) -> Sequence[tuple[str, bool, str]]:
        at_least_1 = ("batch_size", "eval_batch_size", "log_every_steps", "eval_every_steps",
                      "keep_newest")  # fmt: skip
        is_plain_name = self.name.isprintable() and "/" not in self.name and self.name not in ("", ".", "..")
        return (
            ("name", is_plain_name, "a folder's name of printable characters, without a slash"),
            ("runs_dir", bool(self.runs_dir), "a path"),
            ("runs_dir", not self.runs_dir.startswith("s3://"), "a path or gs://...: Orbax cannot write to s3://"),
            ("seed", 0 <= self.seed < 2**31, "0 to 2147483647"),
            ("num_epochs", self.num_epochs > 0, "greater than 0"),
            ("num_steps", self.num_steps >= 0, "at least 0"),
            *((name, getattr(self, name) >= 1, "at least 1") for name in at_least_1),
            ("profile", not (self.profile and "://" in self.runs_dir), "False where runs_dir is not on this machine"),
            ("keep_every_steps", self.keep_every_steps >= 0, "at least 0"),
        )


def _wanted(hint: Any) -> str:
    """A field's type in words: the choices of a Literal, or the name of a type."""
    if typing.get_origin(hint) is not Literal:
        return f"of type {hint.__name__ if type(hint) is type else hint}"
    *others, last = map(repr, typing.get_args(hint))
    return f"{', '.join(others)} or {last}"


def _section(kind: type) -> str:
    for item, hint in typing.get_type_hints(Config).items():
        if hint is kind:
            return f"{item}."
    return ""
