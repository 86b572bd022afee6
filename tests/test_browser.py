"""The page of demo/ in a browser: what it shows is what `python -m helpers.prediction` writes."""

import contextlib
import functools
import http.server
import json
import re
import shutil
import subprocess
import tarfile
import threading
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import skimage.data

from helpers import overlays, prediction, weights
from helpers.classes import PETS
from helpers.datasets.synthetic_pets import draw_pet
from tests import chromium

ROOT = Path(__file__).parents[1]
CDN = "https://cdn.jsdelivr.net/npm/"
SCRIPT = (ROOT / "demo/demo.js").read_text()
PACKAGE = re.search(CDN + r"(onnxruntime-web@[\d.]+)/dist/", SCRIPT)[1]
RUNTIME = re.findall(r'"(ort[\w.-]+)":\s*"sha384-', SCRIPT)
NETWORK = weights.FOLDER / prediction.WEIGHTS
OWN = ("http://127.0.0.1", "blob:", "data:")


@pytest.fixture(scope="module")
def runtime(request):
    """The folder of the CDN's files, from the npm registry; it is kept for the next time."""
    folder = request.config.cache.mkdir("browser") / PACKAGE
    if not folder.exists():
        if not shutil.which("npm"):
            pytest.skip("there is no npm here")
        pack = ["npm", "pack", "--silent", PACKAGE]
        packed = subprocess.run(pack, cwd=folder.parent, capture_output=True, text=True)
        if packed.returncode:
            pytest.skip(f"{PACKAGE} cannot be had from the npm registry")
        archive = folder.parent / packed.stdout.strip()
        with tarfile.open(archive) as files:
            contents = {name: files.extractfile(f"package/dist/{name}").read() for name in RUNTIME}
        archive.unlink()
        folder.mkdir()
        for name, content in contents.items():
            (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def address():
    """Of the page, from a clone that ``python -m http.server`` serves."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=ROOT)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/demo/"
        server.shutdown()


@pytest.fixture(scope="module")
def open_page(browser, runtime, address):
    """Opens the page, some of its files by name with other contents."""

    def answer(route, other):
        name = route.request.url.rpartition("/")[2]
        if name in other:
            route.fulfill(body=other[name], headers={"access-control-allow-origin": "*"})
        elif route.request.url.startswith(f"{CDN}{PACKAGE}/dist/"):
            route.fulfill(path=runtime / name, headers={"access-control-allow-origin": "*"})
        else:
            route.continue_()

    @contextlib.contextmanager
    def opened(other=None, viewport=chromium.DESK, **options):
        hosts = (*OWN, *(f"{CDN}{PACKAGE}/dist/{name}" for name in RUNTIME))
        with chromium.opened(browser, hosts, viewport=viewport, **options) as (page, errors):
            page.route("**/*", lambda route: answer(route, other or {}))
            page.goto(address)
            yield page, errors

    return opened


@pytest.fixture(scope="module", params=[chromium.DESK, chromium.PHONE], ids=["desk", "phone"])
def tab(request, open_page):
    """The page with the published network, and what went wrong there; shared by tests."""
    with open_page(viewport=request.param, has_touch=request.param is chromium.PHONE) as opened:
        yield opened


def put(page, path, label="Choose a photo"):
    """Puts a photo in; what the page says of it."""
    page.get_by_label(label).set_input_files(path)
    page.locator("#status:has-text('Done'), #problem:not(:empty)").wait_for()
    return page.get_by_role("alert").inner_text()


def downloaded(page, path):
    """The mask's file: a PIL image."""
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download the mask").click()
    assert waiting.value.suggested_filename == f"{path.stem}_mask.png"
    return PIL.Image.open(waiting.value.path())


def cat(path, **options):
    PIL.Image.fromarray(skimage.data.chelsea()).save(path, **options)


def turned_cat(path):
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # a quarter to the right
    cat(path, exif=exif, quality=90)


def clear_cat(path):
    picture = PIL.Image.fromarray(skimage.data.chelsea()).convert("RGBA")
    picture.putalpha(PIL.Image.linear_gradient("L").resize(picture.size))
    picture.save(path)


def synthetic_pet(path):
    picture = PIL.Image.fromarray(draw_pet(np.random.default_rng(0), 3)[0])
    picture.resize((3000, 2000), PIL.Image.Resampling.BICUBIC).save(path)


def narrow_cat(path):
    PIL.Image.fromarray(skimage.data.chelsea()[:, 200:290]).save(path)


# Of 135,300 pixels one may have two classes that are as probable, but for the last digits.
TIE = 1e-5
PHOTOS = {  # name: how it is made, and the share of pixels that may differ
    "cat.png": (cat, 0),
    "turned.jpg": (turned_cat, TIE),
    "clear.png": (clear_cat, 1e-4),  # rounded in another way where it is laid on white
    "pet.jpg": (synthetic_pet, TIE),
    "narrow.png": (narrow_cat, 0),
}


@pytest.mark.parametrize("name", PHOTOS)
def test_the_mask_is_that_of_the_command(tab, tmp_path, name):
    page, errors = tab
    make, differing = PHOTOS[name]
    make(tmp_path / name)
    assert put(page, tmp_path / name) == ""
    photo = prediction.read_photo(tmp_path / name)
    expected = prediction.predict_photo(weights.open_network(NETWORK), photo)
    mask = downloaded(page, tmp_path / name)
    ids = np.asarray(mask)
    assert mask.mode == "P" and mask.getpalette()[:9] == np.ravel(PETS.colors).tolist()
    assert ids.shape == expected.shape and np.mean(ids != expected) <= differing
    shown = chromium.pixels(page.get_by_role("img", name="Mask"))
    assert max(shown.shape) <= prediction.OVERLAY_SIDE
    if shown.shape[:2] == ids.shape:
        assert (shown[..., :3] == overlays.color_mask(ids, PETS)).all()
        drawn = chromium.pixels(page.get_by_role("img", name="Overlay"))[..., :3]
        tinted = overlays.overlay(photo, ids, PETS)
        assert np.abs(np.subtract(drawn, tinted, dtype=int)).max() <= (1 if differing > TIE else 0)
    rows = [row.inner_text().split("\t") for row in page.get_by_role("row").all()]
    counts = np.bincount(ids.ravel(), minlength=len(PETS))
    shares = [f"{100 * count / ids.size:.1f} %" for count in counts]
    assert rows == [list(row) for row in zip(PETS.names, shares)]
    assert chromium.fits(page) and errors == []


def test_a_file_that_is_no_whole_photo_shows_its_sentence(tab, tmp_path):
    page, errors = tab
    cat(tmp_path / "cat.png")
    content = (tmp_path / "cat.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[:-9999])
    (tmp_path / "letter.jpg").write_bytes(b"Dear cat")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "drawing.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9"/>')
    PIL.Image.new("1", (12_000, 9_000)).save(tmp_path / "large.png")
    assert put(page, tmp_path / "cut.png") == (
        "cut.png could not be decoded. If it opens elsewhere, it is too large for this device: "
        "make it smaller; else it is damaged or cut off: copy or download it again."
    )
    for name in ("letter.jpg", "empty.jpg", "drawing.svg"):
        assert put(page, tmp_path / name).startswith(f"{name} is no photo that this browser can")
    assert put(page, tmp_path / "large.png") == (
        "large.png is 12000 × 9000 pixels: expected at most 100 million, and 32,767 on a side. "
        "Make it smaller."
    )
    assert not page.get_by_role("link", name="Download the mask").is_visible()
    assert put(page, tmp_path / "cat.png") == "" and errors == []
    assert page.get_by_role("link", name="Download the mask").is_visible()


def test_a_photo_is_dropped_or_taken_with_the_camera(tab, tmp_path):
    page, errors = tab
    cat(tmp_path / "cat.png")
    chromium.drop(page, page.get_by_role("group", name="Photo"), tmp_path / "cat.png")
    page.get_by_text("Looking at the photo").wait_for()
    page.get_by_text("Done").wait_for()
    phone = page.viewport_size == chromium.PHONE
    assert page.get_by_text("Take a photo").is_visible() == phone
    if phone:
        assert page.get_by_label("Take a photo").get_attribute("capture") == "environment"
        assert put(page, tmp_path / "cat.png", "Take a photo") == ""
    assert errors == []


@pytest.mark.parametrize("name", RUNTIME)
def test_a_runtime_of_another_hash_is_refused(open_page, runtime, name):
    content = bytearray((runtime / name).read_bytes())
    content[-1] ^= 1
    with open_page({name: bytes(content)}) as (page, errors):
        page.get_by_text(f"{name} could not be loaded: its host does not answer, or").wait_for()
        assert "integrity" in errors[0]
    sizes = [(runtime / part).stat().st_size for part in RUNTIME]
    assert sum(sizes) + NETWORK.stat().st_size < 20e6  # as the page says


def test_classes_and_colours_are_those_of_the_networks_file(open_page, tmp_path):
    content = NETWORK.read_bytes()
    names = json.dumps(PETS.names)[1:-1], '"fur", "wallpapers", "fringe"'  # as long as before
    for there, other in (names, ("68, 1, 84", "8, 99, 84")):
        assert there.encode() in content
        content = content.replace(there.encode(), other.encode())
    cat(tmp_path / "cat.png")
    with open_page({NETWORK.name: content}) as (page, errors):
        page.get_by_text("tells apart fur, wallpapers, fringe").wait_for()
        assert put(page, tmp_path / "cat.png") == ""
        rows = [row.inner_text().split()[0] for row in page.get_by_role("row").all()]
        assert rows == ["fur", "wallpapers", "fringe"]
        assert downloaded(page, tmp_path / "cat.png").getpalette()[:3] == [8, 99, 84]
        assert errors == []


def test_a_network_that_does_not_fit_is_one_sentence(open_page):
    content = NETWORK.read_bytes()
    whole, tiles = (json.dumps({"overlap": n})[1:-1].encode() for n in (None, 1234))
    for other, words in (
        (content[:-20], "is cut off or damaged"),
        (content.replace(b'"version": 1,', b'"version": 7,'), "is not of version 1 of"),
        (content.replace(whole, tiles), "does not see photos as a whole"),
    ):
        with open_page({NETWORK.name: other}) as (page, errors):
            page.get_by_text(f"{NETWORK.name} {words}").wait_for()
            assert errors == []


def test_the_browser_lets_no_photo_out(tab):
    page, errors = tab
    send = (
        "address => fetch(address, {method: 'POST', body: 'a photo'}).then(() => 'sent', String)"
    )
    assert "TypeError" in page.evaluate(send, "http://127.0.0.1:9/")  # of another origin
    assert any("Content Security Policy" in error for error in errors)
    errors.clear()  # they are shared
