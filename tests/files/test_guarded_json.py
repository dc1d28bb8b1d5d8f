"""JSON holds finite numbers and each key once."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from careamics_denoisplit.errors import CheckpointError, InputError, NonFiniteError
from careamics_denoisplit.files import read_json, write_json

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",))), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(value=values)
@settings(deadline=None, max_examples=40)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, value: object
) -> None:
    path = tmp_path_factory.mktemp("json") / "a.json"
    write_json(path, value)

    assert read_json(path) == value


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_named_and_not_written(
    tmp_path: Path, number: float
) -> None:
    with pytest.raises(NonFiniteError, match=r"channels\[1\]\.psnr"):
        write_json(tmp_path / "a.json", {"channels": [{"psnr": 1.0}, {"psnr": number}]})

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        ('{"a": NaN}', "NaN is not a JSON number"),
        ('{"a": Infinity}', "Infinity is not"),
        ('{"a": ', "not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("", "not valid JSON"),
    ],
)
def test_bad_json_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_json(tmp_path / "a.json")


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')

    assert read_json(tmp_path / "a.json") == {"a": 1}


def test_a_large_file_is_refused_with_the_error_of_the_caller(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("1" * 100)
    with pytest.raises(CheckpointError, match="larger than the 10 bytes"):
        read_json(tmp_path / "a.json", 10, error=CheckpointError)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Cannot read .*a\.json"):
        read_json(tmp_path / "a.json")
