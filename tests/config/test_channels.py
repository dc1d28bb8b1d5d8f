"""Names of channels."""

import keyword
from pathlib import PureWindowsPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from careamics_denoisplit.config import channel_identifier, check_channel_names
from careamics_denoisplit.errors import ConfigurationError


@pytest.mark.parametrize(
    ("label", "identifier"),
    [
        ("er", "er"),
        ("F-actin", "F_actin"),
        ("\N{GREEK SMALL LETTER ALPHA}-tubulin", "alpha_tubulin"),
        ("488 nm", "ch_488_nm"),
        ("no", "no"),
        ("../x", "x"),
        ("Ångström", "Angstrom"),
    ],
)
def test_labels_become_identifiers(label: str, identifier: str) -> None:
    assert channel_identifier(label) == identifier


@pytest.mark.parametrize("label", ["CON", "nul", "com1", "LPT9", "class"])
def test_b7_reserved_names_are_refused(label: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{label!r} is reserved"):
        channel_identifier(label)


@pytest.mark.parametrize("label", ["", "///", "::"])
def test_b7_a_name_of_which_nothing_is_left_is_refused(label: str) -> None:
    with pytest.raises(ConfigurationError, match="letter or digit"):
        channel_identifier(label)


def test_b7_a_name_too_long_for_file_names_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="250 characters; at most 64"):
        channel_identifier("a" * 250)


def test_b7_control_characters_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="control characters"):
        channel_identifier("a\tb")


@settings(deadline=None, max_examples=200, derandomize=True)
@given(st.text(max_size=70))
def test_b7_any_text_becomes_a_safe_identifier_or_an_error(label: str) -> None:
    try:
        name = channel_identifier(label)
    except ConfigurationError:
        return
    assert name.isidentifier()
    assert name.isascii()
    assert not keyword.iskeyword(name)
    assert not PureWindowsPath(name).is_reserved()
    assert channel_identifier(name) == name


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "No channel names"),
        (("er", "er"), "'er' and 'er' are equal"),
        (("er", "ER"), "'er' and 'ER' are equal"),
        (("er", "er_std"), "'er_std' is also the name of an output of channel 'er'"),
        (("ER", "er_spread"), "'er_spread' is also the name of an output of channel 'ER'"),
        (("er", "consistency"), "'consistency' is the name of an output"),
        (("er", "Input_Range"), "'Input_Range' is the name of an output"),
    ],
)
def test_names_that_collide_are_refused(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check_channel_names(names)


def test_names_that_merely_resemble_outputs_are_accepted() -> None:
    check_channel_names(("er", "actin_std", "std", "spread"))
