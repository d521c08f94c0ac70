"""The design file: what is read, what is refused, and in which words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, model_validator

from hwflow.design import Design, check_design, json_schema, load_design
from hwflow.errors import DesignError, Fault
from hwflow.networks import families
from hwflow.sections import SECTIONS
from hwflow.yaml_source import parse_yaml, read_yaml

ROOT = Path(__file__).parents[2]


class ToyParameters(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal["1.0", "1.1"] = "1.1"
    input_shape: tuple[int, int, int] = (32, 48, 3)
    classes: Annotated[int, Field(ge=1, le=1000)] = 10
    ratio: Annotated[float, Field(gt=0, le=1)] = 0.5

    @model_validator(mode="after")
    def _fits(self) -> ToyParameters:
        if self.input_shape[0] < 8:
            raise ValueError(f"must be at least 8 pixels high, not {self.input_shape[0]}")
        return self


TOY = {"toy": ToyParameters}
MINIMAL = "name: a\nnetwork: {family: toy}\n"


def check(text: str, file: str = "d.yaml") -> Design:
    return check_design(parse_yaml(text, Path(file)), TOY)


def faults(text: str) -> list[str]:
    with pytest.raises(DesignError) as caught:
        check(text)
    return [str(fault) for fault in caught.value.faults]


@pytest.fixture
def folder(tmp_path: Path) -> Callable[[str], Design]:
    """Loads a design from a real folder that holds weights.npz, model.h5 and pictures/."""
    (tmp_path / "weights.npz").write_bytes(b"1")
    (tmp_path / "model.h5").write_bytes(b"2")
    (tmp_path / "notes.txt").write_bytes(b"3")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "cat.png").write_bytes(b"4")

    def load(text: str) -> Design:
        file = tmp_path / "d.yaml"
        file.write_text(text, encoding="utf-8")
        return load_design(file, TOY)

    return load


# --- what is read --------------------------------------------------------------------------------


def test_everything_but_name_and_network_has_a_default() -> None:
    design = check(MINIMAL)
    assert design.name == "a"
    assert design.network.family == "toy"
    assert design.network.parameters == ToyParameters()
    assert (design.weights.source, design.weights.seed) == ("random", 0)
    assert (design.calibration.source, design.calibration.count) == ("noise", 8)
    verification = design.verification
    assert (verification.source, verification.seed, verification.count) == ("noise", 2, 4)
    layer = design.quantization.for_layer("conv1")
    assert (layer.weights.width, layer.activations.width, layer.biases.width) == (8, 8, 16)
    assert design.hardware.part == "xczu9eg-ffvb1156-2-e"
    assert design.hardware.clock_period_ns == 5
    assert design.preprocessing.scale == 1 / 255


def test_an_empty_section_counts_as_left_out() -> None:
    assert check(f"{MINIMAL}quantization:\nhardware: ~\n") == check(MINIMAL)


def test_integers_do_where_numbers_are_wanted() -> None:
    design = check(f"{MINIMAL}hardware: {{clock_period_ns: 4}}\npreprocessing: {{scale: 1}}")
    assert design.hardware.clock_period_ns == 4.0
    assert design.preprocessing.scale == 1.0


def test_later_patterns_override_earlier_ones_field_by_field() -> None:
    design = check(
        f"""{MINIMAL}
quantization:
  weights: {{width: 8, integer_bits: 1}}
  layers:
    fire*: {{weights: {{width: 4}}, biases: {{integer_bits: 3}}}}
    fire9_*: {{weights: {{width: 6}}, activations: {{width: 5}}}}
    fire9_squeeze: {{weights: {{integer_bits: null}}}}
