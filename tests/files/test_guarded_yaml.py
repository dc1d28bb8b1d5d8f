"""YAML without its traps: names stay text, nothing is constructed, nothing grows."""

import re
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from careamics_denoisplit.errors import ConfigurationError
from careamics_denoisplit.files import guarded_yaml, load_yaml

letters = st.characters(min_codepoint=32, max_codepoint=0x2FF, exclude_categories=("Cc",))
# YAML 1.1 writes the text 0E0 without quotes; here, as in YAML 1.2, that is a number.
texts = st.text(letters, max_size=8).filter(lambda text: not re.fullmatch(r"[-+.0-9eE]+", text))
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(letters, min_size=1, max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(value=st.dictionaries(st.text(letters, min_size=1, max_size=8), values, max_size=4))
@settings(deadline=None, max_examples=60)
def test_what_yaml_writes_is_read_back(value: dict[str, object]) -> None:
    assert load_yaml(yaml.safe_dump(value)) == value


@pytest.mark.parametrize("name", ["no", "on", "off", "yes", "y", "N", "0x1F", "1_000", "12:30:00"])
def test_c2_names_stay_text(name: str) -> None:
    assert load_yaml(f"channel_names: [{name}, er]") == {"channel_names": [name, "er"]}


def test_c2_keys_stay_text() -> None:
    assert load_yaml("1: a\nno: b\n1e3: c") == {"1": "a", "no": "b", "1e3": "c"}


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("1E5", 1e5), (".5", 0.5), ("-2.", -2.0), ("7", 7), ("'7'", "7"),
     ("true", True), ("~", None), ("2026-01-01", "2026-01-01"), (".inf", float("inf"))],
)  # fmt: skip
def test_c2_plain_scalars_follow_the_core_schema(text: str, value: object) -> None:
    loaded = load_yaml(f"a: {text}")["a"]

    assert loaded == value
    assert type(loaded) is type(value)


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "line 2: the key 'a' stands twice"),
        ("a: !!python/object/apply:os.system [x]", "the tag .*python"),
        ("a: !mine 1", "the tag !mine"),
        ("a: &x 1\nb: *x", "the anchor &x"),
        ("a: *x", "the alias"),
        ("a: 1\n---\nb: 2", "second document"),
        ("a: [1, 2", "not valid YAML"),
        ("a:\n\t- 1", "not valid YAML"),
        ("- 1", "must hold `key: value` lines, got a list"),
        ("", "got nothing"),
        ("config.yaml", "got a single value.*pathlib.Path"),
        ("? [a, b]\n: 1", "a key must be plain text"),
        ("a: " + "9" * 5000, "the number is too long"),
        ("a: " + "[" * 3000 + "]" * 3000, "more than 50 levels"),
        ("a: \x00", "not valid YAML"),
    ],
)
def test_c2_traps_are_refused(
    text: str, message: str, loader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarded_yaml, "_LOADER", getattr(yaml, loader, yaml.SafeLoader))
    with pytest.raises(ConfigurationError, match=message):
        load_yaml(text)


def test_c2_an_alias_bomb_ends_at_once() -> None:
    rows = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    start = time.monotonic()
    with pytest.raises(ConfigurationError, match="the anchor &a0 is not accepted"):
        load_yaml("\n".join(rows))

    assert time.monotonic() - start < 1


def test_c2_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"\xef\xbb\xbfa: 1")

    assert load_yaml(tmp_path / "c.yaml") == {"a": 1}


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"a: \xff\xfe", "not UTF-8"), (b"a: 1 #" + b"x" * 200, "larger than the 100 bytes")],
)
def test_c2_files_that_are_no_text_or_too_large_are_refused(
    tmp_path: Path, data: bytes, message: str
) -> None:
    (tmp_path / "c.yaml").write_bytes(data)
    with pytest.raises(ConfigurationError, match=message):
        load_yaml(tmp_path / "c.yaml", max_bytes=100)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"Cannot read .*c\.yaml"):
        load_yaml(tmp_path / "c.yaml")


def test_large_text_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="larger than"):
        load_yaml("a: " + "x" * 100, max_bytes=50)
