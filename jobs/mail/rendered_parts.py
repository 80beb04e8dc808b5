"""Subject, text and HTML of a mail, as a template or a backend's own engine made them."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class RenderedParts:
    """The three parts with their values filled in."""

    subject: str = field(repr=False)
    text: str = field(repr=False)
    html: str = field(repr=False)
    unused: tuple[str, ...] = ()
    """Given values that no part names."""
