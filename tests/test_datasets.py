"""What can be asked of any data set: parts of it, counts, words, a stratified subset."""

import numpy as np
import pytest

from helpers import datasets
from helpers.classes import PETS
from tests import tiny

TINY = tiny.dataset(PETS, [np.ones((4, 6), np.uint8)] * 9, kind=[0, 0, 0, 0, 0, 1, 2, 1, 2])
NAMES = [f"{number}.png" for number in range(9)]


def file_names(dataset, split):
    return [r["file_name"].numpy().decode() for r in datasets.read_records(dataset, split)]


def test_a_subset_is_the_first_so_many_or_the_files_named():
    part = datasets.subset(TINY, train=3, test=["7.png", "2.png"])
    assert file_names(part, "train") == NAMES[:3] and file_names(part, "validation") == NAMES
    assert file_names(part, "test") == ["2.png", "7.png"]  # in the order of the records
    assert [datasets.count_examples(part, split) for split in datasets.SPLITS] == [3, 9, 2]
    back = datasets.subset(part, train=None, test=20)
    assert file_names(back, "train") == file_names(back, "test") == NAMES
    assert datasets.describe(back, "test") == "tiny pictures, test split (9)"
    assert datasets.describe(part, "train") == "tiny pictures, training split (3)"


@pytest.mark.parametrize("count", [1, 3, 5, 9])
def test_a_stratified_subset_takes_every_kind_before_a_second_of_one(count):
    names = datasets.stratified_subset(TINY, "train", count, "kind")
    assert names == [NAMES[number] for number in (0, 5, 6, 1, 7, 8, 2, 3, 4)[:count]]


@pytest.mark.parametrize(
    "call",
    [
        lambda: datasets.subset(TINY, trian=3),
        lambda: datasets.subset(TINY, train=0),
        lambda: datasets.read_records(TINY, "trian"),
        lambda: datasets.stratified_subset(TINY, "train", 0, "kind"),
        lambda: datasets.stratified_subset(TINY, "train", 10, "kind"),
    ],
)
def test_what_a_data_set_does_not_have_is_an_error(call):
    with pytest.raises(ValueError, match="split='trian' is unknown|=0: expected 1 |=10: expected"):
        call()
