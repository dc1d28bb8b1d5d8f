"""`denoisplit info` and `denoisplit cite`."""

import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from careamics_denoisplit.cli.job import job, package_version
from careamics_denoisplit.cli.options import DEFAULTS, CommonOptions

PACKAGES = (
    "careamics",
    "torch",
    "lightning",
    "numpy",
    "zarr",
    "bioimageio.core",
    "bioimageio.spec",
)

BIBTEX = """\
@inproceedings{ashesh2024denoisplit,
  title     = {{denoiSplit}: a method for joint microscopy image splitting
               and unsupervised denoising},
  author    = {Ashesh, Ashesh and Jug, Florian},
  booktitle = {Computer Vision -- ECCV 2024},
  year      = {2024}
}"""


def info(*, common: CommonOptions = DEFAULTS) -> None:
    """Show versions, devices, memory and free disk space."""
    with job("info", common) as work:
        work.values = {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "packages": {name: _version(name) for name in PACKAGES},
            **_machine(),
        }
        work.say(f"careamics-denoisplit {package_version()}, Python {platform.python_version()}")
        work.say(f"installed in {Path(sys.prefix)}")
        for name, number in work.values["packages"].items():
            work.say(f"  {name} {number}")
        work.say(f"cores {work.values['cores']}, free memory {_size(work.values['free_bytes'])}")
        work.say(f"free disk space here {_size(work.values['free_disk_bytes'])}")
        work.say(f"devices: {', '.join(work.values['devices'])}")


def cite(*, common: CommonOptions = DEFAULTS) -> None:
    """Show the reference of the method as BibTeX."""
    with job("cite", common) as work:
        work.values = {"bibtex": BIBTEX}
        work.say(BIBTEX)


def _machine() -> dict[str, object]:
    """Cores, memory, disk and devices."""
    import psutil
    import torch

    devices = ["cpu"]
    devices += [
        f"cuda:{index} ({torch.cuda.get_device_name(index)})"
        for index in range(torch.cuda.device_count())
    ]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return {
        "cores": psutil.cpu_count(logical=False) or psutil.cpu_count() or 1,
        "free_bytes": psutil.virtual_memory().available,
        "free_disk_bytes": shutil.disk_usage(Path.cwd()).free,
        "devices": devices,
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _size(n_bytes: object) -> str:
    return f"{int(str(n_bytes)) / 2**30:.1f} GiB"
