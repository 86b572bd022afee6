"""What came of a training on one's own images: its report, with diagnosis and counts of objects,
and a contact sheet."""

from typing import NamedTuple

import cv2
import numpy as np

from experiments import publish, report
from helpers import datasets, evaluation, objects, pipeline, prediction, visualization
from helpers import weights as weights_files
from helpers.classes import VOID

SHOWN = 4  # test images of each kind on the contact sheet
PROTOCOL = (
    "Every pixel that is not void counts once, {how}; scores pooled over the images, each scored "
    "by a network that has not seen it; 95 % bootstrap intervals over images."
)


class Trained(NamedTuple):
    """A trained network, of one fold where there are several.

    - ``dataset``: datasets.Dataset, of whole images.
    - ``network``: weights.Network, as it is in the file, and ``file``, what ``weights.save`` gave.
    - ``counts``: evaluation.Counts of the test split, by image.
    - ``validation``, ``histories``: by loss, the scores on validation and the training's history.
    - ``temperature``: that its logits were divided by, see ``helpers.calibration``.
    """

    dataset: datasets.Dataset
    network: weights_files.Network
    file: dict
    counts: evaluation.Counts
    validation: dict
    histories: dict
    temperature: float


def summarize(results, how, settings):
    """The report on all folds, and its contact sheet.

    Args:
        results: list of Trained.
        how: in words, how images come to the network's size.
        settings: dict of JSON values, what else belongs to the report.

    Returns:
        dict, ready for JSON, and a matplotlib Figure.
    """
    first, labelling = results[0], results[0].dataset.labelling
    counts = evaluation.joined([trained.counts for trained in results])
    result = report.report(counts, first.dataset)
    chosen = [n for kind in ("worst", "median") for n, _ in result[f"{kind}_images"][:SHOWN]]
    size, shown, areas = first.network.model.input_shape[1:3], {}, ([], [])
    for name, *pictures in (one for trained in results for one in predicted(trained)):
        for found, ids in zip(areas, pictures[1:]):
            found.append(objects.areas(ids, labelling))
        if name in chosen:
            shown[name] = [_resized(picture, size) for picture in pictures]
    source = datasets.describe(first.dataset, "test")
    if len(results) > 1:
        source = f"{first.dataset.name}, {len(results)} folds ({len(counts.matrices):,} images)"
    of_each = [evaluation.scores(trained.counts.matrices.sum(axis=0)) for trained in results]
    result |= {
        "classes": list(labelling.names),
        "images": len(counts.matrices),
        "input_size": list(size),
        "data_source": source,
        "protocol": PROTOCOL.format(how=how),
        **settings,
        "validation": [trained.validation for trained in results],
        "test_mean_iou": [scores["mean_iou"] for scores in of_each],
        "train_seconds": sum(sum(h["seconds"]) for t in results for h in t.histories.values()),
        "diagnosis": diagnosis(result, labelling.names, first.histories),
        "objects": dict(zip(("true", "predicted"), map(objects.summary, areas))),
        "weights": [trained.file for trained in results],
        **publish.environment(),
    }
    names = list(dict.fromkeys(chosen))
    photos, truths, guesses = map(np.stack, zip(*(shown[name] for name in names)))
    sheet = visualization.plot_predictions(
        photos, truths, guesses, labelling=labelling, source=source, names=names
    )
    return result, sheet


def predicted(trained):
    """Yields of each test image, at its own size: name, photo (H, W, 3) uint8, of other channels
    than RGB the first three or the first alone; truth (H, W) uint8; and what is predicted, (H, W)
    uint8, void where the truth is."""
    labelling = trained.dataset.labelling
    for record in datasets.read_records(trained.dataset, "test").as_numpy_iterator():
        image = pipeline.decode_image(record["image"], trained.dataset.channels).numpy()
        truth = pipeline.decode_mask(record["segmentation_mask"], labelling).numpy()[..., 0]
        ids = prediction.predict_photo(trained.network, image)
        photo = prediction.rgb(image)
        yield record["file_name"].decode(), photo, truth, np.where(truth == VOID, VOID, ids)


def diagnosis(result, names, histories):
    """Sentences on what went wrong, with likely causes; none where nothing did.

    Args:
        result: dict with ``confusion_matrix`` and ``pixel_accuracy``.
        names: of the classes.
        histories: by loss.
    """
    matrix = np.array(result["confusion_matrix"], float)
    true, found = (matrix.sum(axis=axis) / matrix.sum() for axis in (1, 0))
    never = [name for name, t, f in zip(names, true, found) if t > 0 and f == 0]
    untried = [name for name in ("class_weights", "tversky") if name not in histories]
    words, balance = [], "--loss " + " ".join(untried) if untried else "more images with them"
    if found.max() > 0.995 and true.max() < 0.985:
        words.append(
            f"Nothing was learnt: nearly every pixel is taken for {names[found.argmax()]}. Likely "
            f"causes: masks that are read wrongly or belong to other images (look at "
            f"predictions.png), rare classes ({balance}), objects too small at the network's size "
            f"(--tile), too few images or epochs."
        )
    elif result["pixel_accuracy"] < true.max() + 0.01:
        words.append(
            f"No better than taking every pixel for {names[true.argmax()]}, which is right for "
            f"{100 * true.max():.1f} %. Look at the scores by class, and try {balance}."
        )
    elif never:
        words.append(f"Never predicted: {', '.join(never)}. Try {balance}, or --tile.")
    for name, history in histories.items():
        seen, unseen = history["mean_dice"][-1], history["val_mean_dice"][-1]
        if seen - unseen > 0.25:
            words.append(
                f"Overfits with {name}: mean Dice {seen:.2f} in training, {unseen:.2f} on "
                f"validation. More images help most; then --augmentation elastic."
            )
    return words


def table(result):
    """The report's main numbers as text."""
    lines = [f"{result['data_source']}, 95 % intervals over images"]
    for name in ("pixel_accuracy", "mean_iou", "mean_dice"):
        lines.append(_line(name.replace("_", " "), result[name], result["intervals"][name]))
    lines.append(
        f"{'class':24} {'IoU':>6} {'interval':>18} {'Dice':>6} {'objects true, predicted'}"
    )
    for number, name in enumerate(result["classes"]):
        counts = [result["objects"][kind][name]["count"] for kind in ("true", "predicted")]
        iou = _line(name, result["iou"][number], result["intervals"]["iou"][number])
        lines.append(f"{iou} {result['dice'][number]:6.3f} {counts[0]:6,}, {counts[1]:,}")
    return "\n".join(lines + result["diagnosis"])


def _line(name, value, interval):
    return f"{name:24} {value:6.3f}  ({interval[0]:.3f} to {interval[1]:.3f})"


def _resized(picture, size):
    how = cv2.INTER_AREA if picture.ndim == 3 else cv2.INTER_NEAREST
    return cv2.resize(picture, size[::-1], interpolation=how)
