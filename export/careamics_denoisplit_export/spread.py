"""Where the uncertainty in a package comes from: one pass with a fitted head, or samples."""

from dataclasses import dataclass
from typing import Literal

from careamics_denoisplit.calibration import estimator_name
from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.errors import ConfigurationError

SpreadKind = Literal["distilled", "samples"]

_LARGEST_SEED = 2**31 - 1  # Java readers take no larger integers


@dataclass(frozen=True)
class PackagedSpread:
    """What a package takes as mean and spread of each tile.

    Attributes
    ----------
    kind : {"distilled", "samples"}
        One pass with posterior means and a fitted head, or posterior samples in the graph.
    n_samples, seed : int
        Posterior samples and their seed; both 0 for one pass.
    reason : str
        Sentence that says why there are samples although nobody asked for them; else empty.
    """

    kind: SpreadKind
    n_samples: int = 0
    seed: int = 0
    reason: str = ""

    @property
    def estimator(self) -> str:
        """Name of the estimator, under which its calibration is kept."""
        return estimator_name(self.kind, self.n_samples)

    @property
    def words(self) -> str:
        """Name what the standard deviation is, before it is calibrated."""
        if self.kind == "samples":
            return f"the spread over {self.n_samples} posterior samples"
        return "the spread of posterior samples as one pass with a fitted head gives it"

    @property
    def option(self) -> str:
        """Option of `denoisplit calibrate` that calibrates it."""
        return f"--samples {self.n_samples}" if self.kind == "samples" else "--spread distilled"


def choose_spread(
    trained: TrainedModel, asked: SpreadKind | None, n_samples: int, seed: int
) -> PackagedSpread:
    """Take one pass where the model holds a head that fails no test samples pass, else samples.

    Parameters
    ----------
    trained : TrainedModel
        The model to package.
    asked : {"distilled", "samples"} or None
        What was asked for; None takes what is best. A head that failed a test which samples
        pass is not packaged even where it was asked for.
    n_samples, seed : int
        Posterior samples and their seed, where samples are taken.

    Raises
    ------
    ConfigurationError
        If one pass is asked for and the model holds no head, or a number does not make sense.
    """
    if asked not in (None, "distilled", "samples"):
        raise ConfigurationError(f'`spread` must be "distilled" or "samples", got {asked!r}.')
    if asked == "distilled" and trained.spread_head is None:
        raise ConfigurationError(
            "This model holds no one-pass spread. Run `denoisplit distil RUN` first, or take "
            "`--spread samples`."
        )
    reason = "" if asked == "samples" else _why_not_distilled(trained, n_samples)
    if asked != "samples" and not reason:
        return PackagedSpread("distilled")
    if n_samples < 2:
        raise ConfigurationError(
            f"A package needs 2 posterior samples or more, got {n_samples}: one has no spread."
        )
    if not 0 <= seed <= _LARGEST_SEED:
        raise ConfigurationError(f"The seed must lie in 0 ... {_LARGEST_SEED}, got {seed}.")
    return PackagedSpread("samples", n_samples, seed, reason)


def _why_not_distilled(trained: TrainedModel, n_samples: int) -> str:
    """Say why a package takes samples; empty where it takes one pass."""
    instead = f"so every tile takes {n_samples} posterior samples."
    if trained.spread_head is None or trained.distillation is None:
        return f"The model holds no one-pass spread (`denoisplit distil RUN` fits one), {instead}"
    if not trained.distillation.serves:
        return f"{trained.distillation.words().rstrip('.')}, {instead}"
    return ""
