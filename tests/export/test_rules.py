"""A check as a whole: a good package keeps every rule, and the report says so."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from careamics_denoisplit.files import load_yaml
from careamics_denoisplit_export import Report
from careamics_denoisplit_export.rules.page import to_html
from careamics_denoisplit_export.rules.registry import RULES

SKIPPED = {3, 25, 35}
"""Rules of which a part needs engines or environments of their own."""


def test_there_are_39_rules() -> None:
    assert sorted(RULES) == list(range(1, 40))


def test_a_good_package_keeps_every_rule(report: Report) -> None:
    assert [(finding.id, finding.message) for finding in report.failed] == []
    assert report.passed
    assert {finding.id for finding in report.findings if finding.status == "skipped"} == SKIPPED
    assert report.skipped == len(SKIPPED)


def test_the_report_has_the_keys_that_scripts_read(report: Report) -> None:
    read = json.loads(json.dumps(report.to_dict()))

    assert list(read) == ["package", "sha256", "passed", "skipped", "rules", "consumers"]
    assert list(read["rules"][0]) == ["id", "title", "status", "message"]
    assert read["sha256"] == hashlib.sha256(Path(read["package"]).read_bytes()).hexdigest()
    assert read["consumers"] == []


def test_the_page_escapes_what_a_package_says(report: Report) -> None:
    evil = replace(report.findings[0], message="<script>alert(1)</script>", status="failed")

    page = to_html(replace(report, findings=(evil,)))

    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "Failed" in page


def test_rdf_yaml_reads_the_same_in_both_versions_of_yaml(package: Any) -> None:
    text = package.files["rdf.yaml"].decode()

    assert yaml.safe_load(text) == load_yaml(text)
