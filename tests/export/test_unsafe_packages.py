"""Packages of strangers: nothing is run before it was read, nothing outside the zip is read."""

import copy
import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from careamics_denoisplit_export import check_package
from careamics_denoisplit_export.rdf import to_yaml
from careamics_denoisplit_export.rules.subject import Subject, open_subject

Repack = Callable[[Mapping[str, bytes | None]], Path]


@pytest.fixture(scope="module")
def good(package: Any) -> Subject:
    """The good package, opened but not run."""
    return open_subject(package.path)


def with_foreign_code(archive: bytes) -> bytes:
    """A TorchScript archive that would read a file where it computed a cosine."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as before, zipfile.ZipFile(target, "w") as after:
        for name in before.namelist():
            data = before.read(name)
            if name.endswith(".py"):
                data = data.replace(b"torch.cos(", b"torch.from_file(")
            after.writestr(name, data)
    return target.getvalue()


def test_g5_a_torchscript_with_foreign_code_is_not_loaded(repack: Repack, good: Subject) -> None:
    foreign = with_foreign_code(good.files["weights.pt"])
    content = copy.deepcopy(dict(good.content))
    content["weights"]["torchscript"]["sha256"] = hashlib.sha256(foreign).hexdigest()
    path = repack({"weights.pt": foreign, "rdf.yaml": to_yaml(content)})

    findings = {finding.id: finding for finding in check_package(path).findings}

    assert findings[25].status == "failed"
    assert "from_file" in findings[25].message
    assert findings[32].status == "skipped"
    assert "--trust" in findings[32].message


def test_g7_a_file_outside_the_zip_is_not_read(repack: Repack, good: Subject) -> None:
    content = copy.deepcopy(dict(good.content))
    content["attachments"].append({"source": "../secret"})

    findings = {f.id: f for f in check_package(repack({"rdf.yaml": to_yaml(content)})).findings}

    assert findings[6].status == "failed"
    assert "../secret" in findings[6].message
    assert findings[34].status == "skipped"
