"""Builds the compiled parts: shared libraries beside the modules that load them.

The simulation engine for `hwflow.simulate.fast`, and the dataflow core for `hwflow.plan.dataflow`.
"""

import runpy
from glob import glob
from pathlib import Path

from setuptools import Extension, setup

SOURCE_DIGEST = runpy.run_path("hwflow/simulate/engine_sources.py")["source_digest"](Path())

ENGINE = Extension(
    "hwflow.simulate._engine",
    sources=sorted(glob("sim/src/**/*.cpp", recursive=True) + glob("sim/bindings/*.cpp")),
    depends=sorted(glob("sim/**/*.hpp", recursive=True) + glob("sim/**/*.h", recursive=True)),
    include_dirs=["sim/include", "sim/bindings"],
    language="c++",
    define_macros=[("HWFLOW_SOURCE_DIGEST", f'"{SOURCE_DIGEST}"')],  # told when it is stale
    extra_compile_args=[
        "-std=c++20",
        "-O3",
        "-g0",
        "-pthread",
        "-fvisibility=hidden",
        "-Wno-restrict",  # GCC 12 sees overlaps in std::string that are not there,
        "-Wno-maybe-uninitialized",  # and its own intrinsics use values that are not set
    ],
    extra_link_args=["-pthread"],
)

DATAFLOW = Extension(
    "hwflow.plan._dataflow",
    sources=sorted(glob("sim/dataflow/*.cpp")),
    depends=sorted(glob("sim/dataflow/*.h") + glob("sim/dataflow/*.hpp")),
    language="c++",
    extra_compile_args=["-std=c++20", "-O3", "-g0", "-fvisibility=hidden"],
)

setup(ext_modules=[ENGINE, DATAFLOW])
