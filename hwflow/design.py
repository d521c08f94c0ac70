"""The design file: YAML in, one frozen `Design` out, or every fault with its line and column."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import combinations, product
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from hwflow.design_schema import json_schema
from hwflow.errors import DesignError, Fault
from hwflow.schema_faults import Placed, did_you_mean, placed, show, validate
from hwflow.sections import (
    NAME_LENGTH,
    NAME_PATTERN,
    REASONS,
    RESERVED_NAMES,
    SECTIONS,
    Calibration,
    Hardware,
    Images,
    Outputs,
    Preprocessing,
    Quantization,
    Section,
    Simulation,
    Target,
    Verification,
    Weights,
    unmatched,
)
from hwflow.yaml_source import KeyPath, YamlSource, read_yaml

__all__ = ["Design", "NetworkChoice", "check_design", "json_schema", "load_design"]

Families = Mapping[str, type[BaseModel]]
"""The parameter model of each network family, by the family's name."""

MODEL_SUFFIXES = (".h5", ".keras")
WEIGHT_SUFFIXES = (".h5", ".keras", ".npz", ".net")
_CALIBRATION_PICTURES = 32


@dataclass(frozen=True)
class NetworkChoice:
    """A family with its parameters, or a model file.

    Attributes:
        family: name of the family, or None.
        parameters: the family's validated parameters, or None.
        file: the user's own Keras model, or None.
    """

    family: str | None = None
    parameters: BaseModel | None = None
    file: Path | None = None

    @property
    def input_shape(self) -> tuple[int, int, int] | None:
        """Height, width, channels as the family's parameters have them, if they do."""
        shape = getattr(self.parameters, "input_shape", None)
        return tuple(shape) if shape is not None and len(shape) == 3 else None


@dataclass(frozen=True)
class Design:
    """A validated design. All paths are absolute, all defaults filled in.

    Attributes:
        name: of the design and of the HLS project's top function.
        network: what is built.
        weights: where its weights come from.
        preprocessing: what is done to pictures.
        quantization: formats by default and by layer.
        outputs: what the hardware makes of the network's outputs.
        calibration: the pictures that ranges are chosen by.
        hardware: tools, device, speed.
        verification: the pictures that witnesses are compared by.
        simulation: how the emitted code is simulated.
        source: the YAML with its positions.
    """

    name: str
    network: NetworkChoice
    weights: Weights
    preprocessing: Preprocessing
    quantization: Quantization
    outputs: Outputs
    calibration: Calibration
    hardware: Hardware
    verification: Verification
    simulation: Simulation
    source: YamlSource = field(repr=False, compare=False)

    @property
    def file(self) -> Path:
        """The design file, as the user named it."""
        return self.source.file

    def where(self, path: str, *, of_key: bool = False) -> str:
        """`file:line:column` of a value by its dotted path; of a default, of its section."""
        return self.source.where(self.source.path_of(path), of_key=of_key)

    def fault(self, path: str, message: str, *, of_key: bool = False) -> Fault:
        """A fault at a dotted path, for what only later steps can find out."""
        return Fault(self.where(path, of_key=of_key), path, message)

    def unmatched_patterns(self, layers: Iterable[str], outputs: Iterable[str]) -> list[Fault]:
        """A fault for each pattern in the `layers` of a section that names none of the layers.

        Args:
            layers: names of all layers of the network.
            outputs: names of those that make its outputs.
        """
        names, ends = list(layers), list(outputs)
        return [
            self.fault(
                f"{section}.layers.{pattern}",
                f"names no {what} of the network.{did_you_mean(pattern, known)} {where}",
                of_key=True,
            )
            for section, patterns, known, what, where in (
                (
                    "quantization",
                    self.quantization.layers,
                    names,
                    "layer",
                    "`hwflow check` lists the layers.",
                ),
                ("outputs", self.outputs.layers, ends, "output", f"It has {', '.join(ends)}."),
                (
                    "hardware",
                    self.hardware.layers,
                    names,
                    "layer",
                    "`hwflow check` lists the layers.",
                ),
            )
            for pattern in unmatched(patterns, known)
        ]

    def to_json(self) -> dict[str, Any]:
        """Every value, defaults included, JSON-ready; paths relative to the design's folder."""
        base = self.file.absolute().parent
        return {name: self._section(name, lambda path: _relative(path, base)) for name in ALL_KEYS}

    def digest(self, *sections: str) -> str:
        """SHA-256 (hex) of sections, of all by default; a file counts by its content.

        Raises:
            DesignError: if a file that the design names cannot be read any more.
        """
        chosen = sections or ALL_KEYS
        content = {name: self._section(name, _content_digest) for name in chosen}
        for section in content.values():
            if isinstance(section, dict) and "layers" in section:  # their order decides
                section["layers"] = list(section["layers"].items())
        text = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def _section(self, name: str, of_path: Any) -> Any:
        section = getattr(self, name)
        if isinstance(section, NetworkChoice):
            if section.file is not None:
                return {"file": of_path(section.file)}
            assert section.parameters is not None
            return {"family": section.family, **section.parameters.model_dump(mode="json")}
        if not isinstance(section, Section):
            return section
        dumped = section.model_dump(mode="json")
        for key in ("file", "images"):
            if dumped.get(key) is not None:
                dumped[key] = of_path(getattr(section, key))
        if isinstance(section, Quantization | Outputs | Hardware):
            # Null there is a choice, absence is not.
            given = section.model_dump(mode="json", exclude_unset=True, include={"layers"})
            dumped["layers"] = given.get("layers", {})
        return dumped


