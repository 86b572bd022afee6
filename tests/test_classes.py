"""Labellings: the way through JSON, and values that are refused."""

import json

import pytest

from helpers.classes import PETS, VOID, Labelling
from tests.tiny import STREET

TWO = {"names": ("a", "b"), "colors": ((0, 0, 0), (9, 9, 9))}
WRONG = [
    {"names": ("a", "a")},
    {"names": ("a",), "colors": ((0, 0, 0),)},
    {"colors": ((0, 0, 0),)},
    {"colors": ((0, 0, 0), (0.5, 0.5, 0.5))},
    {"colors": ((0, 0, 0), (0, 256, 0))},
    {"colors": ((0, 0, 0), (1, 2))},
    {"ids": (1, 1)},
    {"ids": (1, 300)},
    {"ids": (1, 2), "void": 2},
    {"void": -1},
    {"border_rules": {"a": (0, 1, 0)}},
    {"border_rules": {"a": (1, 0)}},
    {"names": "abc", "colors": ((0, 0, 0),) * 3, "border_rules": {"a": (0, 1, 2)}},
]


@pytest.mark.parametrize("change", WRONG, ids=str)
def test_values_that_make_no_labelling_are_refused(change):
    Labelling(**TWO)
    with pytest.raises(ValueError, match="expected|twice"):
        Labelling(**{**TWO, **change})


@pytest.mark.parametrize("labelling", [PETS, PETS.binary, STREET])
def test_a_labelling_comes_back_from_json(labelling):
    assert Labelling.from_json(json.loads(json.dumps(labelling.to_json()))) == labelling


def test_an_unknown_border_rule_is_an_error():
    assert PETS.border_rule("ignore") == (0, 1, VOID)
    with pytest.raises(ValueError, match="border='edge': expected one of pet, background, ignore"):
        PETS.border_rule("edge")
