"""The spellings of requested packages, and what is refused."""

from __future__ import annotations

import pytest

from mfenv.domain.channel import Channel
from mfenv.domain.matchspec import MatchSpec, parse_version_spec
from mfenv.errors import InvalidSpec


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("", "*"),
        ("*", "*"),
        ("  ", "*"),
        ("1.4.0", "==1.4.0"),
        ("==1.4.0", "==1.4.0"),
        ("== 1.4.0", "==1.4.0"),
        (" 1.4.0 ", "==1.4.0"),
        ("=1.4", "1.4.*"),
        ("= 1.4", "1.4.*"),
        ("1.4.*", "1.4.*"),
        ("1.4*", "1.4.*"),
        ("==1.4.*", "1.4.*"),
        ("=1.4.*", "1.4.*"),
        ("!=1.4", "!=1.4"),
        ("!=1.4.*", "!=1.4.*"),
        ("!=1.4*", "!=1.4.*"),
        (">=1.4.*", ">=1.4"),
        ("<1.4.*", "<1.4"),
        ("~=1.4.2", "~=1.4.2"),
        ("< 2 , >= 1", "<2,>=1"),
        (">=1,<2", "<2,>=1"),
        (">=1,>=1", ">=1"),
        (">=1,*", ">=1"),
        ("1.0|2.0", "==1.0|==2.0"),
        ("1.0 | >=2, <3", "==1.0|<3,>=2"),
        ("1.0|1.0", "==1.0"),
        ("1!2.0", "==1!2.0"),
        ("2.0.post1", "==2.0.post1"),
        ("2.0RC1", "==2.0rc1"),
        ("1.0+cuda.11", "==1.0+cuda.11"),
        ("2023a_1", "==2023a_1"),
        ("1.1.1w", "==1.1.1w"),
        (">=1.26,!=1.26.3,<2", "!=1.26.3,<2,>=1.26"),
        ("1.4.\N{ASTERISK OPERATOR}", "1.4.*"),
        ("\N{ASTERISK OPERATOR}", "*"),
    ],
)
def test_a_version_constraint_has_one_normal_form(written: str, normal: str) -> None:
    assert parse_version_spec(written, where="here") == normal
    assert parse_version_spec(normal, where="here") == normal


_NOT_A_VERSION = (
    "Write `1.26` for exactly that version, `1.26.*` for its patch releases, or `>=1.26,<2` for a range; "
    "an empty text takes any version"
)


