"""Builds the simulation engine: a shared library beside `hwflow.simulate.fast`, which loads it."""

from glob import glob

from setuptools import Extension, setup

ENGINE = Extension(
    "hwflow.simulate._engine",
    sources=sorted(glob("sim/src/**/*.cpp", recursive=True) + glob("sim/bindings/*.cpp")),
    depends=sorted(glob("sim/**/*.hpp", recursive=True) + glob("sim/**/*.h", recursive=True)),
    include_dirs=["sim/include", "sim/bindings"],
    language="c++",
    extra_compile_args=[
        "-std=c++20",
        "-O3",
        "-g0",
        "-pthread",
        "-fvisibility=hidden",
        "-Wno-restrict",  # GCC 12 sees overlaps in std::string that are not there
    ],
    extra_link_args=["-pthread"],
)

setup(ext_modules=[ENGINE])
