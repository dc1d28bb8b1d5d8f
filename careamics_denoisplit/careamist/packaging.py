"""Export by careamics' words: its keywords become the recipe's facts."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from careamics_denoisplit.checkpoint import TrainedModel
from careamics_denoisplit.config import channel_identifier
from careamics_denoisplit.errors import ConfigurationError

logger = logging.getLogger(__name__)


def export(
    trained: TrainedModel,
    path: Path | str,
    *,
    recipe: Any,
    overrides: Mapping[str, Any],
    input_array: Any,
    covers: Sequence[Path | str] | None,
    channel_names: Sequence[str] | None,
    spread: Literal["distilled", "samples"] | None,
    n_samples: int,
    overwrite: bool,
) -> Path:
    """Write a package whose recipe is overridden by what careamics' keywords say.

    Parameters
    ----------
    trained : TrainedModel
        What is exported.
    path : pathlib.Path or str
        The package.
    recipe : Recipe or pathlib.Path or str or None
        Facts that a person wrote, or their file.
    overrides : mapping
        Fields of the recipe; those that are None are left as they are.
    input_array : array-like or None
        Raw mixture for the test tensors.
    covers : sequence of paths or None
        Not used: the cover is drawn from the test image, which is said.
    channel_names : sequence of str or None
        Must be those of the configuration.
    spread : {"distilled", "samples"} or None
        One pass with the fitted head, or posterior samples; None takes what is best.
    n_samples : int
        Posterior samples inside the package, where it takes them.
    overwrite : bool
        Whether a package that is there may be replaced.

    Returns
    -------
    pathlib.Path
        Absolute path of the package.

    Raises
    ------
    ConfigurationError
        If names of channels differ from the configuration, or a fact is wrong.
    InputError, FaultError
        As in `export_package`.
    """
    # The exporter imports the method; only here and in the demo is it called back.
    from careamics_denoisplit_export.package import export_package
    from careamics_denoisplit_export.recipe import default_recipe, load_recipe, recipe_from

    if channel_names is not None:
        given = tuple(channel_identifier(name) for name in channel_names)
        if given != trained.channel_names:
            raise ConfigurationError(
                f"`channel_names` must be those of the model, {', '.join(trained.channel_names)}, "
                f"got {', '.join(channel_names)}."
            )
    if covers:
        logger.warning("The cover is drawn from the test image: `covers` is not used.")
    if isinstance(recipe, str | Path):
        recipe = load_recipe(Path(recipe))
    elif recipe is None:
        recipe = default_recipe(trained.channel_names)
    changes = {name: value for name, value in overrides.items() if value is not None}
    if changes:
        recipe = recipe_from(recipe.model_dump() | changes, name="export_to_bmz")
    exported = export_package(
        trained,
        recipe,
        path,
        test_image=input_array,
        spread=spread,
        n_samples=n_samples,
        overwrite=overwrite,
    )
    return Path(exported.path)
