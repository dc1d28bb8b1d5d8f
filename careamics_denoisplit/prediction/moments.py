"""Mean and standard deviation of posterior samples, one sample at a time."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RunningMoments:
    """Mean and summed squared deviation of the samples seen so far, per pixel.

    Neither needs the samples again, so memory does not grow with their number (Welford's
    recurrence; two sets are merged by the formula of Chan, Golub and LeVeque).

    Attributes
    ----------
    count : int
        Number of samples seen.
    mean : torch.Tensor of shape (B, C, Y, X)
        Their mean: the MMSE estimate once all samples are in.
    squares : torch.Tensor of shape (B, C, Y, X)
        Sum of their squared deviations from `mean`.
    """

    count: int
    mean: Tensor
    squares: Tensor

    @classmethod
    def of(cls, sample: Tensor) -> "RunningMoments":
        """Start from one sample of shape (B, C, Y, X)."""
        return cls(1, sample, torch.zeros_like(sample))

    def add(self, sample: Tensor) -> "RunningMoments":
        """Return the moments with one more sample of shape (B, C, Y, X)."""
        count = self.count + 1
        deviation = sample - self.mean
        mean = self.mean + deviation / count
        return RunningMoments(count, mean, self.squares + deviation * (sample - mean))

    def merge(self, other: "RunningMoments") -> "RunningMoments":
        """Return the moments of the samples of both."""
        count = self.count + other.count
        deviation = other.mean - self.mean
        mean = self.mean + deviation * (other.count / count)
        between = deviation.square() * (self.count * other.count / count)
        return RunningMoments(count, mean, self.squares + other.squares + between)

    @property
    def std(self) -> Tensor | None:
        """Unbiased standard deviation, shape (B, C, Y, X); None for a single sample."""
        if self.count < 2:
            return None
        return (self.squares / (self.count - 1)).sqrt()