"""
    )
    fire2 = design.quantization.for_layer("fire2_squeeze")
    assert (fire2.weights.width, fire2.weights.integer_bits) == (4, 1)
    assert (fire2.biases.width, fire2.biases.integer_bits) == (16, 3)
    fire9 = design.quantization.for_layer("fire9_squeeze")
    assert (fire9.weights.width, fire9.weights.integer_bits) == (6, None)
    assert (fire9.activations.width, fire9.biases.integer_bits) == (5, 3)
    assert design.quantization.for_layer("conv1").weights.width == 8


def test_hardware_by_layer() -> None:
    design = check(
        f"{MINIMAL}hardware: {{part: u250, target: {{frames_per_second: 30}}, storage: bram,\n"
        "  uram_load_port: true,\n"
        "  layers: {conv*: {reuse_factor: 4}, conv10: {storage: uram}}}\n"
    )
    conv10 = design.hardware.for_layer("conv10")
    assert (conv10.reuse_factor, conv10.storage) == (4, "uram")
    pool = design.hardware.for_layer("pool1")
    assert (pool.reuse_factor, pool.storage) == (None, "bram")
    assert design.hardware.part == "xcu250-figd2104-2L-e"
    assert design.hardware.uram_load_port is True


def test_paths_are_relative_to_the_design_file(
    folder: Callable[[str], Design], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    design = folder(
        "name: a\nnetwork: {file: model.h5}\nweights: {file: weights.npz}\n"
        "calibration: {images: pictures}\nverification: {images: ./pictures/cat.png, count: 1}\n"
    )
    assert design.network.file == tmp_path / "model.h5"
    assert (design.weights.file, design.weights.source) == (tmp_path / "weights.npz", "file")
    assert (design.calibration.images, design.calibration.source) == (tmp_path / "pictures", None)
    assert design.calibration.count == 32
    assert design.verification.images == tmp_path / "pictures" / "cat.png"
    text = json.dumps(design.to_json())
    assert str(tmp_path) not in text
    assert '"images": "pictures"' in text


def test_a_model_file_keeps_its_weights(folder: Callable[[str], Design]) -> None:
    assert folder("name: a\nnetwork: {file: model.h5}\n").weights.source == "model"
    text = "name: a\nnetwork: {file: model.h5}\nweights: {source: random, seed: 3}\n"
    assert folder(text).weights.source == "random"


def test_positions_are_remembered() -> None:
    design = check(f"{MINIMAL}quantization:\n  layers:\n    a.b*: {{weights: {{width: 3}}}}\n")
    assert design.where("name") == "d.yaml:1:7"
    assert design.where("quantization.layers.a.b*.weights.width") == "d.yaml:5:29"
    assert design.where("quantization.layers.a.b*", of_key=True) == "d.yaml:5:5"
    assert design.where("quantization.weights.width") == "d.yaml:4:3"
    fault = design.fault("name", "must not be used twice")
    assert str(fault) == "d.yaml:1:7 name: must not be used twice"


def test_patterns_that_name_no_layer() -> None:
    design = check(
        f"{MINIMAL}quantization: {{layers: {{conv1: {{}}, cnov2: {{}}}}}}\n"
        "hardware: {layers: {'pool*': {}}}\n"
        "outputs: {layers: {conv1: {}}}\n"
    )
    faults = design.unmatched_patterns(["conv1", "conv2"], ["conv2"])
    assert [str(fault) for fault in faults] == [
        "d.yaml:3:36 quantization.layers.cnov2: names no layer of the network. "
        "Did you mean 'conv2'? `hwflow check` lists the layers.",
        "d.yaml:5:20 outputs.layers.conv1: names no output of the network. "
        "Did you mean 'conv2'? It has conv2.",
        "d.yaml:4:21 hardware.layers.pool*: names no layer of the network. "
        "`hwflow check` lists the layers.",
    ]


# --- digests -------------------------------------------------------------------------------------


def test_the_digest_depends_on_values_and_not_on_how_they_are_written() -> None:
    same = (
        "network:\n  classes: 10  # the default\n  family: toy\nname: a\nhardware: {part: ZCU102}"
    )
    assert check(same, "elsewhere.yaml").digest() == check(MINIMAL).digest()
    other = check(f"{MINIMAL}weights: {{seed: 1}}\n")
    assert other.digest() != check(MINIMAL).digest()
    assert other.digest("quantization", "name") == check(MINIMAL).digest("quantization", "name")


def test_the_digest_tells_null_from_absence_and_one_order_from_another() -> None:
    texts = [
        "a*: {weights: {width: 4}}",
        "a*: {weights: {width: 4, integer_bits: null}}",
        "a*: {weights: {width: 4}}, '*b': {weights: {width: 5}}",
        "'*b': {weights: {width: 5}}, a*: {weights: {width: 4}}",
    ]
    designs = [check(f"{MINIMAL}quantization: {{layers: {{{text}}}}}\n") for text in texts]
    assert len({design.digest() for design in designs}) == len(texts)


def test_the_digest_follows_the_content_of_files(
    folder: Callable[[str], Design], tmp_path: Path
) -> None:
    text = "name: a\nnetwork: {family: toy}\nweights: {file: weights.npz}\n"
    text += "calibration: {images: pictures}\n"
    design = folder(text)
    before = design.digest("weights"), design.digest("calibration")
    (tmp_path / "weights.npz").write_bytes(b"changed")
    assert design.digest("weights") != before[0]
    assert design.digest("calibration") == before[1]
    (tmp_path / "pictures" / "dog.png").write_bytes(b"5")
    assert design.digest("calibration") != before[1]
    (tmp_path / "weights.npz").unlink()
    with pytest.raises(DesignError, match=r"weights\.npz: cannot be read: No such file"):
        design.digest("weights")


# --- what is refused -----------------------------------------------------------------------------


def test_all_faults_come_at_once_in_the_order_of_the_file() -> None:
    text = """name: Big-Net
