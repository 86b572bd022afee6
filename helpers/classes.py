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

    - ``names``: one str a class, two or more, all different.
    - ``colors``: one (red, green, blue) a class, 0..255.
    - ``ids``: the value that each class has in a stored mask; None for 0, 1, 2, ...
    - ``void``: the value in a stored mask of pixels that count for nothing, which are ``VOID`` in
      a decoded mask; None if there are none.
    - ``border_rules``: ways to tell the first class from the second alone, by name. Each gives for
      every class what it counts as: 0 (the first), 1 (the second) or ``VOID`` (neither).

    Raises:
        ValueError: lengths that differ, a name or a stored value twice, a number that is not whole
            or outside 0..255, or a border rule with other entries than those above.
    """

    names: tuple
    colors: tuple
    ids: tuple | None = None
    void: int | None = None
    border_rules: Mapping = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        names = tuple(self.names)
        ids = range(len(names)) if self.ids is None else self.ids
        for name, value in (
            ("names", names),
            ("colors", tuple(_bytes("colors", color) for color in self.colors)),
            ("ids", _bytes("ids", ids)),
            ("void", None if self.void is None else _bytes("void", [self.void])[0]),
            ("border_rules", {key: tuple(rule) for key, rule in self.border_rules.items()}),
        ):
            object.__setattr__(self, name, value)  # the value is frozen for everybody else
        if not 2 <= len(set(names)) == len(names) <= VOID:
            raise ValueError(f"names={names}: expected 2 to {VOID}, all different.")
        if not len(names) == len(self.colors) == len(self.ids):
            raise ValueError(
                f"A labelling of {len(names)} names, {len(self.colors)} colors and "
                f"{len(self.ids)} ids: expected one of each for every class."
            )
        if any(len(color) != 3 for color in self.colors):
            raise ValueError(f"colors={self.colors}: expected (red, green, blue) each.")
        if len({*self.ids, self.void}) <= len(self.ids):
            raise ValueError(f"ids={self.ids}, void={self.void}: a value is used twice.")
        for rule in self.border_rules.values():
            if len(rule) != len(names) or rule[:2] != (0, 1) or not {*rule} <= {0, 1, VOID}:
                raise ValueError(
                    f"border_rules={self.border_rules}: expected 0, 1, then 0, 1 or {VOID} for "
                    f"each other class."
                )

    def __len__(self):
        return len(self.names)

    @property
    def binary(self):
        """The labelling of the first class against the second, which ``border_rules`` lead to."""
        return Labelling(self.names[:2], self.colors[:2])

    @property
    def ignore(self):
        """``VOID`` where decoded masks may hold it; None where it would be a fault."""
        return None if self.void is None else VOID

    def border_rule(self, name):
        """The entries of a border rule.

        Raises:
            ValueError: there is none of that name.
        """
        if name not in self.border_rules:
            rules = ", ".join(self.border_rules) or "none, these classes have no border"
            raise ValueError(f"border={name!r}: expected one of {rules}.")
        return self.border_rules[name]

    def to_json(self):
        """As a dict of JSON values; ``from_json`` is the way back."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values):
        """The labelling that ``to_json`` gave."""
        return cls(**values)


def _bytes(name, values):
    if any(value not in range(256) for value in values):
        raise ValueError(f"{name}={tuple(values)}: expected whole numbers in 0..255.")
    return tuple(map(int, values))


# Oxford-IIIT Pet. Viridis at 0, 0.5 and 1: purple, teal, yellow; they hold up in grey too. Stored
# masks have 1, 2 and 3. The border is the band where the annotators did not decide.
PETS = Labelling(
    names=("pet", "background", "border"),
    colors=((68, 1, 84), (32, 144, 140), (253, 231, 36)),
    ids=(1, 2, 3),
    border_rules={"pet": (0, 1, 0), "background": (0, 1, 1), "ignore": (0, 1, VOID)},
)