@pytest.mark.parametrize(
    ("written", "message", "hint"),
    [
        (
            "1.26,",
            "step `s`: version `1.26,` ends with a comma",
            "Write `1.26` for exactly that version or `>=1.26,<...` for a range",
        ),
        (
            ">=1.2,<2,",
            "step `s`: version `>=1.2,<2,` ends with a comma",
            "Write `1.2` for exactly that version or `>=1.2,<...` for a range",
        ),
        (
            "1.2|",
            "step `s`: version `1.2|` ends with `|`",
            "Write `1.2` for exactly that version or `>=1.2,<...` for a range",
        ),
        (
            "1.2,,<2",
            "step `s`: version `1.2,,<2` has an empty part",
            "Write `1.2` for exactly that version or `>=1.2,<...` for a range",
        ),
        (
            ",",
            "step `s`: version `,` ends with a comma",
            "Write `1.26` for exactly that version or `>=1.26,<...` for a range",
        ),
        ("latest", "step `s`: version `latest` is not a version or a comparison with one", _NOT_A_VERSION),
        (">=", "step `s`: version `>=` is not a version or a comparison with one", _NOT_A_VERSION),
        ("=>1.2", "step `s`: version `=>1.2` is not a version or a comparison with one", _NOT_A_VERSION),
        ("===1.2", "step `s`: version `===1.2` is not a version or a comparison with one", _NOT_A_VERSION),
        (">=1 <2", "step `s`: version `>=1 <2` is not a version or a comparison with one", _NOT_A_VERSION),
        (
            ">=1,two",
            "step `s`: `two` in version `>=1,two` is not a version or a comparison with one",
            _NOT_A_VERSION,
        ),
        ("1.2\n3", "step `s`: version `1.2\n3` is not a version or a comparison with one", _NOT_A_VERSION),
    ],
)
def test_what_is_no_version_is_refused_with_place_text_and_advice(written: str, message: str, hint: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        parse_version_spec(written, where="step `s`")
    assert (caught.value.message, caught.value.hint) == (message, hint)


@pytest.mark.parametrize(
    ("name", "constraint", "expected"),
    [
        ("numpy", "", MatchSpec(name="numpy")),
        ("NumPy", "1.26", MatchSpec(name="numpy", version="==1.26")),
        (" numpy ", ">=1", MatchSpec(name="numpy", version=">=1")),
        ("_libgcc_mutex", "", MatchSpec(name="_libgcc_mutex")),
        ("ruamel.yaml", "", MatchSpec(name="ruamel.yaml")),
        ("numpy", "1.26=py311_0", MatchSpec(name="numpy", version="==1.26", build="py311_0")),
        ("numpy", "==1.26=py311_0", MatchSpec(name="numpy", version="==1.26", build="py311_0")),
        ("numpy", "1.26 py311_0", MatchSpec(name="numpy", version="==1.26", build="py311_0")),
        ("numpy", ">=1.26 py311*", MatchSpec(name="numpy", version=">=1.26", build="py311*")),
        ("numpy", ">=1, <2 py311*", MatchSpec(name="numpy", version="<2,>=1", build="py311*")),
        ("numpy", "* py311*", MatchSpec(name="numpy", build="py311*")),
        ("numpy", "1.26 *", MatchSpec(name="numpy", version="==1.26")),
        ("numpy", "1.26=*", MatchSpec(name="numpy", version="==1.26")),
        ("numpy", "< 2", MatchSpec(name="numpy", version="<2")),
        ("numpy", ">= 1, < 2", MatchSpec(name="numpy", version="<2,>=1")),
        (
            "conda-forge::numpy",
            "1.26",
            MatchSpec(name="numpy", version="==1.26", channel=Channel(location="conda-forge")),
        ),
        (
            "https://me:pw@host/team::numpy",
            "",
            MatchSpec(name="numpy", channel=Channel(location="https://host/team")),
        ),
    ],
)
def test_a_package_is_read_from_its_key_and_its_value(name: str, constraint: str, expected: MatchSpec) -> None:
    assert MatchSpec.parse(name, constraint, where="here") == expected


@pytest.mark.parametrize(
    ("name", "constraint", "message"),
    [
        ("numpy>=1.2", "", "step `s`: `numpy>=1.2` is not the name of a conda package"),
        ("numpy[extra]", "", "step `s`: `numpy[extra]` is not the name of a conda package"),
        ("", "1", "step `s`: `` is not the name of a conda package"),
        ("../numpy", "1", "step `s`: `../numpy` is not the name of a conda package"),
        ("-numpy", "1", "step `s`: `-numpy` is not the name of a conda package"),
        ("numpy", "1.2=a/b", "step `s`: `a/b` is not a build string"),
        ("numpy", "1.2 ../x", "step `s`: `../x` is not a build string"),
        ("not a channel::numpy", "", "step `s`: `not a channel` is neither a channel name nor a URL"),
        (
            "https://me:secret@host/team::num py",
            "",
            "step `s`: `https://host/team::num py` is not the name of a conda package",
        ),
    ],
)
def test_what_is_no_package_is_refused_with_place_and_text(name: str, constraint: str, message: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        MatchSpec.parse(name, constraint, where="step `s`")
    assert caught.value.message == message
    assert caught.value.hint is not None or "build string" in message


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (MatchSpec(name="numpy"), "numpy"),
        (MatchSpec(name="numpy", version=">=1"), "numpy >=1"),
        (MatchSpec(name="numpy", build="py_0"), "numpy * py_0"),
        (MatchSpec(name="numpy", channel=Channel(location="conda-forge")), "conda-forge::numpy"),
        (
            MatchSpec(name="numpy", version="==1", build="py_0", channel=Channel(location="conda-forge")),
            "conda-forge::numpy ==1 py_0",
        ),
    ],
)
def test_a_package_prints_as_condas_match_spec(spec: MatchSpec, text: str) -> None:
    assert str(spec) == text
