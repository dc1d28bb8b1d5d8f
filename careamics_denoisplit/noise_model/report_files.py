"""The files of a noise model: the model, its report, and the picture of the report."""

import json
from pathlib import Path

from careamics_denoisplit.files import safe_name, write_json, write_whole
from careamics_denoisplit.noise_model.model import GaussianMixtureNoiseModel
from careamics_denoisplit.noise_model.report import NoiseModelReport


def write_report(
    folder: Path | str, model: GaussianMixtureNoiseModel, report: NoiseModelReport
) -> tuple[Path, ...]:
    """Write `noise_model_<channel>` as `.npz`, `.json` and `.png` into a folder.

    Parameters
    ----------
    folder : pathlib.Path or str
        Where to; made if it is not there.
    model : GaussianMixtureNoiseModel
        The model.
    report : NoiseModelReport
        Its report; the channel's name becomes part of the file names.

    Returns
    -------
    tuple of pathlib.Path
        Absolute paths of the three files.

    Raises
    ------
    StorageError
        If a file cannot be written.
    """
    from careamics_denoisplit.noise_model.picture import draw_report  # matplotlib is slow

    folder = Path(folder).absolute()
    stem = f"noise_model_{safe_name(report.channel)}"
    paths = tuple(folder / f"{stem}.{suffix}" for suffix in ("npz", "json", "png"))
    picture = draw_report(report)
    model.save(paths[0])
    write_json(paths[1], json.loads(report.model_dump_json()))
    write_whole(paths[2], picture)
    return paths
