"""Random numbers that are derived from where training stands, never stored."""

import numpy as np

WEIGHTS, TRAINING, VALIDATION = range(3)
"""Streams: the initial weights, the training steps, the validation steps."""


def derive_seed(seed: int, *position: int) -> int:
    """Hash a seed and the position of a step to one 64-bit number.

    Parameters
    ----------
    seed : int
        Seed of the run.
    *position : int
        Stream, epoch, batch, rank: every position gets a stream of its own.
    """
    sequence = np.random.SeedSequence((abs(seed), int(seed < 0), *position))
    return int(sequence.generate_state(1, np.uint64)[0])
