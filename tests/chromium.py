"""A page in a headless Chromium, looked at pixel by pixel: what tests of several files share."""

import base64
import contextlib

import numpy as np

PHONE, DESK = {"width": 360, "height": 800}, {"width": 1280, "height": 900}


@contextlib.contextmanager
def opened(browser, hosts, **options):
    """A page without content, and what goes wrong there: a list of what its console calls an
    error, and of addresses that it asks and that do not begin with one of ``hosts``. ``options``:
    of Playwright's ``Browser.new_page``.
    """
    page, errors = browser.new_page(**options), []
    page.set_default_timeout(120_000)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: line.type == "error" and errors.append(line.text))
    page.on("request", lambda sent: sent.url.startswith(hosts) or errors.append(sent.url))
    yield page, errors
    page.close()


def drop(page, place, path):
    """Drops a file on an element, as a hand does."""
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
    place.dispatch_event("drop", {"dataTransfer": held})


def pixels(picture):
    """(H, W, 4) uint8: what an element, an image or a canvas, holds."""
    picture.scroll_into_view_if_needed()
    width, height, content = picture.evaluate(
        """async picture => {
            await picture.decode?.();
            const width = picture.naturalWidth ?? picture.width;
            const height = picture.naturalHeight ?? picture.height;
            const canvas = new OffscreenCanvas(width, height).getContext("2d");
            canvas.drawImage(picture, 0, 0);
            const values = canvas.getImageData(0, 0, width, height).data;
            const row = at => String.fromCharCode(...values.subarray(at, at + width * 4));
            const rows = Array.from({length: height}, (_, number) => row(number * width * 4));
            return [width, height, btoa(rows.join(""))];
        }"""
    )
    return np.frombuffer(base64.b64decode(content), np.uint8).reshape(height, width, 4)


def fits(page):
    """Whether nothing sticks out of the page to the right."""
    return page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