network: {family: toy, version: 1.1, clases: 10, input_shape: [8, 8], ratio: 0}
wieghts: {seed: 0}
quantization:
  weights: {width: int8}
  activations: {width: 100}
  biases: {width: 0, integer_bits: 2.5}
  input: 8
  rounding: half_up
hardware: {part: xczu99eg-ffvb1156-2-e, io_type: io_parallel, backend: vits}
"""
    assert faults(text) == [
        "d.yaml:1:7 name: must be lower-case letters, digits and single underscores, a letter "
        "first, not 'Big-Net'. Did you mean 'big_net'?",
        "d.yaml:2:33 network.version: must be one of '1.0', '1.1', not 1.1. "
        'Put it in quotes: "1.1".',
        "d.yaml:2:38 network.clases: is not known. Did you mean 'classes'? "
        "Known here: family, version, input_shape, classes, ratio.",
        "d.yaml:2:63 network.input_shape: must be a list of 3 integers, not [8, 8].",
        "d.yaml:2:78 network.ratio: must be a number above 0 and of at most 1, not 0.",
        "d.yaml:3:1 wieghts: is not known. Did you mean 'weights'? Known here: name, network, "
        "weights, preprocessing, quantization, outputs, calibration, hardware, verification, "
        "simulation.",
        "d.yaml:5:20 quantization.weights.width: must be an integer from 1 to 32, not 'int8'. "
        "Did you mean 8?",
        "d.yaml:6:24 quantization.activations.width: must be an integer from 1 to 32, not 100.",
        "d.yaml:7:19 quantization.biases.width: must be an integer from 1 to 32, not 0.",
        "d.yaml:7:36 quantization.biases.integer_bits: must be an integer from -32 to 30 or "
        "null, not 2.5.",
        "d.yaml:8:10 quantization.input: must be a mapping, not 8. Did you mean {width: 8}?",
        "d.yaml:9:13 quantization.rounding: must be 'half_even', not 'half_up'. The reason: "
        "QKeras quantizers round ties to even and know no other way.",
        "d.yaml:10:18 hardware.part: must be a board (kv260, pynq-z2, u200, u250, u280, u50, "
        "ultra96, vcu118, vu13p, zc706, zcu102, zcu104) or a part number, not "
        "'xczu99eg-ffvb1156-2-e', which is neither. Did you mean xczu9eg-ffvb1156-2-e or "
        "xczu7ev-ffvc1156-2-e?",
        "d.yaml:10:50 hardware.io_type: must be 'io_stream', not 'io_parallel'. The reason: "
        "io_parallel puts whole feature maps into registers, and those of these networks are far "
        "beyond what can be partitioned.",
        "d.yaml:10:72 hardware.backend: must be one of 'vitis', 'vivado', not 'vits'. "
        "Did you mean 'vitis'?",
    ]


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("weights: [1]", "3:10 weights: must be a mapping, not [1]."),
        ("weights: {seed: true}", "weights.seed: must be an integer from 0 to 4294967295, not t"),
        ("weights: {source: zeros}", "weights.source: must be one of 'random', 'model', 'file' or"),
        ("weights: {source: file}", "3:19 weights.source: must come with a `file`"),
        ("weights: {source: model}", "weights.source: must be 'random' for a family"),
        ("preprocessing: {crop: 32}", "must be the network's input, 32 x 48 pixels, not 32 x 32."),
        ("preprocessing: {resize: 40, crop: [32, 48]}", "crop: must be at most the 40 pixels"),
        (
            "preprocessing: {crop: [32]}",
            "crop: must be an integer from 1 to 16384 or a list of 2 integ",
        ),
        ("preprocessing: {crop: [32, x]}", "preprocessing.crop.1: must be an integer from 1"),
        ("preprocessing: {mean: [1, 2]}", "mean: must be one number, or one for each of the inpu"),
        (
            "preprocessing: {scale: .inf}",
            "scale: must be a number or a list of 1 to 4 numbers, not",
        ),
        ("preprocessing: {channels: bgra}", "must be one of 'rgb', 'bgr', not 'bgra'. Did you mea"),
        ("calibration: {count: 0}", "count: must be an integer from 1 to 1000000, not 0."),
        ("calibration: {count: 3.0}", "must be an integer from 1 to 1000000, not 3.0. Did you me"),
        ("verification: {source: pictures}", "source: must be 'noise' or null, not 'pictures'."),
        ("hardware: {clock_period_ns: 5ns}", "from 0.5 to 1000, not '5ns'. Did you mean 5?"),
        ("hardware: {clock_period_ns: .nan}", "must be a number from 0.5 to 1000, not .nan."),
        ("hardware: {part: 7}", "hardware.part: must be a text, not 7."),
        ("hardware: {reuse_factor: -1}", "reuse_factor: must be an integer from 1 to 1073741824"),
        ("hardware: {target: {}}", "target: must have one of `frames_per_second`, `interval_cyc"),
        ("hardware: {storage: uram}", "must be 'auto', 'lut' or 'bram': xczu9eg-ffvb1156-2-e has"),
        ("hardware: {layers: {'a*': {storage: uram}}}", "hardware.layers.a*.storage: must be 'au"),
        (
            "hardware: {storage: uram, uram_load_port: true}",
            "hardware.storage: must be 'auto', 'lut' or 'bram': xczu9eg-ffvb1156-2-e has no",
        ),
        (
            "hardware: {part: pynq-z2, storage: uram, uram_load_port: true}",
            "hardware.storage: must be 'auto', 'lut' or 'bram': xc7z020clg400-1 has no UltraRAM.",
        ),
        (
            "hardware: {part: kv260, layers: {'a*': {storage: uram}}}",
            "hardware.layers.a*.storage: must be 'auto', 'lut' or 'bram', or come with "
            "`hardware.uram_load_port: true`: the UltraRAM of",
        ),
        (
            "hardware: {part: u250, uram_load_port: 1}",
            "hardware.uram_load_port: must be true or false, not 1.",
        ),
        ("hardware: {target: {frames_per_second: 1e9}}", "must be at most 2e+08, one picture a c"),
        (
            "hardware: {target: {latency_ms: -1}}",
            "latency_ms: must be a number above 0 or null, not -1",
        ),
        ("hardware: {target: {fastest: false}}", "fastest: must be true or null, not false"),
        ("hardware: {share: 1.5}", "share: must be a number above 0 and of at most 1, not 1.5"),
        (
            "hardware: {part: xcku5p-ffvb676-2-e, target: {fastest: true}}",
            "target.fastest: cannot be planned: the resources of",
        ),
        ("name: b", "3:1 name: is given twice, first in line 1. Keep one."),
        ("weights: !!python/object:os.system {}", "must have no tag, not 'tag:yaml.org,2002:py"),
        ("? [a, b]\n: 1", "a key must be a word"),
        ("weights: &a {x: *a}", "an alias must not stand inside of what it names"),
    ],
)
def test_refused(extra: str, expected: str) -> None:
    found = faults(f"{MINIMAL}{extra}\n")
    assert len([fault for fault in found if expected in fault]) == 1, found


@pytest.mark.parametrize(
    ("pair", "key"),
    [
        ("calibration: {images: x, source: noise}", "calibration.source"),
        ("verification: {images: x, seed: 2}", "verification.seed"),
        ("weights: {file: x, seed: 2}", "weights.seed"),
        ("weights: {file: x, source: random}", "weights.source"),
        ("weights: {source: model, seed: 2}", "weights.seed"),
        ("hardware: {reuse_factor: 2, target: {interval_cycles: 9}}", "hardware.target"),
        (
            "hardware: {target: {interval_cycles: 9, frames_per_second: 2}}",
            "hardware.target.interval_cycles",
        ),
        ("hardware: {target: {latency_ms: 9, fastest: true}}", "hardware.target.fastest"),
        ("hardware: {strategy: latency, target: {latency_ms: 9}}", "hardware.target"),
    ],
)
def test_what_excludes_one_another(pair: str, key: str) -> None:
    assert any(f" {key}: must not stand beside `" in fault for fault in faults(MINIMAL + pair))


@pytest.mark.parametrize(
    ("outputs", "wrong"),
    [
        ("{head: logits, k: 3, width: 4}", ["outputs.k", "outputs.width"]),
        ("{head: top_k, k: 3}", []),
        ("{k: 3, width: 4, layers: {a: {head: top_k}, b: {head: softmax}}}", []),
        ("{head: top_k, layers: {a: {head: argmax, width: 9, k: 2}}}", ["outputs.layers.a.width"]),
    ],
)
def test_what_no_head_takes(outputs: str, wrong: list[str]) -> None:
    text = f"{MINIMAL}outputs: {outputs}\n"
    if not wrong:
        check(text)
        return
    found = faults(text)
    assert [fault.split()[1].rstrip(":") for fault in found] == wrong
    assert all("must come with `head: " in fault for fault in found)


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ("toy", "must be {family: ...} or {file: ...}, not 'toy'. Did you mean {family: toy}?"),
        ("{}", "must have either `family` or `file`, and it has neither."),
        ("{familly: toy}", "it has neither. Did you mean 'family'?"),
        ("{family: toy, file: x.h5}", "must have either `family` or `file`, and it has both."),
        (
            "{family: toyy}",
            "2:19 network.family: must be one of toy, not 'toyy'. Did you mean 'toy",
        ),
        ("{family: [toy]}", 'must be one of toy, not ["toy"].'),
        (
            "{family: toy, input_shape: [4, 8, 3]}",
            "network: must be at least 8 pixels high, not 4.",
        ),
        ("{file: 3}", "network.file: must be a path, not 3."),
        ("{file: nosuch.h5}", "must name what exists, but there is no 'nosuch.h5'"),
        ("{file: nosuch.h5, classes: 3}", "network.classes: is not known beside `file`"),
    ],
)
def test_networks_refused(network: str, expected: str) -> None:
    assert any(expected in fault for fault in faults(f"name: a\nnetwork: {network}\n"))


@pytest.mark.parametrize("name", ["int", "main", "a__b", "_a", "a_", "1a", "", "a" * 65, "a b", 3])
def test_names_refused(name: Any) -> None:
    (fault,) = faults(f"name: {json.dumps(name)}\nnetwork: {{family: toy}}\n")
    assert fault.startswith("d.yaml:1:7 name: must ")


def test_name_and_network_are_required() -> None:
    assert faults("weights: {}") == [
        "d.yaml:1:1: name is required: must be a text such as 'squeezenet_int8'.",
        "d.yaml:1:1: network is required: must be {family: ...} or {file: ...}.",
    ]


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n", "3\n", "just text\n"])
def test_no_mapping(text: str) -> None:
    (fault,) = faults(text)
    assert "must be a mapping with at least `name` and `network`, not " in fault


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("name: {a", "d.yaml:1:9"),
        ("name: a\n\tnetwork: b", "d.yaml:2:1"),
        ("name: *nosuch", "d.yaml:1:7"),
        ("name: a\n---\nname: b", "d.yaml:2:1"),
        ("name: \x01", "d.yaml:1:7"),
    ],
)
def test_what_is_no_yaml_is_told_with_its_place(text: str, where: str) -> None:
    (fault,) = faults(text)
    assert fault.startswith(f"{where}: is not YAML: ")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    binary = tmp_path / "b.yaml"
    binary.write_bytes(b"name: \xff\xfe")
    huge = tmp_path / "h.yaml"
    huge.write_bytes(b"#" * (1 << 21))
    for file, expected in (
        (tmp_path / "nosuch.yaml", "cannot be read: No such file or directory"),
        (tmp_path, "cannot be read: Is a directory"),
        (binary, "must be UTF-8 text, but byte 6 is not"),
        (huge, "must be a YAML file of at most 1 MiB, not 2097152 bytes"),
    ):
        with pytest.raises(DesignError, match=expected):
            read_yaml(file)


def test_aliases_cannot_blow_up() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert faults("\n".join(lines)) == ["d.yaml: holds more than 100000 values, aliases counted"]


def test_nesting_too_deep() -> None:
    assert faults("a: " + "[" * 5000 + "]" * 5000) == ["d.yaml: is nested too deeply"]


def test_files_of_the_wrong_kind(folder: Callable[[str], Design]) -> None:
    with pytest.raises(DesignError) as caught:
        folder("name: a\nnetwork: {file: notes.txt}\nweights: {file: weihgts.npz}\n")
    network, weights = caught.value.faults
    assert network.message == "must be a file that ends in .h5, .keras, not 'notes.txt'."
    assert weights.message.endswith("Did you mean 'weights.npz'?")
    with pytest.raises(DesignError, match=r"must be a file that ends in .h5, .*, not a folder"):
        folder("name: a\nnetwork: {file: pictures}\n")
    with pytest.raises(DesignError, match="There is no folder 'nosuch'"):
        folder(f"{MINIMAL}calibration: {{images: nosuch/pictures}}\n")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
keys = ["source", "file", "images", "count", "layers", "crop", "mean", "weights", "target", "part"]


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["name", "network", "weights", "preprocessing", "quantization"])
        | st.sampled_from(["calibration", "hardware", "verification", "x"]),
        json_values | st.dictionaries(st.sampled_from(keys), json_values, max_size=4),
    )
)
def test_whatever_comes_there_is_a_design_or_a_list_of_faults(data: dict[str, Any]) -> None:
    text = json.dumps(data)  # a subset of YAML, but for .nan and .inf
    found: Sequence[Fault] = ()
    try:
        assert check(text).name == data["name"]
    except DesignError as error:
        found = error.faults
    assert all(fault.message and fault.where.startswith("d.yaml") for fault in found)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet=st.sampled_from("a1.-:?!&*[]{},#|>'\"% \n<~"), max_size=40) | st.text())
def test_whatever_is_written_there_is_yaml_or_a_fault(text: str) -> None:
    try:
        found = parse_yaml(text, Path("d.yaml")).faults
    except DesignError as error:
        found = tuple(error.faults)
    assert all(fault.message and fault.where.startswith("d.yaml") for fault in found)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("1:30", "1:30"),
        ("1e-3", 0.001),
        ("-.5", -0.5),
        ("+3", 3),
        ('"8"', "8"),
        ("~", None),
        ("True", True),
        ("2020-01-01", "2020-01-01"),
        (".", "."),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    data = parse_yaml(f"a: {text}", Path("d.yaml")).data
    assert data == {"a": value}
    assert type(data["a"]) is type(value)


def test_anchors_and_merge_keys() -> None:
    source = parse_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [*a, {z: 4}]}", Path("d"))
    assert source.data["b"] == {"x": 1, "y": 3}
    assert source.data["c"] == {"x": 1, "y": 2, "z": 4}
    assert source.where(("b", "y")) == "d:2:16"
    assert source.where(("b", "x")) == "d:1:11"


# --- what ships ----------------------------------------------------------------------------------


def _families() -> dict[str, type[BaseModel]]:
    return {name: family.parameters for name, family in families().items()}


@pytest.mark.parametrize("file", sorted((ROOT / "designs").glob("*.yaml")), ids=lambda f: f.stem)
def test_shipped_designs(file: Path) -> None:
    design = load_design(file, _families())
    assert design.name == file.stem
    first = file.read_text(encoding="utf-8").partition("\n")[0]
    assert first == "# yaml-language-server: $schema=../docs/design.schema.json"


def test_the_published_schema_is_up_to_date() -> None:
    published = json.loads((ROOT / "docs" / "design.schema.json").read_text(encoding="utf-8"))
    assert published == json_schema(_families()), "run: hwflow schema > docs/design.schema.json"


def test_every_reference_in_the_schema_is_defined() -> None:
    schema = json_schema(TOY)

    def references(value: Any) -> set[str]:
        if isinstance(value, dict):
            inner = set().union(*map(references, value.values())) if value else set()
            return inner | ({value["$ref"]} if "$ref" in value else set())
        return set().union(*map(references, value)) if isinstance(value, list) and value else set()

    found = references(schema)
    assert found
    assert found == {f"#/$defs/{name}" for name in schema["$defs"]}
    toy = schema["properties"]["network"]["oneOf"][0]
    assert toy["properties"]["family"] == {"const": "toy"}
    assert toy["required"] == ["family"]


# --- presets ------------------------------------------------------------------------------------


def quantized(text: str) -> Any:
    return check(f"{MINIMAL}quantization: {text}\n").quantization


def test_a_preset_is_a_section_that_the_designs_keys_lie_over() -> None:
    plain = quantized("{preset: int4}")
    assert (plain.weights.width, plain.activations.width, plain.biases.width) == (4, 4, 16)
    assert plain.for_layer("a", ["first"]).weights.width == 8
    assert plain.for_layer("a", ["first"]).activations.width == 4
    assert plain.for_layer("a", ["depthwise", "last"]).activations.width == 8
    given = quantized(
        "{preset: int4, weights: {width: 5}, last: {weights: {width: 3}}, layers: {a: {weights: "
        "{width: 7}}}}"
    )
    assert (given.weights.width, given.activations.width) == (5, 4)
    assert given.for_layer("b", ["last"]).weights.width == 3
    assert given.for_layer("b", ["last"]).activations.width == 8
    assert given.for_layer("a", ["last"]).weights.width == 7


def test_a_preset_counts_as_what_it_says() -> None:
    digests = {
        text: check(f"{MINIMAL}quantization: {text}\n").digest("quantization")
        for text in ("{preset: int4}", "{preset: dorefa}", "{preset: int4, weights: {width: 5}}")
    }
    assert len(set(digests.values())) == 3


def test_a_wrong_preset_is_told_with_the_right_ones() -> None:
    (told,) = faults(f"{MINIMAL}quantization: {{preset: binry, weights: {{width: 4}}}}\n")
    assert told.startswith("d.yaml:3:24 quantization.preset: must be one of 'binary', 'deep_compr")
    assert told.endswith("not 'binry'. Did you mean 'binary'?")
    (told,) = faults(f"{MINIMAL}quantization: {{preset: xnor, weights: {{density: 2}}}}\n")
    assert "quantization.weights.density: must be a number above 0" in told


def test_every_key_is_described() -> None:
    """Each section of the page names its keys, and those of what stands in them."""

    def keys(model: type[BaseModel]) -> Iterator[str]:
        for name, field in model.model_fields.items():
            yield name
            for inner in (field.annotation, *get_args(field.annotation)):
                if isinstance(inner, type) and issubclass(inner, BaseModel):
                    yield from keys(inner)

    text = (ROOT / "docs" / "design-file.md").read_text(encoding="utf-8")
    described = dict(part.split("\n", 1) for part in text.split("\n## ")[1:])
    told = {section: body for title, body in described.items() for section in title.split(" and ")}
    missing = [
        f"{section}.{key}"
        for section, model in SECTIONS.items()
        for key in keys(model)
        if not re.search(rf"\b{key}\b", told[section])
    ]
    assert missing == []
