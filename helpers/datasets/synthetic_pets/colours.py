"""Colours, (R, G, B) in 0..255."""

FUR = {
    "black": (46, 43, 46), "grey": (128, 130, 136), "blue": (108, 118, 130),
    "white": (238, 234, 226), "cream": (232, 208, 170), "ginger": (206, 126, 62),
    "red": (160, 84, 48), "brown": (116, 78, 54), "dark": (72, 55, 46),
    "sand": (200, 164, 116), "silver": (184, 184, 186), "pink": (224, 180, 164),
}  # fmt: skip
DARK, PALE = (38, 28, 32), (242, 236, 224)
BRIGHT = [(196, 70, 60), (64, 120, 160), (226, 178, 66), (88, 140, 108), (150, 96, 150)]


def jitter(rng, colour, amount=0.06):
    """A colour near ``colour``, its brightness changed more than its hue."""
    factor = 1 + rng.normal(0, amount)
    change = rng.normal(0, amount / 4, 3).tolist()
    return tuple(int(min(250, max(8, c * (factor + d)))) for c, d in zip(colour, change))


def pick(rng, colours):
    """One of ``colours``, a little changed."""
    return jitter(rng, colours[rng.integers(len(colours))], 0.05)


def mix(colour, other, share):
    """The colour with a share of another one in it."""
    return tuple(int(a + (b - a) * share) for a, b in zip(colour, other))
