"""Moments of a stream equal those of the whole."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from careamics_denoisplit.prediction import RunningMoments


def draws(count: int, offset: float = 0.0) -> torch.Tensor:
    """Return samples (N, B, C, Y, X) around an offset that is large against their spread."""
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, 2, 2, 3, 4, generator=generator) + offset


def streamed(samples: torch.Tensor) -> RunningMoments:
    """Feed samples (N, B, C, Y, X) one by one."""
    moments = RunningMoments.of(samples[0])
    for sample in samples[1:]:
        moments = moments.add(sample)
    return moments


@given(count=st.integers(2, 40), offset=st.sampled_from([0.0, 50.0]))
@settings(deadline=None, max_examples=30)
def test_streamed_moments_equal_those_of_all_samples(count: int, offset: float) -> None:
    samples = draws(count, offset)

    moments = streamed(samples)

    torch.testing.assert_close(moments.mean, samples.mean(0), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(moments.std, samples.std(0), rtol=1e-4, atol=1e-5)


@given(first=st.integers(1, 20), second=st.integers(1, 20))
@settings(deadline=None, max_examples=30)
def test_merging_two_streams_equals_one_stream(first: int, second: int) -> None:
    samples = draws(first + second, 3.0)

    merged = streamed(samples[:first]).merge(streamed(samples[first:]))

    assert merged.count == first + second
    torch.testing.assert_close(merged.mean, samples.mean(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(merged.std, samples.std(0), rtol=1e-4, atol=1e-5)


def test_a_single_sample_has_no_standard_deviation() -> None:
    assert streamed(draws(1)).std is None


def test_samples_that_are_equal_have_no_spread() -> None:
    sample = draws(1)[0]

    assert torch.equal(streamed(torch.stack([sample] * 5)).std, torch.zeros_like(sample))
