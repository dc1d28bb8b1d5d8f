"""Names are the same, and safe, on Linux, macOS and Windows."""

import keyword
import unicodedata
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.files import safe_name, safe_names, safe_stem

RESERVED = {"CON", "PRN", "AUX", "NUL"} | {f"{x}{n}" for x in ("COM", "LPT") for n in range(10)}
TRAPS = ["CON", "con.txt", "aux", "LPT1", "a\\b", "../x", "a/b", "x.", " x ", ".hidden", "[a]%"]
labels = st.one_of(st.text(max_size=300), st.sampled_from(TRAPS))


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("F-actin", "F_actin"),
        ("er", "er"),
        ("\N{GREEK SMALL LETTER ALPHA}-tubulin", "alpha_tubulin"),
        ("A\N{COMBINING RING ABOVE}ngstrom", "Angstrom"),
        ("\N{LATIN CAPITAL LETTER A WITH RING ABOVE}ngstrom", "Angstrom"),
        ("488 nm", "ch_488_nm"),
        ("CON", "CON_x"),
        ("../x", "x"),
        ("a\\b", "a_b"),
        ("[DAPI] 100%", "DAPI_100"),
        ("trailing.", "trailing"),
        ("class", "class_x"),
    ],
)
def test_b7_labels_become_readable_names(label: str, expected: str) -> None:
    assert safe_name(label) == expected


@pytest.mark.parametrize("label", ["", "...", "   ", "\u7ec6\u80de", "\ud800"])
def test_b7_a_label_without_safe_letters_is_refused(label: str) -> None:
    with pytest.raises(ConfigurationError, match="no letter or digit"):
        safe_name(label)


@given(label=labels)
@settings(deadline=None, max_examples=300)
def test_b7_a_name_is_an_identifier_and_a_file_name_everywhere_or_an_error(label: str) -> None:
    try:
        name = safe_name(label)
    except ConfigurationError:
        return

    assert name.isidentifier()
    assert name.isascii()
    assert not keyword.iskeyword(name)
    assert name.upper() not in RESERVED
    assert len(name) <= 70
    assert safe_name(name) == name
    assert safe_name(unicodedata.normalize("NFD", label)) == name


@given(label=labels)
@settings(deadline=None, max_examples=300)
def test_b7_a_stem_is_one_part_of_a_path_everywhere(label: str) -> None:
    stem = safe_stem(label)

    assert stem
    assert len(f"{stem}_mean.ome.tif".encode()) < 255
    assert PureWindowsPath(stem).parts == (stem,)
    assert PurePosixPath(stem).parts == (stem,)
    assert stem.partition(".")[0].strip().upper() not in RESERVED
    assert not stem.endswith((".", " "))
    assert not stem.startswith(".")
    assert safe_stem(stem) == stem
    assert safe_stem(unicodedata.normalize("NFD", label)) == stem


@pytest.mark.parametrize(
    "name", ["cell.1.v2", "Zelle \N{LATIN SMALL LETTER O WITH DIAERESIS}", "a b"]
)
def test_b7_a_harmless_stem_stays_as_it_is(name: str) -> None:
    assert safe_stem(name) == name


def test_b7_long_stems_stay_different() -> None:
    first, second = safe_stem("x" * 250 + "1"), safe_stem("x" * 250 + "2")

    assert first != second


@pytest.mark.parametrize("twins", [("er", "ER"), ("F-actin", "f_actin"), ("a b", "a/b")])
def test_b7_labels_that_give_one_file_are_refused(twins: tuple[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="both become"):
        safe_names(twins)


def test_different_labels_keep_their_order() -> None:
    assert safe_names(("F-actin", "er")) == ("F_actin", "er")
