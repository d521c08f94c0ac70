"""Tables of layers: what is read, and what is refused with all its faults."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwflow.errors import DesignError
from hwflow.estimate.precision import Precision, parse_precision
from hwflow.estimate.rows import MAX_FILE_BYTES, parse_rows, read_rows


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fixed<16,6>", Precision(16, 6)),
        (" ap_fixed< 16 , 6 > ", Precision(16, 6)),
        ("ufixed<8,0,AP_RND_CONV,AP_SAT>", Precision(8, 0, False, True, True)),
        ("fixed<8,-2,TRN,WRAP,0>", Precision(8, -2)),
        ("uint<5>", Precision(5, 5, False)),
        ("array<fixed<8,1,AP_RND_CONV,AP_SAT,0>,6*1>", Precision(8, 1, True, True, True, 6)),
        ("nnet::array<ap_fixed<16,6>,32>", Precision(16, 6, elements=32)),
    ],
)
def test_types_are_read(text: str, expected: Precision) -> None:
    assert parse_precision(text) == expected


@pytest.mark.parametrize("text", ["float", "fixed<>", "fixed<0,0>", "fixed<2000,6>", "fixed<8"])
def test_what_is_no_type_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be|width"):
        parse_precision(text)


@given(st.text(max_size=60))
def test_any_text_is_a_type_or_a_value_error(text: str) -> None:
    try:
        precision = parse_precision(text)
    except ValueError:
        return
    assert 1 <= precision.width <= 1024


@given(st.text(max_size=400))
def test_any_text_is_a_table_or_a_design_error(text: str) -> None:
    try:
        rows = parse_rows(text, "t.csv")
    except DesignError:
        return
    assert rows


def test_a_row_is_read_with_what_its_columns_say_together() -> None:
    (row,) = parse_rows(
        "layer_or_model,tool,part,io_type,n_chan,n_filt,input_shape,kernel,stride,kh,kw,rf_l,"
        "in_t,precision,lut,unknown\n"
        'pool[pooling2d_cl],Vitis HLS 2023.1,xc7z020-1,io_parallel,n_filt,32,"510x126xn_filt",'
        'pool_heightxpool_width,4x4,pool_height,pool_width,128,"array<fixed<16,6>,32*1>",'
        '"in= w=fixed<8,1> acc=",999999,whatever\n',
        "t.csv",
    )
    assert row.function == "pooling2d_cl"
    assert row.vitis
    assert row.seven_series
    assert row.stream  # the type says so, whatever the column
    assert row.reuse_factor == 128
    assert row.counts == {"n_filt": 32, "n_chan": 32, "sh": 4, "sw": 4, "kh": 4, "kw": 4}
    assert row.types["w"] == Precision(8, 1)
    assert row.clock_ns is None


def test_copies_and_fused_functions_are_known_by_their_function() -> None:
    first, second, third = parse_rows(
        "layer_or_model,impl\n"
        "[dense_latency_0_0_0],\n"
        "dense_32_64_2b[dense+relu],\n"
        "c[conv_2d_cl],conv_implementation::pointwise\n",
        "t.csv",
    )
    assert first.function == "dense_latency"
    assert (second.function, second.fused) == ("dense", ("relu",))
    assert third.function == "pointwise_conv_2d_cl"


def test_a_faulty_cell_spoils_its_row_and_no_other() -> None:
    first, second, third, empty, last = parse_rows(
        "layer_or_model,n_in,in_t,clock_ns,io_type,kind,reuse_factor,wuniq\n"
        "a[dense],-3,float32,0,io_full,thing,x,\n"
        "b[dense],1e99,,,,,0,\n"
        "c[dense],1,,,,,1,,surplus\n"
        ",,,,,,,\n"
        "\n"
        "d[dense],4,,,,,,many\n",
        "t.csv",
    )
    assert [fault.split()[0] for fault in first.faults] == [
        "n_in",
        "in_t",
        "kind",
        "io_type",
        "clock_ns",
        "reuse_factor",
    ]
    assert first.faults[0] == "n_in must be a whole number from 1 to 100000000, not '-3'"
    assert [fault.split()[0] for fault in second.faults] == ["n_in", "reuse_factor"]
    assert third.faults == ("the row has 9 cells where the header names 8",)
    assert empty.faults == ("the row is empty",)
    assert (last.line, last.faults) == (7, ())
    assert "wuniq is left out: it must be a whole number" in last.remarks[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n", "is empty"),
        ("layer_or_model\n", "no rows"),
        ("lut,ff\n1,2\n", "layer_or_model: must be among the columns"),
        ("a,b\n1,2\n", "none that describes a layer is: 'a, b'"),
        ("layer_or_model,n_in,n_in\nx,1,2\n", "n_in: stands twice"),
        ('layer_or_model\n"x\n', "is no CSV"),
    ],
)
def test_what_is_no_table_is_refused(text: str, message: str) -> None:
    with pytest.raises(DesignError, match=message):
        parse_rows(text, "t.csv")


def test_files_that_are_no_text_or_too_large_are_refused(tmp_path: Path) -> None:
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"layer_or_model\n\0\1\2")
    with pytest.raises(DesignError, match="binary data"):
        read_rows(binary)
    binary.write_bytes(b"layer_or_model\n\xff\xfe")
    with pytest.raises(DesignError, match="byte 15"):
        read_rows(binary)
    with binary.open("wb") as stream:
        stream.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(DesignError, match="Split it"):
        read_rows(binary)
    with pytest.raises(DesignError, match="not a folder"):
        read_rows(tmp_path)
    with pytest.raises(DesignError, match="No such file"):
        read_rows(tmp_path / "absent.csv")


def test_a_byte_order_mark_and_carriage_returns_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "windows.csv"
    path.write_bytes(b"\xef\xbb\xbflayer_or_model,n_in\r\nx[dense],3.0\r\n\r\n")
    (row,) = read_rows(path)
    assert row.counts == {"n_in": 3}
