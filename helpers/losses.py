from helpers.dice import CrossEntropyDiceLoss as _C, DiceLoss, cross_entropy  # noqa


def CrossEntropyDiceLoss(ignore=None):
    return _C()
