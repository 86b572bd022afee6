"""Settings for every test, in tests/ and in the notebooks, which nbval runs cell by cell."""

import os

# A test run is short and needs no network; a test that is about these sets them itself.
os.environ["PETS_PROFILE"] = "smoke"
os.environ["PETS_DATA"] = "synthetic"
