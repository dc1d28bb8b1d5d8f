"""`denoisplit demo`: the whole way on a generated sample."""

from pathlib import Path
from typing import Any

from careamics_denoisplit.cli.job import job, readable
from careamics_denoisplit.cli.options import DEFAULTS, CommonOptions
from careamics_denoisplit.errors import CheckFailedError
from careamics_denoisplit.files import require_absent, require_writable, write_json


def demo(*, out: Path = Path("demo"), common: CommonOptions = DEFAULTS) -> None:
    """Go the whole way on a generated sample: a first look that needs neither data nor GPU.

    Noise models, training, calibration, scores, prediction, package and its check, in a few
    minutes; nothing is downloaded.

    Parameters
    ----------
    out
        Folder for everything.
    """
    with job("demo", common) as work:
        if not common.overwrite and out.is_dir() and not any(out.iterdir()):
            out.rmdir()
        require_absent(out, common.overwrite)
        require_writable(out)

        from careamics_denoisplit.cli.scores import table
        from careamics_denoisplit.demo import run_demo

        def say(text: str) -> None:
            work.say(f"[{readable(work.seconds):>6}] {text}")

        done = run_demo(out, seed=work.seed, device=common.device, say=say, quiet=common.quiet)
        work.values = done.values
        write_json(out / "demo.json", work.result())
        for line in _summary(done.values, table(done.values["channels"])):
            work.say(line)
        work.wrote(*done.outputs, out / "demo.json")
    if not done.values["check"]["passed"]:
        raise CheckFailedError(
            f"The package of the demo failed its check; see `check` in {out / 'demo.json'}."
        )


def _summary(values: dict[str, Any], table: list[str]) -> list[str]:
    """Write what came out as lines for a person."""
    rules = [rule["status"] for rule in values["check"]["rules"]]
    training = values["training"]
    cut_short = [
        f"note: the time for training was over after {training['epochs']} of "
        f"{training['max_epochs']} epochs; on a faster or idle machine the split is better."
    ]
    return [
        "",
        "Held-out fields (PSNR in dB; mixture and blurred are predictors that do not split):",
        *table,
        *(cut_short if training["out_of_time"] else ()),
        "",
        f"Package: {rules.count('passed')} rules passed, {rules.count('failed')} failed, "
        f"{rules.count('skipped')} skipped",
    ]
