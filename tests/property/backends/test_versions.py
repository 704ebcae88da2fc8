"""Conda's and PEP 440's versions mean the same set, wherever both can say it."""

from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from controlplane.backends.environments.conda_specs import parse
from controlplane.backends.environments.wanted import EnvironmentFileError
from controlplane.backends.process.fallback import above_and_below

number = st.integers(0, 30)
version = st.lists(number, min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
operator = st.sampled_from(["==", "!=", ">=", "<=", ">", "<"])
blank = st.sampled_from(["", " "])


@given(version, version)
def test_one_equals_sign_is_a_prefix(asked: str, other: str) -> None:
    allowed = SpecifierSet(parse(f"numpy={asked}").specifier)
    parts, others = asked.split("."), other.split(".")
    padded = others + ["0"] * (len(parts) - len(others))
    assert allowed.contains(other) == (padded[: len(parts)] == parts)


@given(st.lists(st.tuples(operator, version), min_size=1, max_size=3), blank, version)
def test_clauses_all_hold(clauses: list[tuple[str, str]], space: str, other: str) -> None:
    text = f"numpy{space}" + f",{space}".join(f"{op}{space}{asked}" for op, asked in clauses)
    compare = {
        "==": Version.__eq__,
        "!=": Version.__ne__,
        ">=": Version.__ge__,
        "<=": Version.__le__,
        ">": Version.__gt__,
        "<": Version.__lt__,
    }
    spec = parse(text)
    assert spec.name == "numpy"
    assert not spec.lost
    expected = all(compare[op](Version(other), Version(asked)) for op, asked in clauses)
    assert SpecifierSet(spec.specifier).contains(other) == expected


@given(
    version,
    st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True),
    st.sampled_from(["{}={}={}", "{} {} {}", "{}=={}={}"]),
)
def test_a_build_string_pins_exactly(asked: str, build: str, form: str) -> None:
    spec = parse(form.format("numpy", asked, build))
    assert (spec.specifier, spec.build) == (f"=={asked}", build)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        spec = parse(text)
    except EnvironmentFileError:
        return
    SpecifierSet(spec.specifier)
    assert spec.name in text


@given(st.lists(st.tuples(operator, version), min_size=1, max_size=3))
def test_above_and_below_leave_out_what_was_named(clauses: list[tuple[str, str]]) -> None:
    above, below = above_and_below(",".join(f"{op}{asked}" for op, asked in clauses))
    for _, asked in clauses:
        assert not SpecifierSet(above).contains(asked)
        assert not SpecifierSet(below).contains(asked)
