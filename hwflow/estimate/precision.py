"""Types as hls4ml and the reports write them: `fixed<16,6>`, `array<ufixed<8,0,...>,32*1>`."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SCALAR = re.compile(
    r"^(?:ap_|ac_)?(?P<name>u?fixed|u?int)\s*<\s*(?P<width>\d{1,4})\s*"
    r"(?:,\s*(?P<integer>-?\d{1,4})\s*(?P<modes>(?:,\s*\w+\s*)*))?>$"
)
_ARRAY = re.compile(
    r"^(?:nnet::)?array\s*<\s*(?P<scalar>.+)\s*,\s*(?P<size>\d{1,7})\s*"
    r"(?:\*\s*(?P<more>\d{1,7})\s*)?>$"
)
MAX_WIDTH = 1024


@dataclass(frozen=True)
class Precision:
    """A type in a row.

    Attributes:
        width: total bits.
        integer_bits: bits left of the point, the sign included.
        signed: two's complement.
        rounds: rounds to nearest rather than truncating.
        saturates: saturates rather than wrapping.
        elements: values a beat carries; 0 for a type that is not a stream's.
    """

    width: int
    integer_bits: int
    signed: bool = True
    rounds: bool = False
    saturates: bool = False
    elements: int = 0

    @property
    def fraction_bits(self) -> int:
        """Bits right of the point."""
        return self.width - self.integer_bits


def parse_precision(text: str) -> Precision:
    """Reads a type.

    Raises:
        ValueError: if it is none, with what would be one.
    """
    cleaned = text.strip()
    elements = 0
    array = _ARRAY.match(cleaned)
    if array:
        elements = int(array["size"]) * int(array["more"] or 1)
        cleaned = array["scalar"].strip()
        if elements == 0:
            raise ValueError(f"an array type must have elements, not {text!r}")
    match = _SCALAR.match(cleaned)
    if not match:
        raise ValueError(
            f"must be a type such as fixed<16,6>, ufixed<8,0,AP_RND_CONV,AP_SAT> or "
            f"array<fixed<16,6>,32*1>, not {text[:80]!r}"
        )
    width = int(match["width"])
    if not 1 <= width <= MAX_WIDTH:
        raise ValueError(f"a type's width must be from 1 to {MAX_WIDTH}, not {width}")
    modes = match["modes"] or ""
    integer = int(match["integer"]) if match["integer"] is not None else width
    return Precision(
        width,
        integer,
        not match["name"].startswith("u"),
        "RND" in modes,
        "SAT" in modes,
        elements,
    )
