"""`denoisplit noise-model`: fit noise models, and show what is in a file."""

from pathlib import Path
from typing import TYPE_CHECKING

from careamics_denoisplit.cli.job import Job, job
from careamics_denoisplit.cli.options import (
    DEFAULTS,
    CommonOptions,
    Flag,
    NamedPaths,
    named_paths,
    require_all,
)
from careamics_denoisplit.errors import CheckFailedError, ConfigurationError
from careamics_denoisplit.files import require_absent, require_writable, safe_name

if TYPE_CHECKING:
    import xarray as xr

    from careamics_denoisplit.noise_model import FittedNoiseModel, GaussianMixtureNoiseModel

CURVE_POINTS = 7

Pairs = dict[str, tuple[list[Path], list[Path]]]


def fit(
    *,
    out: Path,
    signal: NamedPaths = None,
    observation: NamedPaths = None,
    repeats: NamedPaths = None,
    bootstrap: Flag = False,
    align: Flag = False,
    gaussians: int | None = None,
    coefficients: int = 2,
    axes: str | None = None,
    camera: str | None = None,
    gain: float | None = None,
    exposure: float | None = None,
    date: str | None = None,
    common: CommonOptions = DEFAULTS,
) -> None:
    """Fit one noise model per channel and judge it: pass, warn or fail.

    Give either pairs (--signal and --observation), repeated acquisitions of one field
    (--repeats), or noisy images alone (--observation with --bootstrap). The exit code is 1
    where a model fails; its files are written all the same.

    Parameters
    ----------
    out
        Folder for noise_model_CHANNEL.npz, .json and .png.
    signal
        Nearly noise-free images of each channel: er=PATH... actin=PATH...
    observation
        Noisy images of the same fields, in the same order.
    repeats
        Acquisitions of one static field.
    bootstrap
        Denoise the observations first and take the result for the signal.
    align
        Fit gain and offset between signal and observation first.
    gaussians
        Gaussians of the mixture; by default as many as the data ask for.
    coefficients
        Polynomial coefficients of each parameter.
    axes
        Axes of the images where the files do not say: YX, SYX, ...
    camera
        Name of the camera, kept with the model.
    gain
        Gain of the camera, kept with the model.
    exposure
        Exposure time in seconds, kept with the model.
    date
        When the images were taken, kept with the model.
    """
    with job("noise-model fit", common) as work:
        route = _Route(signal, observation, repeats, bootstrap=bootstrap, align=align, axes=axes)
        files = [
            out / f"noise_model_{safe_name(channel)}{suffix}"
            for channel in route.channels
            for suffix in (".npz", ".json", ".png")
        ]
        for path in files:
            require_absent(path, common.overwrite)
        require_writable(out)

        from careamics_denoisplit.noise_model import Acquisition

        acquisition = Acquisition(camera=camera, gain=gain, exposure=exposure, date=date)
        reports = []
        for channel in route.channels:
            fitted = route.fit(
                channel,
                n_gaussians=gaussians,
                n_coefficients=coefficients,
                seed=work.seed,
                acquisition=acquisition,
            )
            work.wrote(*fitted.save(out))
            work.say(fitted.report.words())
            reports.append(fitted.report)
        work.values = {"channels": [report.model_dump(mode="json") for report in reports]}
    failed = [report for report in reports if report.verdict == "fail"]
    if failed:
        raise CheckFailedError(
            f"{' '.join(report.words() for report in failed)} Training refuses such a model "
            "without --force."
        )


def show(file: Path, /, *, common: CommonOptions = DEFAULTS) -> None:
    """Show what a noise-model file holds; files of careamics are read too.

    Parameters
    ----------
    file
        A file noise_model_CHANNEL.npz.
    """
    from careamics_denoisplit.noise_model import load_noise_model

    with job("noise-model show", common) as work:
        model = load_noise_model(file)
        work.values = {"file": str(file.absolute()), **_describe(model)}
        _say_model(work)


class _Route:
    """Which images belong together, and how a model is fitted to them."""

    def __init__(
        self,
        signal: list[str] | None,
        observation: list[str] | None,
        repeats: list[str] | None,
        *,
        bootstrap: bool,
        align: bool,
        axes: str | None,
    ) -> None:
        chosen = [bool(repeats), bool(signal), bootstrap]
        if sum(chosen) != 1 or (bool(repeats) == bool(observation)):
            raise ConfigurationError(
                "Give --signal with --observation, or --repeats alone, or --observation with "
                "--bootstrap; got "
                + (
                    ", ".join(
                        name
                        for name, given in {
                            "--signal": signal,
                            "--observation": observation,
                            "--repeats": repeats,
                            "--bootstrap": bootstrap,
                        }.items()
                        if given
                    )
                    or "none of them"
                )
                + "."
            )
        if align and not signal:
            raise ConfigurationError("--align needs --signal: there is nothing else to align.")
        self._align, self._axes = align, axes
        self._repeats = named_paths(repeats, "--repeats")
        self._observation = named_paths(observation, "--observation")
        self._signal = named_paths(signal, "--signal", list(self._observation) or None)
        if signal:
            require_all(self._signal, list(self._observation), "--signal")
        self.channels = list(self._repeats or self._observation)

    def fit(self, channel: str, **settings: object) -> "FittedNoiseModel":
        """Fit the model of one channel."""
        from careamics_denoisplit.noise_model import (
            fit_from_bootstrap,
            fit_from_pairs,
            fit_from_repeats,
        )

        settings["channel"] = channel
        if self._repeats:
            return fit_from_repeats(self._opened(self._repeats[channel]), **settings)  # type: ignore[arg-type]  # one dict for three functions
        observed = self._opened(self._observation[channel])
        if not self._signal:
            return fit_from_bootstrap(observed, **settings)  # type: ignore[arg-type]  # the same
        clean = self._opened(self._signal[channel])
        return fit_from_pairs(clean, observed, align=self._align, **settings)  # type: ignore[arg-type]  # the same

    def _opened(self, paths: "list[Path]") -> "list[Path] | list[xr.DataArray]":
        """Open images whose axes were typed; all others are opened by the fit."""
        if self._axes is None:
            return paths
        from careamics_denoisplit.images import read_images

        return [image.data for image in read_images(paths, axes=self._axes, channels=1)]


def _describe(model: "GaussianMixtureNoiseModel") -> dict[str, object]:
    """Numbers of a model: range, size, and the noise over the range of its signal."""
    import torch

    low, high = float(model.min_signal), float(model.max_signal)
    signal = torch.linspace(low, high, CURVE_POINTS)
    return {
        "channel": model.info.channel,
        "verdict": model.info.verdict,
        "n_gaussians": model.n_gaussians,
        "n_coefficients": model.n_coefficients,
        "n_pairs": model.info.n_pairs,
        "heldout_nll": model.info.heldout_nll,
        "camera": model.info.camera,
        "gain": model.info.gain,
        "exposure": model.info.exposure,
        "date": model.info.date,
        "signal_range": [low, high],
        "curve": [
            {"signal": float(s), "std": float(d)}
            for s, d in zip(signal, model.std(signal), strict=True)
        ],
    }


def _say_model(work: Job) -> None:
    """Print the numbers of a model and its noise curve."""
    for key, value in work.values.items():
        if key != "curve" and value is not None:
            work.say(f"{key.replace('_', ' '):>15}  {value}")
    work.say(f"{'signal':>15}  std of the noise (gray values)")
    for point in work.values["curve"]:
        work.say(f"{point['signal']:15.4g}  {point['std']:.4g}")