ALL_KEYS = ("name", "network", *SECTIONS)


def load_design(path: Path, families: Families) -> Design:
    """Reads and checks a design file.

    Args:
        path: the YAML file.
        families: parameter model of each network family by name.

    Raises:
        DesignError: with every fault found, in the order of the file.
    """
    return check_design(read_yaml(path), families)


def check_design(source: YamlSource, families: Families) -> Design:
    """Checks a design that was read already; otherwise as `load_design`."""
    return _Checker(source, families).design()


class _Checker:
    """Collects the faults of one design."""

    def __init__(self, source: YamlSource, families: Families) -> None:
        self.source = source
        self.families = families
        self.base = source.file.absolute().parent
        self.faults: list[Placed] = []
        self.data: dict[str, Any] = {}

    def fault(self, path: KeyPath, message: str, *, of_key: bool = False) -> None:
        self.faults.append(placed(self.source, path, message, of_key=of_key))

    def design(self) -> Design:
        if not isinstance(self.source.data, dict):
            given = "an empty file" if self.source.data is None else show(self.source.data)
            message = f"must be a mapping with at least `name` and `network`, not {given}."
            raise DesignError([*self.source.faults, Fault(self.source.where(()), "", message)])
        self.data = self.source.data
        for key in self.data:
            if key not in ALL_KEYS:
                hint = did_you_mean(key, ALL_KEYS)
                message = f"is not known.{hint} Known here: {', '.join(ALL_KEYS)}."
                self.fault((key,), message, of_key=True)
        name = self.name()
        network = self.network()
        found: dict[str, Any] = {key: self.section(key) for key in SECTIONS}
        self.check_choices()
        self.fill_weights(found, network)
        self.fill_images(found)
        self.check_hardware(found)
        self.check_preprocessing(found["preprocessing"], network)
        if self.faults or self.source.faults:
            ordered = [fault for _, fault in sorted(self.faults, key=lambda pair: pair[0])]
            raise DesignError([*self.source.faults, *ordered])
        assert network is not None
        return Design(name=name, network=network, source=self.source, **found)

    # --- one section at a time ---------------------------------------------------------------

    def name(self) -> str:
        name = self.data.get("name")
        if "name" not in self.data:
            self.fault((), "name is required: must be a text such as 'squeezenet_int8'.")
        elif not isinstance(name, str) or not re.fullmatch(NAME_PATTERN, name):
            better = re.sub(r"[^a-z0-9]+", "_", str(name).lower()).strip("_")
            hint = f" Did you mean {better!r}?" if re.fullmatch(NAME_PATTERN, better) else ""
            self.fault(
                ("name",),
                "must be lower-case letters, digits and single underscores, a letter first, not "
                f"{show(name)}.{hint}",
            )
        elif len(name) > NAME_LENGTH:
            self.fault(("name",), f"must have at most {NAME_LENGTH} letters, not {len(name)}.")
        elif name in RESERVED_NAMES:
            self.fault(
                ("name",),
                f"must not be {name!r}, which means something else in the C++ of the project. "
                f"Did you mean {name + '_design'!r}?",
            )
        return str(name)

    def network(self) -> NetworkChoice | None:
        if "network" not in self.data:
            self.fault((), "network is required: must be {family: ...} or {file: ...}.")
            return None
        data = self.data["network"]
        if not isinstance(data, dict):
            known = data if isinstance(data, str) and data in self.families else None
            hint = f" Did you mean {{family: {known}}}?" if known else ""
            self.fault(
                ("network",), f"must be {{family: ...}} or {{file: ...}}, not {show(data)}.{hint}"
            )
            return None
        if ("family" in data) == ("file" in data):
            hint = next((did_you_mean(k, ["family", "file"]) for k in data), "")
            got = "both" if "family" in data else "neither"
            self.fault(
                ("network",), f"must have either `family` or `file`, and it has {got}.{hint}"
            )
            return None
        return self.network_file(data) if "file" in data else self.network_family(data)

    def network_family(self, data: dict[str, Any]) -> NetworkChoice | None:
        family = data["family"]
        if not isinstance(family, str) or family not in self.families:
            names = ", ".join(sorted(self.families))
            self.fault(
                ("network", "family"),
                f"must be one of {names}, not {show(family)}."
                f"{did_you_mean(str(family), self.families)}",
            )
            return None
        parameters = validate(
            self.families[family],
            {key: value for key, value in data.items() if key != "family"},
            self.source,
            ("network",),
            self.faults,
            known=("family",),
        )
        return None if parameters is None else NetworkChoice(family, parameters)

    def network_file(self, data: dict[str, Any]) -> NetworkChoice | None:
        for key in data:
            if key != "file":
                self.fault(
                    ("network", key),
                    "is not known beside `file`: a model file brings its own structure.",
                    of_key=True,
                )
        if not isinstance(data["file"], str):
            self.fault(("network", "file"), f"must be a path, not {show(data['file'])}.")
            return None
        file = self.existing(("network", "file"), data["file"])
        if file is None or not self.has_suffix(("network", "file"), file, MODEL_SUFFIXES):
            return None
        return NetworkChoice(file=file)

    def section(self, key: str) -> Section | None:
        data = self.data.get(key)
        if data is None:  # absent, or everything in it is commented out
            data = {}
        return validate(SECTIONS[key], data, self.source, (key,), self.faults, reasons=REASONS)

    # --- files -------------------------------------------------------------------------------

    def existing(self, path: KeyPath, text: str | Path) -> Path | None:
        """The absolute path of what the design names, if it is there."""
        file = Path(self.base, Path(text).expanduser())
        try:
            if file.exists():
                return file.resolve()
            siblings = [entry.name for entry in file.parent.iterdir()]
        except (OSError, ValueError):  # a path with a NUL byte, a name that is too long, ...
            siblings = []
        hint = did_you_mean(file.name, siblings)
        if not siblings and file.parent != self.base:
            hint = f" There is no folder {str(Path(text).parent)!r}, or nothing in it."
        self.fault(
            path,
            f"must name what exists, but there is no {str(text)!r} (paths are relative to the "
            f"design file).{hint}",
        )
        return None

    def has_suffix(self, path: KeyPath, file: Path, suffixes: tuple[str, ...]) -> bool:
        if file.is_file() and file.suffix.lower() in suffixes:
            return True
        got = f"a folder, {file.name!r}" if file.is_dir() else repr(file.name)
        self.fault(path, f"must be a file that ends in {', '.join(suffixes)}, not {got}.")
        return False

    def fill_weights(self, found: dict[str, Any], network: NetworkChoice | None) -> None:
        """Resolves the file and the default source of the weights."""
        given = self.given("weights", "file")
        change: dict[str, Any] = {}
        if isinstance(given, str):
            file = self.existing(("weights", "file"), given)
            if file is not None and not file.is_dir():
                self.has_suffix(("weights", "file"), file, WEIGHT_SUFFIXES)
            change = {"file": file, "source": "file"}
        weights: Weights | None = found["weights"]
        if weights is None:
            return
        if weights.source is None and not change:
            own = network is not None and network.file is not None
            change = {"source": "model" if own else "random"}
        elif weights.source == "model" and network is not None and network.file is None:
            self.fault(
                ("weights", "source"),
                "must be 'random' for a family, which brings no weights, not 'model'.",
            )
        found["weights"] = weights.model_copy(update=change)

    def fill_images(self, found: dict[str, Any]) -> None:
        """Resolves the pictures of calibration and verification, and what hangs on them."""
        for key in ("calibration", "verification"):
            given = self.given(key, "images")
            change: dict[str, Any] = {"source": "noise"}
            if isinstance(given, str):
                change = {"images": self.existing((key, "images"), given)}
                if key == "calibration" and self.given(key, "count") is None:
                    change["count"] = _CALIBRATION_PICTURES
            images: Images | None = found[key]
            if images is not None:
                found[key] = images.model_copy(update=change)

    # --- what takes two values ---------------------------------------------------------------

    def given(self, *path: str) -> Any:
        """What the YAML holds at a path, or None; checked or not."""
        value: Any = self.data
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return value

    def exclude(self, section: KeyPath, first: str, second: str, why: str) -> None:
        """A fault if both of two keys are given."""
        paths = [*section, first], [*section, second]
        if all(self.given(*map(str, path)) is not None for path in paths):
            message = f"must not stand beside `{first}`: {why}. Leave one of them out."
            self.fault((*section, second), message, of_key=True)

    def check_choices(self) -> None:
        """The keys of which only one may be given."""
        if self.given("weights", "source") != "file":
            self.exclude(("weights",), "file", "source", "the file is the source")
        elif self.given("weights", "file") is None:
            self.fault(("weights", "source"), "must come with a `file` when it is 'file'.")
        self.exclude(("weights",), "file", "seed", "nothing is drawn")
        if self.given("weights", "source") == "model":
            self.exclude(("weights",), "source", "seed", "of a model's weights nothing is drawn")
        self.check_heads()
        for key in ("calibration", "verification"):
            self.exclude((key,), "images", "source", "the images are the source")
            self.exclude((key,), "images", "seed", "nothing is drawn")
        self.exclude(
            ("hardware",),
            "reuse_factor",
            "target",
            "the target decides the reuse factors (hardware.layers may still set single ones)",
        )
        if self.given("hardware", "strategy") == "latency":
            why = "it folds as little as is legal, whatever the target"
            self.exclude(("hardware",), "strategy", "target", why)
        target = self.given("hardware", "target")
        keys = tuple(Target.model_fields)
        for first, second in combinations(keys, 2):
            self.exclude(("hardware", "target"), first, second, "a plan has one target")
        if isinstance(target, dict) and not any(target.get(key) is not None for key in keys):
            names = ", ".join(f"`{key}`" for key in keys)
            self.fault(("hardware", "target"), f"must have one of {names}.")

    def check_heads(self) -> None:
        """What only one head takes, where no output has that head."""
        layers = self.given("outputs", "layers")
        sections: list[KeyPath] = [("outputs",)]
        sections += [
            ("outputs", "layers", name) for name in (layers if isinstance(layers, dict) else ())
        ]
        heads = [self.given(*map(str, section), "head") for section in sections]
        for section, (key, head) in product(sections, (("k", "top_k"), ("width", "softmax"))):
            if head not in heads and self.given(*map(str, section), key) is not None:
                message = f"must come with `head: {head}`: no other head takes it."
                self.fault((*section, key), message, of_key=True)

    def check_hardware(self, found: dict[str, Any]) -> None:
        from hwflow.plan.device import find_device, resolve_part

        hardware: Hardware | None = found["hardware"]
        name = hardware.part if hardware is not None else self.given("hardware", "part")
        if not isinstance(name, str):
            return
        try:
            part = resolve_part(name)
        except DesignError as error:
            self.fault(("hardware", "part"), error.faults[0].message)
            return
        if hardware is None:
            return
        found["hardware"] = hardware.model_copy(update={"part": part})
        target = hardware.target
        try:
            device = find_device(part)
            has_uram = device.uram > 0
            can_hold = device.uram_initialisable or hardware.uram_load_port
        except DesignError as error:  # it exists, but its resources are not known
            has_uram = can_hold = True
            for key in ("latency_ms", "fastest"):
                if target is not None and getattr(target, key) is not None:
                    self.fault(
                        ("hardware", "target", key), f"cannot be planned: {error.faults[0].message}"
                    )
        places: list[tuple[KeyPath, str]] = [(("hardware", "storage"), hardware.storage)]
        for pattern, partial in hardware.layers.items():
            places.append((("hardware", "layers", pattern, "storage"), partial.storage))
        for path, storage in places:
            if storage == "uram" and not has_uram:
                self.fault(path, f"must be 'auto', 'lut' or 'bram': {part} has no UltraRAM.")
            elif storage == "uram" and not can_hold:
                self.fault(
                    path,
                    f"must be 'auto', 'lut' or 'bram', or come with "
                    f"`hardware.uram_load_port: true`: the UltraRAM of {part} cannot be "
                    f"initialised, so its weights have to be loaded at start-up.",
                )
        if target is not None and target.frames_per_second is not None:
            most = 1e9 / hardware.clock_period_ns
            if target.frames_per_second > most:
                self.fault(
                    ("hardware", "target", "frames_per_second"),
                    f"must be at most {most:g}, one picture a clock cycle, not "
                    f"{target.frames_per_second:g}.",
                )

    def check_preprocessing(
        self, preprocessing: Preprocessing | None, network: NetworkChoice | None
    ) -> None:
        if preprocessing is None:
            return
        crop, resize = preprocessing.crop_size, preprocessing.resize
        if crop is not None and resize is not None and max(crop) > resize:
            self.fault(
                ("preprocessing", "crop"),
                f"must be at most the {resize} pixels that `resize` leaves, not {max(crop)}.",
            )
        shape = network.input_shape if network is not None else None
        if shape is None:
            return
        if crop is not None and crop != shape[:2]:
            self.fault(
                ("preprocessing", "crop"),
                f"must be the network's input, {shape[0]} x {shape[1]} pixels, not "
                f"{crop[0]} x {crop[1]}. Leave it out to have that.",
            )
        for key in ("mean", "scale"):
            values = getattr(preprocessing, key)
            if isinstance(values, tuple) and len(values) != shape[2]:
                self.fault(
                    ("preprocessing", key),
                    f"must be one number, or one for each of the input's {shape[2]} channels, not "
                    f"{len(values)} of them.",
                )


def _relative(path: Path, base: Path) -> str:
    try:
        return path.relative_to(base.resolve()).as_posix()
    except ValueError:
        return path.name


def _content_digest(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of all files of a folder."""
    try:
        if not path.is_dir():
            return hashlib.sha256(path.read_bytes()).hexdigest()
        digest = hashlib.sha256()
        for file in sorted(entry for entry in path.rglob("*") if entry.is_file()):
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            digest.update(f"{file.relative_to(path).as_posix()}\0{content}\n".encode())
        return digest.hexdigest()
    except OSError as error:
        raise DesignError(
            Fault(str(path), "", f"cannot be read: {error.strerror or error}")
        ) from None
