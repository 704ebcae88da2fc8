"""What conda packages are called on PyPI, and which have no business there."""

from __future__ import annotations

import re

from packaging.utils import canonicalize_name

_RENAMED = {
    "arrow": "arrow",
    "dask-core": "dask",
    "faiss": "faiss-cpu",
    "libfaiss": "faiss-cpu",
    "lightgbm-cpu": "lightgbm",
    "matplotlib-base": "matplotlib",
    "msgpack-python": "msgpack",
    "numpy-base": "numpy",
    "opencv": "opencv-python-headless",
    "py-opencv": "opencv-python-headless",
    "libopencv": "opencv-python-headless",
    "py-xgboost": "xgboost",
    "py-xgboost-cpu": "xgboost",
    "py-xgboost-gpu": "xgboost",
    "pytables": "tables",
    "python-annoy": "annoy",
    "python-blosc": "blosc",
    "python-chess": "chess",
    "python-clang": "clang",
    "python-duckdb": "duckdb",
    "python-fastjsonschema": "fastjsonschema",
    "python-flatbuffers": "flatbuffers",
    "python-graphviz": "graphviz",
    "python-hdfs": "hdfs",
    "python-igraph": "igraph",
    "python-kubernetes": "kubernetes",
    "python-libarchive-c": "libarchive-c",
    "python-lmdb": "lmdb",
    "python-tzdata": "tzdata",
    "python-wget": "wget",
    "python-xxhash": "xxhash",
    "pytorch": "torch",
    "pytorch-cpu": "torch",
    "pytorch-gpu": "torch",
    "ruamel-yaml": "ruamel-yaml",
    "seaborn-base": "seaborn",
    "tensorflow-base": "tensorflow",
    "tensorflow-eigen": "tensorflow",
    "tensorflow-gpu": "tensorflow",
    "tensorflow-mkl": "tensorflow",
    "torchtext-cpu": "torchtext",
    "torchvision-cpu": "torchvision",
    "torchvision-gpu": "torchvision",
}

_INSIDE_WHEELS = re.compile(
    r"(lib)?(blas|cblas|lapack|lapacke|openblas)(-devel)?|mkl|mkl-devel|nomkl|intel-openmp|llvm-openmp|tbb"
    r"|cudatoolkit|cudatoolkit-dev|cudnn|nccl|cuda(-.+)?|pytorch-cuda|pytorch-mutex|cpuonly|magma-.+"
    r"|libgcc(-ng)?|libstdcxx(-ng)?|libgfortran(-ng)?|libgfortran\d|libgomp|-?libgcc-mutex|-?openmp-mutex"
    r"|ld-impl-linux-64|libprotobuf|arrow-cpp|libxgboost|libhdf5|hdf5|libfaiss-avx2"
)
_OF_THE_MACHINE = re.compile(
    r"python-abi|ca-certificates|openssl|xz|zlib|sqlite|libsqlite|readline|tk|ncurses|libffi|bzip2|libuuid|tzdata"
    r"|libzlib|libnsl|libexpat|expat|(gcc|gxx|gfortran)(-linux-64)?|binutils|make|cmake|ninja|git|curl|wget|unzip"
    r"|graphviz|ffmpeg|libsndfile|libgl|mesalib|nodejs|openjdk|conda(-.+)?|r-base"
)


def pypi_name(conda_name: str) -> str | None:
    """The package's name on PyPI; None for what wheels bring along or the machine must have."""
    name = canonicalize_name(conda_name).strip("-")
    if name in _RENAMED:
        return _RENAMED[name]
    return None if _INSIDE_WHEELS.fullmatch(name) or _OF_THE_MACHINE.fullmatch(name) else name


def needs_the_machine(conda_name: str) -> bool:
    """Whether a package without a counterpart on PyPI is a program or a library that the machine must have."""
    return bool(_OF_THE_MACHINE.fullmatch(canonicalize_name(conda_name).strip("-")))
