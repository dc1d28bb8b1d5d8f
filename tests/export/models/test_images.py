"""The images of the published models, split as their README fixes it."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from careamics_denoisplit.errors import DataError
from careamics_denoisplit_export.models import PLANS
from careamics_denoisplit_export.models.images import noisy_nf1, rows_of_hagen


def test_the_parts_of_actin_and_mitochondria_are_rows_of_one_image(
    shared_data: Path, tmp_path: Path
) -> None:
    fields = rows_of_hagen(shared_data, tmp_path / "data")

    whole = tifffile.imread(shared_data / "hagen_actin_mito" / "20x_mito_low.tif")
    parts = [fields.train, fields.val, fields.test]
    read = [tifffile.imread(part.noisy["mito"][0]) for part in parts]
    assert [len(part) for part in read] == [1280, 256, 512]
    np.testing.assert_array_equal(np.concatenate(read), whole)
    actin = tifffile.imread(fields.test.noisy["actin"][0]).astype(np.float32)
    np.testing.assert_array_equal(
        tifffile.imread(fields.test.mixture[0]), (actin + read[2]) / np.float32(2)
    )
    assert "high" in fields.val.truth["actin"][0].name


def test_er_and_nuclei_get_the_noise_of_protocol_n2(shared_data: Path, tmp_path: Path) -> None:
    fields = noisy_nf1(shared_data, tmp_path / "data")

    assert [path.name for path in fields.train.noisy["er"]] == [
        f"{field}_er_noisy.tif" for field in ("B7", "D6", "D7")
    ]
    noisy, clean = (
        tifffile.imread(paths["nuclei"][0]) for paths in (fields.test.noisy, fields.test.truth)
    )
    assert clean.min() >= 200
    # Gaussian noise of one standard deviation of the clean mixtures, and 50 counts per photon.
    mixtures = np.stack(
        [
            np.mean([tifffile.imread(part.truth[name][i]) for name in ("er", "nuclei")], axis=0)
            for part in (fields.train, fields.val, fields.test)
            for i in range(len(part.mixture))
        ]
    )
    expected = np.var(mixtures) + 50 * clean.mean()
    assert np.var(noisy - clean) == pytest.approx(expected, rel=0.02)
    assert fields.third is not None
    assert tifffile.imread(fields.third).shape == clean.shape
    before = fields.test.mixture[0].stat().st_mtime_ns
    noisy_nf1(tmp_path / "nowhere", tmp_path / "data")
    assert fields.test.mixture[0].stat().st_mtime_ns == before


@pytest.mark.parametrize("name", list(PLANS))
def test_missing_images_are_named_before_work(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--data"):
        PLANS[name].prepare(tmp_path, tmp_path / "data")
    assert not (tmp_path / "data").exists()
