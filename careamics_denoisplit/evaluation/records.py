"""The last scores of a run, kept beside its logs for the report."""

from pathlib import Path
from typing import Any

from careamics_denoisplit.files import read_json, write_json

SCORES = Path("logs") / "evaluation.json"
"""File within a run."""


def save_scores(run: Path, scores: dict[str, Any]) -> Path:
    """Write the scores into a run; earlier ones are replaced.

    Parameters
    ----------
    run : pathlib.Path
        Run folder.
    scores : dict
        Result of `evaluate`.

    Returns
    -------
    pathlib.Path
        Absolute path of the file.
    """
    path = Path(run).absolute() / SCORES
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, scores)
    return path


def load_scores(run: Path) -> dict[str, Any] | None:
    """Read the last scores of a run; None where it was not evaluated."""
    path = Path(run) / SCORES
    if not path.is_file():
        return None
    scores = read_json(path)
    return scores if isinstance(scores, dict) else None
