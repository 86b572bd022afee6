"""The page: what it answers; and, where Gradio, Playwright and Chromium are, in a browser."""

import json

import numpy as np
import PIL.Image
import pytest
import skimage.data

from experiments import demo
from helpers import prediction, weights
from helpers.classes import PETS
from helpers.photos import View
from tests import chromium
from tests.tiny import STREET

OWN = ("http://127.0.0.1", "data:", "blob:")
PLAYS = "video => video.videoWidth || new Promise(done => { video.onplaying = done; })"
PUBLISHED, OTHER = prediction.WEIGHTS, "other.onnx"


class Halves:
    """A model that takes the left half of every picture for its first class."""

    input_shape = (None, 32, 32, 3)

    def __init__(self, classes):
        self.classes, self.passes = classes, 0

    def predict_on_batch(self, images):
        self.passes += 1
        logits = np.zeros((1, 32, 32, self.classes))
        logits[:, :, :16, 0] = logits[:, :, 16:, 1] = 9
        logits[:, :, 15, 0] = 0.2  # hardly decided
        return logits


def test_what_it_answers(monkeypatch, tmp_path):
    PIL.Image.fromarray(skimage.data.chelsea()).save(tmp_path / "cat.png")
    monkeypatch.setattr(demo, "SIDE", 200)
    for labelling, view in ((PETS, View()), (PETS, View(letterbox=True)), (STREET, View())):
        network = weights.Network(Halves(len(labelling)), labelling, view=view)
        monkeypatch.setattr(demo, "opened", lambda source, found=network: found)
        overlay, mask, cut, sure, shares = demo.answer(tmp_path / "cat.png", "mine")
        assert overlay.shape == (133, 200, 3) and mask.size == (200, 133)
        assert sure.shape == (133, 200) and sure.min() < 60 and sure.max() > 250
        assert network.model.passes == (2 if view.letterbox else 1)
        assert [*shares] == [*labelling.names] and sum(shares.values()) == pytest.approx(1)
        assert shares[labelling.names[0]] == pytest.approx(0.5, abs=0.02)
        if labelling is STREET:  # it does not say what to cut out
            assert cut is None
        else:
            assert cut[60, 20, 3] == 255 and cut[60, 180, 3] == 0


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Two to choose from: the published one, and the same with other names of its classes."""
    names = [json.dumps(names)[1:-1] for names in (PETS.names, ("fur", "wallpapers", "fringe"))]
    content = (weights.FOLDER / PUBLISHED).read_bytes()
    other = tmp_path_factory.mktemp("networks") / OTHER
    other.write_bytes(content.replace(*(text.encode() for text in names)))  # as long as before
    return [PUBLISHED, other]


@pytest.fixture(scope="module")
def address(networks):
    """Of the page."""
    gradio = pytest.importorskip("gradio")
    _, url, _ = demo.serve(networks, prevent_thread_lock=True, quiet=True)
    yield url
    gradio.close_all()


@pytest.fixture(params=[chromium.DESK, chromium.PHONE], ids=["desk", "phone"])
def tab(request, browser, address):
    """The page in Chromium, and what went wrong there."""
    with chromium.opened(browser, OWN, viewport=request.param) as (page, errors):
        page.goto(address)
        yield page, errors


def drop(page, path):
    place = page.get_by_label("Drop an image file here to upload")
    chromium.drop(page, place, path)


def pixels(page, heading):
    """(H, W, 4) uint8: what the browser shows below a heading."""
    return chromium.pixels(page.get_by_role("img", name=heading))


def test_a_photo_and_a_broken_file_in_a_browser(tab, tmp_path):
    page, errors = tab
    photo, broken = tmp_path / "cat.png", tmp_path / "broken.png"
    PIL.Image.fromarray(skimage.data.chelsea()).save(photo)
    broken.write_bytes(photo.read_bytes()[:9999])
    drop(page, photo)
    overlay, mask, cut, sure, shares = demo.answer(photo, PUBLISHED)
    expected = overlay, np.asarray(mask.convert("RGB")), cut, np.dstack([sure] * 3)
    for heading, picture in zip(demo.HEADINGS, expected):
        found = pixels(page, heading)
        if picture.shape[-1] == 4:
            assert (found[..., 3] == picture[..., 3]).all()
            solid = picture[..., 3] == 255
            found, picture = found[solid], picture[solid][:, :3]
        assert (found[..., :3] == picture).all(), heading
    name, share = next(iter(shares.items()))
    assert page.get_by_text(f"{share:.0%}").is_visible()
    assert chromium.fits(page)
    page.get_by_label("Remove Image").click()
    drop(page, broken)
    sentence = page.get_by_text("broken.png is damaged or cut off")
    sentence.wait_for()
    assert sentence.inner_text().count(".") == 2  # of the name, and its own
    assert errors == []


def test_another_network_is_chosen(tab, tmp_path, networks):
    page, errors = tab
    PIL.Image.fromarray(skimage.data.chelsea()).save(tmp_path / "cat.png")
    drop(page, tmp_path / "cat.png")
    page.get_by_text(PETS.names[0], exact=True).first.wait_for()
    page.get_by_label("Network").click()
    page.get_by_role("option", name=OTHER).click()
    page.get_by_text("wallpapers").first.wait_for()
    *_, shares = demo.answer(tmp_path / "cat.png", networks[1])
    for name, share in shares.items():
        assert page.get_by_text(name).first.is_visible()
        assert page.get_by_text(f"{share:.0%}").first.is_visible()
    assert not page.get_by_text(PETS.names[0], exact=True).count() and errors == []


@pytest.mark.parametrize("tab", [chromium.PHONE], ids=["phone"], indirect=True)
def test_a_photo_is_taken_with_the_camera(tab):
    page, errors = tab
    page.get_by_label("Capture from camera").click()
    page.get_by_text("Click to Access Webcam").click()
    page.locator("video").evaluate(PLAYS)
    page.get_by_label("capture photo").click()
    mask = pixels(page, demo.HEADINGS[1])[..., :3].reshape(-1, 3)
    assert len(mask) and {tuple(color) for color in np.unique(mask, axis=0)} <= {*PETS.colors}
    assert errors == []
