"""Small images of two channels, and settings that train on them in a second."""

from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from careamics_denoisplit.config import DenoiSplitConfiguration, create_advanced_denoisplit_config

CHANNELS = ("er", "actin")


def clean_channels(count: int = 3) -> np.ndarray:
    """Return images (S, C, Y, X) of spots of two sizes in gray values."""
    random = np.random.default_rng(1)
    fields = [
        [gaussian_filter((random.random((96, 96)) > 0.98).astype(np.float32), s) for s in (1.5, 3)]
        for _ in range(count)
    ]
    stack = np.array(fields, dtype=np.float32)
    return 100 + 400 * stack / stack.max(axis=(-2, -1), keepdims=True)


CLEAN = clean_channels()
NOISY = (CLEAN + np.random.default_rng(2).normal(0, 15, CLEAN.shape)).astype(np.float32)
MIXTURE = NOISY[2].mean(axis=0)


def small_config(**changes: Any) -> DenoiSplitConfiguration:
    """Return settings that train in a second."""
    settings: dict[str, Any] = {
        "axes": "SCYX",
        "patch_size": 32,
        "batch_size": 4,
        "num_epochs": 2,
        "num_steps": 2,
        "model_params": {"filters": 8, "latent_channels": (4, 4), "stem_stride": 1},
    } | changes
    return create_advanced_denoisplit_config("small", CHANNELS, **settings)
