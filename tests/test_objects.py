"""Connected regions are counted and measured by class."""

import numpy as np

from helpers import objects
from helpers.classes import PETS, VOID


def test_regions_are_counted_by_class_with_their_sizes():
    ids = np.ones((10, 12), np.uint8)
    ids[1:3, 1:3] = ids[3:5, 3:5] = 0  # they touch at a corner: one
    ids[8, 10] = 0
    ids[6:8, :3] = VOID
    found = objects.areas(ids, PETS)
    assert sorted(found["pet"]) == [1, 8] and found["border"] == []
    assert found["background"] == [120 - 9 - 6]
    of_two = objects.summary([found, objects.areas(ids * 0, PETS)])
    assert of_two["pet"] == {
        "count": 3,
        "per_image": 1.5,
        "mean_area": 43.0,
        "median_area": 8.0,
        "smallest": 1,
        "largest": 120,
    }
    assert of_two["border"] == {"count": 0, "per_image": 0.0}
