"""What each published model is trained on, and for how long."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from careamics_denoisplit_export.models.images import Fields, noisy_nf1, rows_of_hagen


@dataclass(frozen=True)
class ModelPlan:
    """How one model is made; everything else is the preset's.

    Attributes
    ----------
    name : str
        Name of its recipe and its files.
    channel_names : tuple of str
        Structures, in order.
    prepare : callable
        Makes the images, from the folder of shared images into another, and says where they are.
    epochs : int
        Epochs of training with the preset `laptop`.
    algorithm : mapping
        Settings of the algorithm that differ from the preset, such as `pairing`: the share of the
        crops whose channels come from different places.
    distillation : mapping
        Settings of the fit of the one-pass spread that differ from the preset.
    align : bool
        Whether clean and noisy images differ in gain and offset.
    source : str
        Where the images come from, for the captions of pictures.
    """

    name: str
    channel_names: tuple[str, ...]
    prepare: Callable[[Path, Path], Fields]
    epochs: int
    source: str
    algorithm: Mapping[str, Any] = field(default_factory=dict)
    distillation: Mapping[str, Any] = field(default_factory=dict)
    align: bool = False


PLANS: Mapping[str, ModelPlan] = MappingProxyType(
    {
        plan.name: plan
        for plan in (
            ModelPlan(
                "er_nuclei",
                ("er", "nuclei"),
                noisy_nf1,
                epochs=18,
                source="WayScience NF1 Cell Painting, figshare 10.6084/m9.figshare.22233700, "
                "CC BY 4.0; noise added",
            ),
            ModelPlan(
                "actin_mito",
                ("actin", "mito"),
                rows_of_hagen,
                epochs=36,
                algorithm={"pairing": 0.5, "dimming": 0.5},
                align=True,
                source="Hagen et al., GigaScience 10(5), giab032, GigaDB 100888, CC0; 8-bit copy",
            ),
        )
    }
)
"""The demonstration models, by name: at most 40 minutes each on two cores."""
