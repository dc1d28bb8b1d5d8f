"""`NAME=PATH` words and the files they name."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from careamics_denoisplit.cli.options import existing_paths, named_paths, require_all
from careamics_denoisplit.errors import ConfigurationError, DataError

NAMES = ("er", "F_actin")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a few files, one of them with an equals sign in its name."""
    for name in ("a.tif", "b.tif", "c.tif", "er=odd.tif", "t=1.tif"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "d.tif").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.usefixtures("files")
def test_further_paths_belong_to_the_last_name() -> None:
    found = named_paths(["er=a.tif", "b.tif", "F_actin=c.tif", "sub"], "--channel", NAMES)

    assert found == {"er": [Path("a.tif"), Path("b.tif")], "F_actin": [Path("c.tif"), Path("sub")]}


@pytest.mark.usefixtures("files")
def test_channels_come_in_the_order_of_the_configuration() -> None:
    found = named_paths(["F_actin=c.tif", "er=a.tif"], "--channel", NAMES)

    assert list(found) == ["er", "F_actin"]


@pytest.mark.usefixtures("files")
def test_an_equals_sign_in_a_file_name_is_no_channel() -> None:
    found = named_paths(["er=a.tif", "t=1.tif"], "--channel", NAMES)

    assert found == {"er": [Path("a.tif"), Path("t=1.tif")]}


@pytest.mark.usefixtures("files")
def test_a_channel_may_be_repeated() -> None:
    found = named_paths(["er=a.tif", "F_actin=c.tif", "er=b.tif"], "--channel", NAMES)

    assert found["er"] == [Path("a.tif"), Path("b.tif")]


@pytest.mark.usefixtures("files")
def test_without_a_configuration_every_name_counts() -> None:
    assert named_paths(["mito=a.tif", "b.tif"], "--signal") == {
        "mito": [Path("a.tif"), Path("b.tif")]
    }


@pytest.mark.usefixtures("files")
def test_patterns_that_the_shell_left_are_expanded() -> None:
    assert existing_paths(["*.tif"], "IMAGE") == sorted(Path().glob("*.tif"))
    assert existing_paths([str(Path("*.tif").absolute())], "IMAGE") == sorted(
        Path().absolute().glob("*.tif")
    )


@pytest.mark.usefixtures("files")
def test_a_mistyped_channel_names_the_nearest_one() -> None:
    with pytest.raises(ConfigurationError, match=r"'re' is not a channel .* Did you mean er="):
        named_paths(["re=a.tif"], "--channel", NAMES)
    with pytest.raises(ConfigurationError, match=r"Did you mean F_actin="):
        named_paths(["f_actin=a.tif"], "--channel", NAMES)


@pytest.mark.usefixtures("files")
def test_a_path_before_any_name_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="--channel must begin with the name of a channel"):
        named_paths(["a.tif"], "--channel", NAMES)


@pytest.mark.usefixtures("files")
def test_a_missing_file_names_the_nearest_one() -> None:
    with pytest.raises(DataError, match=r"--truth er=: there is no file .* Did you mean 'a.tif'"):
        named_paths(["er=a.tiff"], "--truth", NAMES)
    with pytest.raises(DataError, match="folder 'nowhere' does not exist"):
        existing_paths(["nowhere/a.tif"], "IMAGE")


def test_a_channel_without_paths_is_named() -> None:
    with pytest.raises(ConfigurationError, match="Add --truth F_actin=PATH"):
        require_all({"er": [Path("a.tif")]}, NAMES, "--truth")


@given(counts=st.lists(st.integers(1, 4), min_size=1, max_size=4))
@settings(deadline=None, max_examples=30)
def test_no_path_is_lost_whatever_the_grouping(counts: list[int]) -> None:
    """Existing paths are given, here always the folder itself."""
    tokens = [word for index, n in enumerate(counts) for word in [f"c{index}=.", *["."] * (n - 1)]]

    found = named_paths(tokens, "--channel", [f"c{index}" for index in range(len(counts))])

    assert [len(paths) for paths in found.values()] == counts
