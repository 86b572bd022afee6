"""A folder of images and masks becomes a data set; a broken one, a sentence."""

import json
import os

import numpy as np
import PIL.Image
import pytest

from helpers import datasets, pipeline
from helpers.classes import VOID
from helpers.datasets import folder
from helpers.datasets.folder import Splitting

RED, GREEN, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 0)
SQUARES = np.kron(np.array([[0, 1, 2], [2, 0, 1], [1, 2, 0]], np.uint8), np.ones((8, 8), np.uint8))


def photo(seed=0, size=(24, 24), channels=3):
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, channels), np.uint8)
    return np.kron(small, np.ones((-(-size[0] // 6), -(-size[1] // 6), 1), np.uint8))[
        : size[0], : size[1]
    ]


def save(path, values, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix in (".json", ".txt", ".csv"):
        path.write_text(values if isinstance(values, str) else json.dumps(values), "utf-8")
    else:
        image = PIL.Image.fromarray(values) if isinstance(values, np.ndarray) else values
        image.save(path, **options)


def ids(values):
    """The squares with other values than 0, 1, 2."""
    return np.array(values, np.uint16 if max(values) > 255 else np.uint8)[SQUARES]


def fill(root, mask=SQUARES, image=".png", ending=".png", names="abcdef", **options):
    """Six images and masks."""
    for seed, name in enumerate(names):
        save(root / f"images/{name}{image}", photo(seed))
        save(root / f"masks/{name}{ending}", mask, **options)
    return root / "images", root / "masks"


def opened(images, masks, splitting=None):
    return folder.dataset_of(folder.look(images, masks), splitting).dataset


def first_mask(found, **options):
    """The mask of the first example, as the pipeline decodes it."""
    dataset = folder.dataset_of(found).dataset
    splits = [datasets.read_records(dataset, split) for split in datasets.SPLITS]
    records = {r["file_name"].decode(): r for s in splits for r in s.as_numpy_iterator()}
    record = records[min(records)]
    return pipeline.decode_mask(record["segmentation_mask"], dataset.labelling).numpy()[..., 0]


# ------------------------------------------------------------------------------- kinds of masks

COLORED = np.array([BLACK, RED, GREEN], np.uint8)[SQUARES]
VOIDED = np.where(np.arange(24)[:, None] < 3, 255, SQUARES).astype(np.uint8)
CVAT = "# label:color_rgb:parts:actions\nsky:0,0,0::\ncar:255,0,0::\nx:0,255,0::"
NAMES = ("class 0", "class 1", "class 2")


@pytest.mark.parametrize(
    "mask, table, names",
    [
        (SQUARES, {}, NAMES),
        (ids([3, 17, 200]), {}, ("class 3", "class 17", "class 200")),
        (SQUARES, {"classes.txt": "sky\ncar\ntree"}, ("sky", "car", "tree")),
        (
            ids([7, 4, 9]),
            {"_classes.csv": "Pixel Value, Class\n 7, a b\n 4, c\n 9, d"},
            ("a b", "c", "d"),
        ),
        (COLORED, {}, ("#000000", "#00ff00", "#ff0000")),
        (COLORED, {"labelmap.txt": CVAT}, ("sky", "car", "x")),
        (
            COLORED,
            {"class_dict.csv": "name,r,g,b\nsky,0,0,0\ncar,255,0,0\nx,0,255,0"},
            ("sky", "car", "x"),
        ),
        (SQUARES[..., None].repeat(3, -1), {}, NAMES),
        (ids([0, 1, 300]), {}, ("class 0", "class 1", "class 300")),
    ],
    ids=["ids", "gaps", "names", "roboflow", "colours", "cvat", "csv", "grey as RGB", "16 bit"],
)
def test_a_mask_of_any_kind_gives_the_same_classes(tmp_path, mask, table, names):
    paths = fill(tmp_path, mask)
    for name, text in table.items():
        save(tmp_path / "masks" / name, text)
    found = folder.look(*paths)
    assert found.encoding.labelling.names == names
    decoded, order = first_mask(found), np.unique(mask.reshape(24 * 24, -1), axis=0)
    for one in order:  # whatever ids they got, the regions are those of the file
        region = (mask.reshape(24, 24, -1) == one).all(-1)
        assert len(np.unique(decoded[region])) == 1
    assert len(np.unique(decoded)) == 3
    assert all(name in folder.describe(found) for name in names)


def test_a_palette_png_gives_its_ids_and_colours_and_255_is_void(tmp_path):
    mask = PIL.Image.fromarray(VOIDED)
    mask.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0] + [224] * (3 * 253))
    found = folder.look(*fill(tmp_path, mask))
    labelling = found.encoding.labelling
    assert labelling.colors == (BLACK, (128, 0, 0), (0, 128, 0)) and labelling.void == VOID
    assert np.array_equal(first_mask(found), VOIDED)
    assert "Counts for nothing: class 255 (255)" in folder.describe(found)


def test_a_palette_png_follows_a_table_of_colours(tmp_path):
    mask = PIL.Image.fromarray(SQUARES)
    mask.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    found = folder.look(*fill(tmp_path, mask), classes={"x": GREEN, "y": RED, "z": BLACK})
    assert np.array_equal(first_mask(found), ids([2, 1, 0]))


def test_0_and_255_are_two_classes(tmp_path):
    paths = fill(tmp_path, ids([0, 255, 255]))
    assert folder.look(*paths).encoding.labelling.names == ("class 0", "class 255")
    found = folder.look(*paths, classes=["membrane", "cell"])
    assert found.encoding.labelling.names == ("membrane", "cell")
    assert np.array_equal(first_mask(found), ids([0, 1, 1]))
    assert folder.look(*paths, classes="a=0, b=255").encoding.labelling.names == ("a", "b")


@pytest.mark.parametrize("void", [["tree"], [2], None])
def test_void_is_named_by_name_or_value_or_is_called_so(tmp_path, void):
    third = "void" if void is None else "tree"
    found = folder.look(*fill(tmp_path), classes=["sky", "car", third], void=void)
    assert found.encoding.labelling.names == ("sky", "car")
    assert np.array_equal(first_mask(found), ids([0, 1, VOID]))


def test_a_class_that_no_mask_has_is_left_out_and_said(tmp_path):
    found = folder.look(*fill(tmp_path), classes=["sky", "car", "tree", "unicorn"])
    assert len(found.encoding.labelling) == 3
    assert "Left out, in no mask: unicorn" in folder.describe(found)


def test_smoothed_and_jpeg_masks_are_snapped_where_asked(tmp_path):
    soft = PIL.Image.fromarray(COLORED).resize((96, 96)).resize((24, 24))
    for ending in (".png", ".jpg"):
        paths = fill(tmp_path / ending[1:], soft, ending=ending)
        with pytest.raises(ValueError, match="snap"):
            folder.look(*paths)
        table = {"sky": BLACK, "car": RED, "tree": GREEN}
        with pytest.raises(ValueError, match="snap"):
            folder.look(*paths, classes=table)
        decoded = first_mask(folder.look(*paths, classes=table, snap=True))
        assert (decoded == SQUARES).mean() > 0.9


def test_labelme(tmp_path):
    fill(tmp_path, names="abc")
    shapes = [
        {"label": "cell", "points": [[2, 2], [12, 2], [12, 12], [2, 12]], "shape_type": "polygon"},
        {"label": "core", "points": [[4, 4], [6, 6]], "shape_type": "rectangle"},
        {"label": "__ignore__", "points": [[20, 20], [20, 23]], "shape_type": "circle"},
    ]
    for name in "abc":
        save(
            tmp_path / f"json/{name}.json", {"shapes": shapes, "imageHeight": 24, "imageWidth": 24}
        )
    found = folder.look(tmp_path / "images", tmp_path / "json")
    assert set(found.encoding.labelling.names) == {"background", "cell", "core"}
    mask, names = first_mask(found), found.encoding.labelling.names
    assert [names[mask[place]] for place in ((0, 0), (3, 3), (5, 5))] == [
        "background",
        "cell",
        "core",
    ]
    assert mask[20, 20] == VOID


def coco(**changes):
    image = [
        {"id": n, "file_name": f"{name}.png", "height": 24, "width": 24}
        for n, name in enumerate("abc")
    ]
    outline = [[2, 2, 14, 2, 14, 14, 2, 14]]
    run = {"size": [24, 24], "counts": [0, 24 * 4, 24 * 20]}  # the first four columns
    annotations = [
        {"id": n, "image_id": n, "category_id": 5, "segmentation": outline} for n in range(3)
    ]
    annotations += [{"id": 9, "image_id": 0, "category_id": 5, "segmentation": run, "iscrowd": 1}]
    categories = [{"id": 5, "name": "cell"}]
    return {"images": image, "annotations": annotations, "categories": categories, **changes}


def test_coco(tmp_path):
    pytest.importorskip("pycocotools")
    fill(tmp_path, names="abcd")
    save(tmp_path / "all.json", coco())
    found = folder.look(tmp_path / "images", tmp_path / "all.json")
    assert found.encoding.labelling.names == ("background", "cell")
    mask = first_mask(found)
    assert mask[5, 10] == 1 and mask[5, 1] == VOID and mask[20, 20] == 0
    assert mask[5, 3] == 1  # an object lies on the crowd
    assert any("d.png" in sentence for sentence in found.ignored)


# -------------------------------------------------------------------------------------- pairing


@pytest.mark.parametrize(
    "image, mask",
    [
        ("0001_1.jpg", "0001_1_L.png"),
        ("x.JPG", "X_mask.png"),
        ("b_leftImg8bit.png", "b_gtFine_labelIds.png"),
        ("Zürich/é.png", "Zürich/e\u0301.png"),  # as Linux and as a Mac write it
        ("x.rf.12ab.jpg", "x.rf.12ab_mask.png"),
        ("12_sat.jpg", "12_mask.png"),
        ("image_3.png", "mask_3.png"),
        ("sub/7.png", "7.png"),
    ],
)
def test_names_that_belong_together(tmp_path, image, mask):
    save(tmp_path / "i" / image, photo())
    save(tmp_path / "m" / mask, SQUARES)
    (pair,) = folder.pairs.find_pairs(tmp_path / "i", tmp_path / "m").pairs
    assert pair.name == image and pair.mask.path == tmp_path / "m" / mask


@pytest.mark.parametrize(
    "image, mask",
    [
        ("images/{}/{}.png", "masks/{}/{}.png"),
        ("{}/images/{}.png", "{}/masks/{}.png"),
        ("{}/{}.png", "{}annot/{}.png"),
        ("{}/{}.png", "{}/{}_mask.png"),
    ],
)
@pytest.mark.parametrize("validation", ["val", "valid"])
def test_folders_say_the_splits(tmp_path, image, mask, validation):
    for seed, (split, name) in enumerate(
        [("train", "a"), ("train", "b"), (validation, "a"), ("test", "c")]
    ):
        save(tmp_path / image.format(split, name), photo(seed))
        save(tmp_path / mask.format(split, name), SQUARES)
    save(tmp_path / "train/_classes.csv", "Pixel Value, Class\n0, a\n1, b\n2, c")
    dataset = opened(tmp_path, tmp_path)
    assert dataset.sizes == {"train": 2, "validation": 1, "test": 1}
    assert dataset.labelling.names == ("a", "b", "c")
    assert "official test split (1)" in datasets.describe(dataset, "test")


def test_what_is_not_used_is_listed(tmp_path):
    paths = fill(tmp_path)
    save(paths[0] / "lonely.png", photo())
    save(paths[1] / "orphan.png", SQUARES)
    save(paths[0] / "notes.txt", "")
    text = folder.describe(folder.look(*paths))
    assert "Ignored: images without a mask: 1 (lonely.png)" in text
    assert "Ignored: masks without an image: 1 (orphan.png)" in text
    assert "Ignored: files of other kinds: 1 (notes.txt)" in text


# --------------------------------------------------------------------------------------- images


def record_of(root, image, name="a.png", **reading):
    """The image of the record, decoded, of a folder where one image is another."""
    images, masks = fill(root, names="bcd")
    save(masks / "a.png", SQUARES)
    if callable(image):
        image(images / name)
    else:
        save(images / name, image)
    found = folder.look(images, masks, **reading)
    content, _, _ = folder._record(found, found.examples[0])
    return pipeline.tf.io.decode_jpeg(content, channels=3).numpy(), content


def test_a_jpeg_stays_as_it_is(tmp_path):
    _, content = record_of(tmp_path, photo(), "a.jpg")
    assert content == (tmp_path / "images/a.jpg").read_bytes()


@pytest.mark.parametrize(
    "image, name, expected",
    [
        (photo()[..., 0], "a.png", photo()[..., :1]),
        (photo()[..., 0].astype(np.uint16) * 256, "a.tif", photo()[..., :1]),
        (np.dstack([photo(), SQUARES * 0]), "a.png", photo() * 0 + 255),  # transparent: white
        (photo(), "a.tiff", photo()),
        (photo(channels=5), "a.npy", photo(channels=5)[..., [4, 1, 0]]),
    ],
    ids=["grey", "16 bit", "transparent", "TIFF", "five channels"],
)
def test_images_of_any_kind_become_rgb_of_8_bits(tmp_path, image, name, expected):
    bands = (4, 1, 0) if name == "a.npy" else None
    if bands:  # all of a folder are of a kind
        for other in "bcd":
            save(tmp_path / f"images/{other}.npy", photo(channels=5))
            save(tmp_path / f"masks/{other}.png", SQUARES)
        save(tmp_path / "masks/a.png", SQUARES)
        save(tmp_path / "images/a.npy", image)
        found = folder.look(tmp_path / "images", tmp_path / "masks", bands=bands)
        decoded = folder.images.read(found.examples[0].pair.image, bands).pixels
    else:
        decoded, _ = record_of(tmp_path, image, name)
    assert np.array_equal(decoded, np.broadcast_to(expected, decoded.shape))


def test_a_tiff_of_five_channels(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(
        tmp_path / "a.tif", photo(channels=5), planarconfig="contig", photometric="minisblack"
    )
    picture = folder.images.read(tmp_path / "a.tif", (4, 1, 0))
    assert np.array_equal(picture.pixels, photo(channels=5)[..., [4, 1, 0]])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_stored_turned_stands_upright_and_its_mask_with_it(tmp_path, orientation):
    upright = photo(3, (24, 36))
    truth = (upright[..., 0] > 127).astype(np.uint8)
    back = {5: 5, 6: 8, 7: 7, 8: 6}.get(orientation, orientation)
    stored = folder.images.turned(upright, back)
    exif = PIL.Image.Exif()
    exif[folder.images.ORIENTATION] = orientation

    def write(path):
        PIL.Image.fromarray(stored).save(path, exif=exif)
        save(tmp_path / "masks/a.png", folder.images.turned(truth, back))

    if 1 < orientation < 5:  # both look alike: there is no telling
        with pytest.raises(ValueError, match="save the image upright"):
            record_of(tmp_path, write)
        return
    decoded, _ = record_of(tmp_path, write)
    assert np.array_equal(decoded, upright)
    found = folder.look(tmp_path / "images", tmp_path / "masks")
    assert np.array_equal(first_mask(found), truth)


def test_images_of_16_bits_that_are_nearly_black_are_doubted(tmp_path):
    paths = fill(tmp_path)
    save(paths[0] / "a.png", photo()[..., 0].astype(np.uint16) * 8)
    assert "nearly black" in folder.describe(folder.look(*paths))


# --------------------------------------------------------------------------------------- splits


def members(count=60, classes=3, seed=0, hashes=None, **splitting):
    rng = np.random.default_rng(seed)
    presence = rng.random((count, classes)) < [1.0, 0.5, 0.1]
    names = [f"patient{n // 4}_{n}.png" for n in range(count)]
    hashes = rng.integers(0, 2**62, count) if hashes is None else hashes
    parts, words = folder.splits.split(
        names, [None] * count, presence, hashes, Splitting(**splitting)
    )
    assert sorted(sum(parts.values(), [])) == list(range(count))
    return parts, presence, words


def test_drawn_splits_have_each_class_in_its_share_of_images():
    parts, presence, _ = members()
    assert [len(own) for own in parts.values()] == [42, 9, 9]
    for own, share in zip(parts.values(), (0.7, 0.15, 0.15)):
        assert np.abs(presence[own].sum(axis=0) - share * presence.sum(axis=0)).max() <= 1
    assert parts == members()[0] and parts != members(seed=0, share=0.2)[0]


def test_groups_and_images_that_look_alike_stay_together():
    parts, *_ = members(group=r"patient\d+")
    for own in parts.values():
        assert {n // 4 for n in own}.isdisjoint(
            n // 4 for part in parts.values() if part != own for n in part
        )
    hashes = np.random.default_rng(1).integers(0, 2**62, 60)
    hashes[1::2] = hashes[::2] ^ 5  # pairs that differ in two bits
    parts, _, words = members(hashes=hashes)
    assert all(n ^ 1 in own for own in parts.values() for n in own)
    assert "60 images look like others" in words[-1]


def test_a_list_is_read_by_the_most_exact_name(tmp_path):
    names = ["a/001.jpg", "a/002.jpg", "b/001.jpg", "002.jpg"]
    save(tmp_path / "list.txt", "b/001 test\nx/a/001.jpg train\n")
    splitting = Splitting(file=tmp_path / "list.txt")
    with pytest.raises(ValueError, match="fits a/001.jpg and b/001.jpg: name the image with its"):
        folder.splits.split(names, [None] * 4, None, [0] * 4, splitting)
    save(tmp_path / "list.txt", "b/001 test\na/001.jpg train\na/002 train\n002.png val\n")
    assert folder.splits._listed(names, splitting.file) == ["train", "train", "test", "validation"]


def test_every_image_is_tested_in_one_of_the_folds():
    folds = [members(count=31, folds=5, fold=number)[0] for number in range(5)]
    assert sorted(n for parts in folds for n in parts["test"]) == list(range(31))
    assert all(parts["validation"] and len(parts["train"]) > 15 for parts in folds)


def test_a_list_says_the_splits(tmp_path):
    paths = fill(tmp_path)
    save(tmp_path / "splits.csv", "a.png,train\nb,val\nc.png,test\nd train\n")
    dataset = opened(*paths, Splitting(file=tmp_path / "splits.csv"))
    assert dataset.sizes == {"train": 2, "validation": 1, "test": 1}
    for split, names in (("train", "a\nb"), ("val", "c"), ("test", "e\nf")):
        save(tmp_path / f"lists/{split}.txt", names)
    dataset = opened(*paths, Splitting(file=tmp_path / "lists"))
    assert [r["file_name"] for r in dataset.read("test").as_numpy_iterator()] == [
        b"e.png",
        b"f.png",
    ]


# ---------------------------------------------------------------------------------- broken ones


def save_as(name, content):
    return lambda root: (root / name).write_bytes(content)


def put(values, *names, instead=()):
    """A change of a folder: files that are saved, and others that are removed."""

    def change(root):
        for name in instead:
            (root / name).unlink()
        for name in names:
            save(root / name, values)

    return change


def remove(pattern):
    return lambda root: [path.unlink() for path in root.glob(pattern)]


def rename(root):
    for path in (root / "masks").iterdir():
        path.rename(path.with_stem(f"q{path.stem}1"))


def cut_off(root):
    content = (root / "images/a.png").read_bytes()
    (root / "images/a.png").write_bytes(content[: len(content) // 2])


def make_tiny(root):
    save(root / "images/a.png", photo()[:1, :1])
    save(root / "masks/a.png", SQUARES[:1, :1])


def put_photos(root):
    for seed, name in enumerate("abcdef"):
        save(root / f"masks/{name}.png", photo(seed))


def link_to_nothing(root):
    os.symlink(root / "gone", root / "images/z.png")
    save(root / "masks/z.png", SQUARES)


MASKS = [f"masks/{name}.png" for name in "abcdef"]
TABLE = "masks/classes.txt"
IMAGE, MASK = ("images/a.png",), ("masks/a.png",)


def drawn(*shapes, size=24):
    content = {"shapes": shapes, "imageHeight": size, "imageWidth": size} if shapes else {"a": 1}
    return put(content, *[f"masks/{name}.json" for name in "abcdef"], instead=MASKS)


POLYGON = {"label": "x", "points": [[1, 1, 0], [9, 1, 0], [9, 9, 0]]}
LINE = {"label": "x", "points": [[1, 1], [2, 2]], "shape_type": "line"}
# what is done to six good images and masks; what the sentence says: file, fault and remedy
FILES = {
    "empty image": (save_as("images/a.png", b""), "images/a.png is empty: copy"),
    "empty mask": (save_as("masks/a.png", b""), "masks/a.png is empty: copy"),
    "cut off": (cut_off, "images/a.png is damaged or cut off .*: copy"),
    "no picture": (save_as("images/a.png", b"hello"), "images/a.png is no picture.*: save"),
    "other size": (put(SQUARES[:20], *MASK), "masks/a.png is 20 x 24 .* 24 x 24.*: export"),
    "one pixel": (make_tiny, "images/a.png is 1 x 1 pixels.*delete"),
    "other kind": (put(COLORED, *MASK), "masks/a.png is a mask of colours, .*: convert"),
    "transparent": (put(np.dstack([COLORED, SQUARES]), *MASK), "a.png has half-transp.*: save"),
    "fractions": (
        put(SQUARES / 2, "masks/a.npy", instead=MASK),
        "a.npy holds float64.*: expected",
    ),
    "two masks": (put(SQUARES, "masks/a_mask.png"), "a.png has 2 masks, a.png, a_mask.png: keep"),
    "two images": (put(photo(), "images/a.jpg"), "a.jpg and a.png have one mask, a.png: keep"),
    "void alone": (put(ids([255] * 3), *MASK), "masks/a.png holds void alone: leave it out"),
    "link in a circle": (
        lambda root: os.symlink(root / "images", root / "images/again"),
        "images/again is a link to a folder that it lies in: remove",
    ),
    "link to nothing": (link_to_nothing, "images/z.png leads nowhere: "),
    "channels": (
        put(photo(channels=5), "images/a.npy", instead=IMAGE),
        "a.npy has 5 channels: name .* bands",
    ),
    "32 bits": (
        put(photo()[..., 0] / np.float32(255), "images/a.tif", instead=IMAGE),
        "a.tif holds float32, .*: scale",
    ),
}
FOLDERS = {
    "no folder": (
        lambda root: (root / "images").rename(root / "x"),
        "There is no folder .*: give",
    ),
    "no images": (remove("images/*"), "images holds no images: expected"),
    "no masks": (remove("masks/*"), "masks holds no masks: expected"),
    "no pair": (rename, "No image .*same name.* a.png and qa1.png. Name"),
    "swapped": (put_photos, "as photographs do: give the images first"),
    "one class": (put(SQUARES * 0, *MASKS), "1 class beside void.*: look whether"),
    "too few": (remove("images/[a-d]*"), "There are 2 images with masks: expected 3"),
    "no JSON": (put("{", "masks/a.json", instead=MASKS), "a.json is no valid JSON.*: export"),
    "a list": (put([1], "masks/a.json", instead=MASKS), "a.json is no annotation file: expected"),
    "other JSON": (drawn(), "masks/a.json is neither COCO .*: export"),
    "a line": (drawn(LINE), "a.json has a line of 2 points, 'x': expected polygons"),
    "points in space": (
        drawn(POLYGON),
        "a.json has 'x' with points that are not two numbers: exp",
    ),
    "incomplete JSON": (drawn({"label": "x"}), "a.json is incomplete .*: export"),
    "drawn on another size": (
        drawn({**LINE, "shape_type": "circle"}, size=30),
        "a.json is 30 x 30",
    ),
    "a name twice": (put("a,1\nb,1", TABLE), "classes.txt has the id 1 twice: give"),
    "no table": (put("a,1\nb,2,3,4\nc", TABLE), "classes.txt is no table of classes: expected"),
    "no such class": (
        put("a\nb", TABLE),
        "a.png holds 2, which is no class in .*classes.txt: add",
    ),
}


@pytest.mark.parametrize("kind", [*FILES, *FOLDERS])
def test_a_broken_folder_gets_one_sentence(tmp_path, kind):
    change, expected = {**FILES, **FOLDERS}[kind]
    images, masks = fill(tmp_path)
    change(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ValueError, match=expected):
        folder.look(images, masks)
    if kind in FILES:  # the others are enough
        found = folder.look(images, masks, skip_bad=True)
        assert len(found.faults) == 1 and len(found.examples) >= 5
        assert f"Left out: {found.faults[0]}" in folder.describe(found)
    assert sorted(tmp_path.rglob("*")) == before  # nothing is written there


def test_a_class_in_test_that_train_lacks(tmp_path):
    paths = fill(tmp_path)
    save(paths[1] / "f.png", ids([0, 1, 7]))
    save(
        tmp_path / "s.txt",
        "".join(f"{n} {s}\n" for n, s in zip("abcdef", ("train",) * 4 + ("val", "test"))),
    )
    with pytest.raises(
        ValueError, match="f.png has the class class 7, which no training image has: move"
    ):
        opened(*paths, Splitting(file=tmp_path / "s.txt"))


@pytest.mark.parametrize(
    "splitting, expected",
    [
        ({"group": r"patient\d+"}, "a.png has no group.*pattern"),
        ({"group": "["}, "'\\[' is no regular expression"),
        ({"folds": 9}, "expected 2 to 6 folds"),
        ({"file": "s.txt"}, "the line 'nobody train': expected an image"),
        ({"file": "twice.txt"}, "a.png is listed under train and test: keep one"),
        ({"file": "empty"}, "is no list of splits"),
    ],
)
def test_a_splitting_that_does_not_fit(tmp_path, splitting, expected):
    paths = fill(tmp_path)
    save(tmp_path / "s.txt", "nobody train")
    save(tmp_path / "twice.txt", "a train\na.png test")
    if "file" in splitting:
        splitting = {"file": tmp_path / splitting["file"]}
    with pytest.raises(ValueError, match=expected):
        opened(*paths, Splitting(**splitting))


def test_coco_that_is_broken_is_one_sentence(tmp_path):
    pytest.importorskip("pycocotools")
    fill(tmp_path, names="abc")
    outlines = coco()["annotations"]
    outlines[0] |= {"segmentation": [[2, 2]]}
    for changes, expected in (
        ({"images": [{"id": 1}]}, "all.json is incomplete .*'file_name'.*: export"),
        ({"images": None}, "all.json is incomplete"),
        ({"annotations": outlines}, "all.json has an outline of 'cell' that is no polygon.*: exp"),
    ):
        save(tmp_path / "all.json", coco(**changes))
        with pytest.raises(ValueError, match=expected):
            folder.look(tmp_path / "images", tmp_path / "all.json")


def test_a_long_list_of_classes_is_not_taken_for_a_file(tmp_path):
    classes = ", ".join(f"class {n}={n}" for n in range(60))
    assert len(folder.look(*fill(tmp_path), classes=classes).encoding.labelling) == 3


def test_labels_have_no_nearest_one(tmp_path):
    drawn({"label": "x", "points": [[1, 1], [9, 9]], "shape_type": "rectangle"})(
        fill(tmp_path)[0].parent
    )
    with pytest.raises(ValueError, match="labels, of which none is nearest: name each"):
        folder.look(tmp_path / "images", tmp_path / "masks", classes="y=1", snap=True)


def test_folders_in_one_another_are_the_same_however_they_are_named(tmp_path, monkeypatch):
    images, masks = fill(tmp_path)
    (tmp_path / "images").rename(tmp_path / "data")
    masks.rename(tmp_path / "data/masks")
    monkeypatch.chdir(tmp_path)
    for images in ("data", tmp_path / "data", "data/../data"):
        assert len(folder.look(images, "data/masks").examples) == 6


def test_coco_without_pycocotools_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pycocotools", None)
    fill(tmp_path)
    save(tmp_path / "all.json", coco())
    with pytest.raises(ImportError, match="pip install pycocotools"):
        folder.look(tmp_path / "images", tmp_path / "all.json")
