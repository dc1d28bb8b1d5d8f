"""Settings of the one-pass spread: the head, its fit, and what it is judged by."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from careamics_denoisplit.config.fields import Count, refuse_truth

Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
"""Finite number above zero."""


class DistillationConfig(BaseModel):
    """How the spread head is fitted after training, with the network as it is.

    Raises
    ------
    pydantic.ValidationError
        If a value has the wrong type or range, or a key is unknown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    width: Count = 64
    """Feature channels of the head."""
    steps: Count = 1200
    """Steps of the fit at most."""
    patch_size: Count = 192
    """Side of the crops in pixels; smaller images are used whole."""
    batch_size: Count = 2
    """Crops of one step."""
    pairing: Annotated[float, Field(strict=True, ge=0, le=1)] = 0.5
    """Share of the crops whose channels come from different places; mixtures have none."""
    samples_per_step: Annotated[Literal[1, 2], BeforeValidator(refuse_truth)] = 2
    """Posterior samples of each crop and step; two are drawn with noise of opposite sign."""
    learning_rate: Positive = 6e-3
    """Largest step of Adam; it rises over the first 50 steps and falls along half a cosine."""
    gradient_clip_val: Positive = 0.3
    """Largest norm of the gradient; where the spread is small, single samples make it large."""
    steps_per_validation: Count = 100
    """Steps between two validations, the best of which is kept."""
    patience: Count = 6
    """Validations without a better one after which the fit ends."""
    reference_samples: Annotated[int, Field(strict=True, ge=32)] = 200
    """Posterior samples that the one-pass spread is compared with."""
    reference_pixels: Count = 2**18
    """Pixels of validation images that are compared, in all."""
