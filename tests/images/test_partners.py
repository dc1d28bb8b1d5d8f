"""Names of images that contradict their order, and blocks that follow the chunks of a store."""

import numpy as np
import pytest

from careamics_denoisplit.images import find_misplaced
from careamics_denoisplit.images.checks import block_places


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (["a/f_1.tif", "a/f_2.tif"], ["b/f_1.tif", "b/f_2.tif"]),
        (
            ["er_field_07.tif", "er_field_08.tif"],
            ["field 7 actin.ome.tif", "field 8 actin.ome.tif"],
        ),
        (["B7_er.tif", "D6_er.tif", "D7_er.tif"], ["B7_actin.tif", "D6_actin.tif", "D7_actin.tif"]),
        (["a_11.tif", "a_12.tif"], ["a_21.tif", "a_22.tif"]),
        (["plate1.tif", "plate2.tif"], ["x.tif", "y.tif"]),
        (["f_1.tif", "f_2.tif"], ["f_1.tif"]),
        (["er.tif"], ["actin.tif"]),
        (["stack.tif, image 0", "stack.tif, image 1"], ["stack.tif, image 0"]),
        ([], []),
    ],
)
def test_names_in_one_order_or_without_a_common_name_are_not_judged(
    first: list[str], second: list[str]
) -> None:
    assert find_misplaced(first, second, ("er", "actin")) is None
    assert find_misplaced(second, first, ("er", "actin")) is None


@pytest.mark.parametrize(
    ("first", "second", "partner", "namesake"),
    [
        (["f_1.tif", "f_2.tif"], ["f_2.tif", "f_1.tif"], "f_2.tif", "f_1.tif"),
        (["f.2.tif", "f.3.tif"], ["f.1.tif", "f.2.tif"], "f.1.tif", "f.2.tif"),
        (["f_2.tif", "f_3.tif"], ["f_1.tif", "f_02.tif", "f_3.tif"], "f_1.tif", "f_02.tif"),
        (["f_1.tif", "f_2.tif", "f_3.tif"], ["f_3.tif", "f_4.tif"], "", "f_3.tif"),
    ],
)
def test_an_image_beside_the_namesake_of_another_is_found(
    first: list[str], second: list[str], partner: str, namesake: str
) -> None:
    found = find_misplaced(first, second)

    assert found is not None
    assert (found.partner, found.namesake) == (partner, namesake)
    assert f"although {namesake} bears its name" in found.words()


@pytest.mark.parametrize("chunk", [None, (1, 1), (100, 70), (5000, 3), (3000, 4000), (9000, 9000)])
def test_blocks_cover_every_pixel_once_and_cut_no_chunk(chunk: tuple[int, int] | None) -> None:
    shape = (5200, 4100)
    covered = np.zeros(shape, np.uint8)

    for y, x, rows, columns in block_places(shape, 8, chunk):
        covered[y : y + rows, x : x + columns] += 1
        if chunk is not None:
            assert y % chunk[0] == 0
            assert x % chunk[1] == 0
        assert (
            rows * columns * 8 <= 32 * 2**20 or (chunk or (0, 0))[0] * (chunk or (0, 0))[1] > 2**22
        )

    assert (covered == 1).all()
