"""ap_int and ap_fixed on native integers compute what the reference types compute, bit by bit.

One program of operations is compiled with either and writes every result, with the width and the
sign of its type; what both write must be the same.
"""

from __future__ import annotations

import itertools
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.support.kernel_harness import FAST_TYPES, ap_types_folder

SUPPORT = Path(__file__).parents[1] / "support"

SATURATING = ("AP_SAT", "AP_SAT_ZERO", "AP_SAT_SYM")


def compiled(
    source: Path, types: Path, program: Path, *flags: str
) -> subprocess.CompletedProcess[str]:
    compiler = shutil.which("g++")
    assert compiler is not None, "the tests of types need g++"
    command = [compiler, "-std=c++14", "-O0", "-w", "-DNDEBUG", *flags, "-isystem", str(types)]
    command += [f"-I{SUPPORT}", str(source), "-o", str(program)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def results(calls: Sequence[str], types: Path, folder: Path, name: str) -> list[bytes]:
    """What each call writes; the calls are compiled into one program."""
    lines = "\n".join(
        f'state = {index + 1}; begin("case {index:04d}"); {call}'
        for index, call in enumerate(calls)
    )
    source = folder / "cases.cpp"
    source.write_text(
        f'#include "ap_differential.h"\nint main(int, char** words) {{\n'
        f'results = std::fopen(words[1], "wb");\n{lines}\nreturn std::fclose(results);\n}}\n'
    )
    done = compiled(source, types, folder / name)
    assert done.returncode == 0, done.stderr[:4000]
    subprocess.run([folder / name, folder / f"{name}.bin"], check=True, capture_output=True)
    content = (folder / f"{name}.bin").read_bytes()
    marks = [struct.pack("<Q", 9) + f"case {index:04d}".encode() for index in range(len(calls))]
    places = [*(content.index(mark) for mark in marks), len(content)]
    return [content[a:b] for a, b in itertools.pairwise(places)]


def assert_same(calls: Sequence[str], folder: Path) -> None:
    reference = results(calls, ap_types_folder(), folder, "reference")
    fast = results(calls, FAST_TYPES, folder, "fast")
    differing = [
        call for call, a, b in zip(calls, reference, fast, strict=True) if a != b or len(a) < 100
    ]
    assert not differing, "\n".join(differing)


# --- the cases ----------------------------------------------------------------------------------


def flag(value: object) -> str:
    return "true" if value else "false"


def integers(w1: int, s1: bool, w2: int, s2: bool, most: int) -> str:
    return f"integers<{w1}, {flag(s1)}, {w2}, {flag(s2)}>({most});"


def alone(width: int, signed: bool, most: int = 12) -> str:
    return f"alone<{width}, {flag(signed)}>({most});"


def conversions(
    from_format: tuple[int, int, bool], to_format: tuple[int, int, bool], most: int = 256
) -> list[str]:
    """All roundings and overflows from one format to another; each call has every rounding."""
    (w1, i1, s1), (w2, i2, s2) = from_format, to_format
    modes = [(mode, 0) for mode in SATURATING]
    modes += [("AP_WRAP", bits) for bits in (0, 1, 3) if bits < w2]
    modes += [("AP_WRAP_SM", bits) for bits in (0, 1, 3) if bits < w2 and s2]
    return [
        f"conversion<{w1}, {i1}, {flag(s1)}, {w2}, {i2}, {flag(s2)}, {mode}, {bits}>({most});"
        for mode, bits in modes
    ]


def from_real(width: int, integer_bits: int, signed: bool, mode: str) -> str:
    return f"from_real<{width}, {integer_bits}, {flag(signed)}, {mode}, 0>(64);"


def numbers(a: tuple[int, int, bool], b: tuple[int, int, bool], most: int) -> str:
    formats = f"{a[0]}, {a[1]}, {flag(a[2])}, {b[0]}, {b[1]}, {flag(b[2])}"
    return f"numbers<{formats}>({most});"


def number(width: int, integer_bits: int, signed: bool, rounding: str, overflow: str) -> str:
    return f"number<{width}, {integer_bits}, {flag(signed)}, {rounding}, {overflow}>(12);"


# --- a sample, always ---------------------------------------------------------------------------


def test_integers_compute_what_the_reference_computes(tmp_path: Path) -> None:
    calls = [
        integers(3, False, 5, True, 64),  # every pair of values
        integers(33, True, 64, False, 16),
        alone(7, True, 128),
    ]
    assert_same(calls, tmp_path)


def test_numbers_round_and_overflow_as_the_reference_does(tmp_path: Path) -> None:
    calls = conversions((6, 3, True), (4, 2, True))
    calls += conversions((4, 4, False), (5, -1, True))[1:3]
    calls += [from_real(9, 4, True, "AP_SAT")]
    assert_same(calls, tmp_path)


def test_numbers_compute_what_the_reference_computes(tmp_path: Path) -> None:
    calls = [
        numbers((4, 2, True), (5, 4, False), 32),
        number(6, 3, True, "AP_RND_CONV", "AP_SAT"),
    ]
    assert_same(calls, tmp_path)


# --- much more ----------------------------------------------------------------------------------

WIDTHS = (1, 2, 3, 5, 8, 9, 16, 17, 31, 32, 33, 48, 63, 64, 65, 100, 127, 128, 129, 200, 300)


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(3))
def test_integers_of_all_widths(batch: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(batch)
    calls = []
    for w1, w2 in rng.choice(WIDTHS, (16, 2)).tolist():
        s1, s2 = rng.integers(0, 2, 2).tolist()
        calls.append(integers(w1, s1, w2, s2, 256 if w1 + w2 <= 12 else 20))
    widths = rng.choice(WIDTHS, 3, replace=False).tolist()
    calls += [alone(width, bool(rng.integers(0, 2)), 20) for width in widths]
    assert_same(calls, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("batch", range(3))
def test_numbers_of_all_formats(batch: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(100 + batch)
    calls = []
    for index in range(6):
        low, high = (1, 9) if index < 3 else (9, 90)
        w1, w2 = rng.integers(low, high, 2).tolist()
        i1, i2 = int(rng.integers(-3, w1 + 4)), int(rng.integers(-3, w2 + 4))
        s1, s2 = rng.integers(0, 2, 2).tolist()
        calls += conversions((w1, i1, s1), (w2, i2, s2), 256 if w1 <= 8 else 40)
        calls.append(from_real(w2, i2, s2, SATURATING[index % 3]))
    for _ in range(4):
        w1, w2 = rng.integers(2, 40, 2).tolist()
        i1, i2 = int(rng.integers(0, w1 + 1)), int(rng.integers(0, w2 + 1))
        s1, s2 = rng.integers(0, 2, 2).tolist()
        calls.append(numbers((w1, i1, s1), (w2, i2, s2), 24))
        mode = ("AP_RND_CONV", "AP_SAT") if s1 else ("AP_TRN", "AP_WRAP")
        calls.append(number(w1, i1, s1, *mode))
    assert_same(calls, tmp_path)


# --- what else they are to be -------------------------------------------------------------------

LAYOUT = """
#include <cstdio>
#include <type_traits>
#include "ap_fixed.h"
#include "ap_int.h"
struct constants {  // declared, defined nowhere
    static const int small = 3;
    static const unsigned long long large = 77;
};
int main() {
    ap_int<70> sum = constants::small;
    sum += (sum * constants::large) << constants::small;
    ap_fixed<20, 14> number(constants::small);
    number = number * constants::small - constants::small;
    sum.range(9, 8) = constants::small;
    sum[0] = constants::small;
    std::printf("%d %d\\n", sum.to_int(), number.to_int());
    std::printf("%zu %zu %zu %zu %zu %zu\\n", sizeof(ap_int<1>), sizeof(ap_uint<9>),
                sizeof(ap_int<17>), sizeof(ap_uint<33>), sizeof(ap_int<128>), sizeof(ap_int<300>));
    std::printf("%d\\n", int(std::is_trivially_copyable<ap_fixed<8, 3> >::value));
}
"""


def test_values_are_plain_data_and_take_constants_that_are_defined_nowhere(tmp_path: Path) -> None:
    source = tmp_path / "layout.cpp"
    source.write_text(LAYOUT)
    assert compiled(source, FAST_TYPES, tmp_path / "layout").returncode == 0
    done = subprocess.run([tmp_path / "layout"], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1851", "6", "1", "2", "4", "8", "16", "40", "1"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ap_int<5000> wide;", "1 to 4096 bits"),
        ("ap_uint<0> none;", "1 to 4096 bits"),
        ("ap_ufixed<8, 3, AP_TRN, AP_WRAP_SM> sign;", "cannot have AP_WRAP_SM"),
        ('ap_fixed<8, 3> digits("1.5");', "deleted"),
    ],
)
def test_what_they_cannot_do_does_not_compile(line: str, words: str, tmp_path: Path) -> None:
    source = tmp_path / "refused.cpp"
    source.write_text(f'#include "ap_int.h"\nvoid f() {{ {line} }}\n')
    done = compiled(source, FAST_TYPES, tmp_path / "refused.o", "-c")
    assert done.returncode != 0
    assert words in done.stderr


def test_arithmetic_never_overflows_in_the_sense_of_the_language(tmp_path: Path) -> None:
    source = tmp_path / "cases.cpp"
    calls = [integers(31, True, 33, False, 12), number(20, 9, True, "AP_RND", "AP_SAT_SYM")]
    source.write_text(
        '#include "ap_differential.h"\nint main(int, char** words) {\n'
        f'results = std::fopen(words[1], "wb");\n{"".join(calls)}\nreturn 0;\n}}\n'
    )
    flags = ("-fsanitize=undefined", "-fno-sanitize-recover=all")
    done = compiled(source, FAST_TYPES, tmp_path / "checked", *flags)
    assert done.returncode == 0, done.stderr[:2000]
    run = subprocess.run([tmp_path / "checked", "/dev/null"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[:2000]
