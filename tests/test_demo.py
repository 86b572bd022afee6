"""The page: what it answers; and, where Gradio, Playwright and Chromium are, in a browser."""

import base64
import shutil

import numpy as np
import PIL.Image
import pytest
import skimage.data

from experiments import demo
from helpers import prediction, weights
from helpers.classes import PETS
from tests.tiny import STREET

OWN = ("http://127.0.0.1", "data:", "blob:")
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


class Halves:
    """A model that takes the left half of every picture for its first class."""

    input_shape = (None, 32, 32, 3)

    def __init__(self, classes):
        self.classes = classes

    def predict_on_batch(self, images):
        logits = np.zeros((1, 32, 32, self.classes))
        logits[:, :, :16, 0] = logits[:, :, 16:, 1] = 9
        logits[:, :, 15, 0] = 0.2  # hardly decided
        return logits


def test_what_it_answers(monkeypatch, tmp_path):
    PIL.Image.fromarray(skimage.data.chelsea()).save(tmp_path / "cat.png")
    monkeypatch.setattr(demo, "SIDE", 200)
    for labelling in (PETS, STREET):
        network = weights.Network(Halves(len(labelling)), labelling)
        monkeypatch.setattr(demo, "opened", lambda source, found=network: found)
        overlay, mask, cut, sure, shares = demo.answer(tmp_path / "cat.png", "mine")
        assert overlay.shape == (133, 200, 3) and mask.size == (200, 133)
        assert sure.shape == (133, 200) and sure.min() < 60 and sure.max() > 250
        assert [*shares] == [*labelling.names] and sum(shares.values()) == pytest.approx(1)
        assert shares[labelling.names[0]] == pytest.approx(0.5, abs=0.02)
        if labelling is STREET:  # it does not say what to cut out
            assert cut is None
        else:
            assert cut[60, 20, 3] == 255 and cut[60, 180, 3] == 0


@pytest.fixture(scope="module")
def address():
    """Of the page, with the published network."""
    pytest.importorskip("gradio")
    page = demo.page([prediction.WEIGHTS])
    _, url, _ = demo.serve(prevent_thread_lock=True, quiet=True)
    yield url
    page.close()


@pytest.fixture(params=[DESK, PHONE], ids=["desk", "phone"])
def tab(request, address):
    """The page in Chromium, and what its console calls an error."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium here")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page, errors = browser.new_page(viewport=request.param), []
        page.set_default_timeout(120_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: line.type == "error" and errors.append(line.text))
        page.on("request", lambda sent: sent.url.startswith(OWN) or errors.append(sent.url))
        page.goto(address)
        yield page, errors
        browser.close()


def drop(page, path):
    """Drops a file on the page, as a hand does."""
    content = base64.b64encode(path.read_bytes()).decode()
    held = page.evaluate_handle(
        """([content, name]) => {
            const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
            const held = new DataTransfer();
            held.items.add(new File([bytes], name, {type: "image/png"}));
            return held;
        }""",
        [content, path.name],
    )
    place = page.get_by_label("Drop an image file here to upload")
    place.dispatch_event("drop", {"dataTransfer": held})


def pixels(page, heading):
    """(H, W, 4) uint8: what the browser shows below a heading."""
    picture = page.get_by_role("img", name=heading)
    picture.scroll_into_view_if_needed()
    width, height, values = picture.evaluate(
        """async picture => {
            await picture.decode();
            const [width, height] = [picture.naturalWidth, picture.naturalHeight];
            const canvas = new OffscreenCanvas(width, height).getContext("2d");
            canvas.drawImage(picture, 0, 0);
            return [width, height, Array.from(canvas.getImageData(0, 0, width, height).data)];
        }"""
    )
    return np.array(values, np.uint8).reshape(height, width, 4)


def test_a_photo_and_a_broken_file_in_a_browser(tab, tmp_path):
    page, errors = tab
    photo, broken = tmp_path / "cat.png", tmp_path / "broken.png"
    PIL.Image.fromarray(skimage.data.chelsea()).save(photo)
    broken.write_bytes(photo.read_bytes()[:9999])
    drop(page, photo)
    overlay, mask, cut, sure, shares = demo.answer(photo, prediction.WEIGHTS)
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
    room = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= room  # nothing sticks out
    page.get_by_label("Remove Image").click()
    drop(page, broken)
    sentence = page.get_by_text("broken.png is damaged or cut off")
    sentence.wait_for()
    assert sentence.inner_text().count(".") == 2  # of the name, and its own
    assert errors == []
