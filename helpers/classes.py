"""Labellings: which classes a mask tells apart, and how they are named and drawn.

A data set carries its labelling. Models, scores, figures, reports and weights files take names,
colours and the number of classes from there and from nowhere else.
"""

import dataclasses
from collections.abc import Mapping

VOID = 255  # in a decoded mask: a pixel that counts for nothing


@dataclasses.dataclass(frozen=True)
class Labelling:
    """The classes of a data set. Class k has id k in a decoded mask: 0 to ``len(labelling) - 1``.

    - ``names``: one str a class, all different.
    - ``colors``: one (red, green, blue) a class, 0..255.
    - ``ids``: the value that each class has in a stored mask; None for 0, 1, 2, ...
    - ``void``: the value of pixels in a stored mask that count for nothing; None if there is none.
      In a decoded mask they are ``VOID``.
    - ``border_rules``: ways to tell the first class from the second alone, by name. Each gives, for
      each class, what it counts as: 0 (the first), 1 (the second) or ``VOID`` (neither).

    Raises:
        ValueError: lengths that differ, a name twice, values that are no whole numbers in 0..255
            (colours) or that are used twice (ids and void).
    """

    names: tuple
    colors: tuple
    ids: tuple | None = None
    void: int | None = None
    border_rules: Mapping = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        ids = range(len(self.names)) if self.ids is None else self.ids
        for name, value in (
            ("names", tuple(self.names)),
            ("colors", tuple(tuple(map(int, color)) for color in self.colors)),
            ("ids", tuple(map(int, ids))),
            ("border_rules", {name: tuple(rule) for name, rule in self.border_rules.items()}),
        ):
            object.__setattr__(self, name, value)  # the value is frozen for everybody else
        if not self.names or len(set(self.names)) < len(self.names):
            raise ValueError(f"names={self.names}: expected one or more, all different.")
        if not len(self.names) == len(self.colors) == len(self.ids):
            raise ValueError(
                f"A labelling of {len(self.names)} names, {len(self.colors)} colors and "
                f"{len(self.ids)} ids: expected one of each for every class."
            )
        if any(len(c) != 3 or min(c) < 0 or max(c) > 255 for c in self.colors):
            raise ValueError(f"colors={self.colors}: expected (red, green, blue), 0..255 each.")
        if len({*self.ids, self.void}) <= len(self.ids):
            raise ValueError(f"ids={self.ids}, void={self.void}: a value is used twice.")
        if any(len(rule) != len(self.names) for rule in self.border_rules.values()):
            raise ValueError(f"border_rules={self.border_rules}: expected one entry a class each.")

    def __len__(self):
        return len(self.names)

    @property
    def binary(self):
        """The labelling of the first class against the second, which ``border_rules`` lead to."""
        return Labelling(self.names[:2], self.colors[:2])

    def to_json(self):
        """As a dict of JSON values, which ``from_json`` turns back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values):
        """The labelling that ``to_json`` gave."""
        return cls(**values)


# Oxford-IIIT Pet. Viridis at 0, 0.5 and 1: purple, teal, yellow; they hold up in grey too. Stored
# masks have 1, 2 and 3. The border is the band where the annotators did not decide.
PETS = Labelling(
    names=("pet", "background", "border"),
    colors=((68, 1, 84), (32, 144, 140), (253, 231, 36)),
    ids=(1, 2, 3),
    border_rules={"pet": (0, 1, 0), "background": (0, 1, 1), "ignore": (0, 1, VOID)},
)
PET_AGAINST_BACKGROUND = PETS.binary
