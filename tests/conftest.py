"""What tests of several files share."""

import pytest

from helpers import data, synthetic_pets


@pytest.fixture(scope="session")
def drawn_pets(tmp_path_factory):
    """A few drawn pets, prepared once: 18 to train on, 2 to validate, 5 to test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic_pets, "SPLIT_SIZES", {"train": 20, "test": 5})
        patch.setenv("PETS_DATA", "synthetic")
        return data.open_pets(tmp_path_factory.mktemp("drawn_pets"))
