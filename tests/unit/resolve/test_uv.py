"""What uv is told, and what its refusals become."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mfenv.domain.index import PackageIndex
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.requirement import Requirement
from mfenv.domain.spec import IndexStrategy, SolveOptions
from mfenv.errors import ResolutionFailed
from mfenv.io.process import Completed
from mfenv.resolve.backends.uv import UvResolver, compile_arguments, failure, platform_name, torch_backend
from mfenv.resolve.pypi import PypiRequest
from mfenv.testing.pypi import Ran, ScriptedProcessRunner, ended

SAVED = Path(__file__).parents[2] / "data" / "uv"
LINUX = baseline(Platform.LINUX_64, {})


def wanted(*texts: str) -> PypiRequest:
    requirements = tuple(Requirement.from_text(text, where="") for text in texts)
    return PypiRequest(requirements=requirements, python="3.11.7", target=LINUX)


BASE = [
    *("pip", "compile", "--no-header", "--no-python-downloads"),
    *("--python", sys.executable, "--python-version", "3.11.7", "--python-platform"),
]


def test_arguments_follow_from_the_request() -> None:
    assert compile_arguments(wanted("a")) == [
        *BASE,
        *("x86_64-manylinux_2_28", "--index-strategy", "first-index"),
    ]
    gpu = baseline(Platform.LINUX_AARCH64, {"__glibc": "2.34", "__cuda": "12.4"})
    options = SolveOptions(index_strategy=IndexStrategy.BEST_MATCH, exclude_newer="2025-01-31")
    assert compile_arguments(replace(wanted("a"), target=gpu, options=options)) == [
        *BASE,
        *("aarch64-manylinux_2_34", "--index-strategy", "unsafe-best-match"),
        *("--exclude-newer", "2025-02-01T00:00:00+00:00", "--torch-backend", "cu124"),
    ]


@pytest.mark.parametrize(
    ("platform", "facts", "name"),
    [
        ("linux-64", {}, "x86_64-manylinux_2_28"),
        ("linux-64", {"__glibc": "2.17"}, "x86_64-manylinux_2_17"),
        ("linux-64", {"__glibc": "2.12"}, "x86_64-manylinux_2_17"),
        ("linux-64", {"__glibc": "2.27"}, "x86_64-manylinux_2_17"),
        ("linux-64", {"__glibc": "2.30"}, "x86_64-manylinux_2_28"),
        ("linux-64", {"__glibc": "2.34"}, "x86_64-manylinux_2_34"),
        ("linux-64", {"__glibc": "2.99"}, "x86_64-manylinux_2_40"),
        ("linux-aarch64", {}, "aarch64-manylinux_2_28"),
        ("osx-64", {}, "x86_64-apple-darwin"),
        ("osx-arm64", {}, "aarch64-apple-darwin"),
    ],
)
def test_a_target_has_the_newest_name_that_it_can_run(platform: str, facts: dict[str, str], name: str) -> None:
    assert platform_name(baseline(Platform(platform), facts)) == name


@pytest.mark.parametrize(
    ("cuda", "backend"),
    [("", None), ("11.7", None), ("11.8", "cu118"), ("12.4", "cu124"), ("12.7", "cu126"), ("13", "cu130"), ("14.1", "cu132")],
)  # fmt: skip
def test_a_gpu_has_the_newest_build_of_pytorch_that_it_can_run(cuda: str, backend: str | None) -> None:
    assert torch_backend(baseline(Platform.LINUX_64, {"__cuda": cuda})) == backend


SECRETS = {
    "https://one/simple": "https://me:canary-one@one/simple",
    "https://two/simple": "https://me:canary-two@two/simple",
    "https://three": "https://me:canary-three@three",
}


def answered(ran: Ran) -> Completed:
    (ran.folder / "pylock.toml").write_text('lock-version = "1.0"\n')
    lines.append((ran.folder / "requirements.in").read_text())
    return ended()


lines: list[str] = []


def test_credentials_are_in_the_environment_and_never_in_the_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_INDEX", "https://users/simple")
    monkeypatch.delenv("GIT_CONFIG_COUNT", raising=False)
    lines.clear()
    runner = ScriptedProcessRunner([answered])
    resolver = UvResolver(runner, cache=tmp_path / "cache", secret_urls=SECRETS, find_links=("/a", "https://l"))
    request = replace(
        wanted("a @ https://three/a-1-py3-none-any.whl", "b @ git+https://three/b.git", "c"),
        indexes=(PackageIndex(url="https://one/simple"), PackageIndex(url="https://plain/simple")),
        default_index=PackageIndex(url="https://two/simple"),
    )
    assert resolver.resolve(request) == ()
    (ran,) = runner.runs
    assert "canary" not in " ".join(ran.command)
    git = {name: value for name, value in ran.environment.items() if name.startswith("GIT_")}
    assert len(git) == 2 * len(SECRETS) + 1
    shown = {name: ran.environment[name] for name in ("UV_CACHE_DIR", "UV_INDEX", "UV_DEFAULT_INDEX", "UV_FIND_LINKS")}
    assert shown == {
        "UV_CACHE_DIR": str(tmp_path / "cache"),
        "UV_INDEX": "https://me:canary-one@one/simple https://plain/simple https://users/simple",
        "UV_DEFAULT_INDEX": "https://me:canary-two@two/simple",
        "UV_FIND_LINKS": "/a,https://l",
    }
    assert lines == ["a @ https://me:canary-three@three/a-1-py3-none-any.whl\nb @ git+https://three/b.git\nc\n"]
    assert not ran.folder.exists()


def test_macos_is_told_its_baseline(tmp_path: Path) -> None:
    lines.clear()
    runner = ScriptedProcessRunner([answered])
    request = replace(wanted("a"), target=baseline(Platform.OSX_ARM64, {"__osx": "12.3"}))
    UvResolver(runner, cache=tmp_path).resolve(request)
    assert runner.runs[0].environment["MACOSX_DEPLOYMENT_TARGET"] == "12.3"


# The saved refusal, what was asked for, the message, the hint, who is blamed.
CREDENTIALS = "Check the credentials for that index: in its URL, in netrc, or in a keyring"
REFUSALS = {
    "unsatisfiable": (
        ("needy", "two-words<2"),
        "the PyPI packages cannot be had together for linux-64",
        "Loosen one of the versions named above",
        ("needy", "two-words"),
    ),
    "missing-package": (
        ("nowhere",),
        "there is no package `nowhere` on the package index",
        "Check the spelling, add the index that has it to `extra_indices`, or ask for it with @conda",
        ("nowhere",),
    ),
    "no-wheel-for-target": (
        ("mac-only",),
        "the PyPI packages cannot be had together for linux-64",
        "Wheels are available for `mac-only` (v1.0) on the following platform: `macosx_11_0_arm64`",
        ("mac-only",),
    ),
    "index-401": (("one",), "a package index answers 401 Unauthorized", CREDENTIALS, ("one",)),
    "index-403": (("one",), "a package index answers 403 Forbidden", CREDENTIALS, ("one",)),
    "index-500": (
        ("many",),
        "the package index cannot be used",
        "Check that it can be reached from here, and run again",
        ("many",),
    ),
    "unreachable": (
        ("one",),
        "the package index cannot be used",
        "Check that it can be reached from here, and run again",
        ("one",),
    ),
    "git-fails": (
        ("sub @ git+file:///served/none.git@main",),
        "the source of `sub` cannot be had",
        "Check the address, that it can be reached from here, and your credentials for it",
        ("sub",),
    ),
    "build-fails": (
        ("breaks",),
        "`breaks` cannot be built, which is needed to know what it depends on",
        "Build failures usually indicate a problem with the package or the build environment",
        ("breaks",),
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals_are_told_in_words(name: str) -> None:
    texts, message, hint, packages = REFUSALS[name]
    code, _, errors = (SAVED / f"{name}.txt").read_text().partition("\n")
    found = failure(wanted(*texts), ended(int(code), errors=errors), {})
    assert (found.message, found.hint, tuple(found.packages)) == (message, hint, packages)
    assert "hint:" not in found.output
    assert found.output.startswith("error: ")


def test_the_way_out_of_the_first_index_is_our_setting() -> None:
    errors = (SAVED / "first-index.txt").read_text().partition("\n")[2]
    found = failure(wanted("two-words>=5"), ended(1, errors=errors), {})
    assert "set METAFLOW_CONDA_PYPI_INDEX_STRATEGY to `unsafe-best-match`" in (found.hint or "")
    assert "--index-strategy" not in (found.hint or "")


def test_a_build_that_fails_shows_its_last_lines() -> None:
    errors = (SAVED / "build-fails.txt").read_text().partition("\n")[2]
    found = failure(wanted("breaks"), ended(1, errors=errors), {})
    assert found.output.splitlines()[-1].strip() == "line 39"
    assert found.output.splitlines()[0] == "error: Failed to build `breaks==1.0`"


@pytest.mark.parametrize("name", sorted(path.stem for path in SAVED.glob("*.txt")))
def test_no_refusal_shows_a_secret(name: str) -> None:
    text = (SAVED / f"{name}.txt").read_text().replace("http://index.invalid", "http://me:canary-pass@index.invalid")
    text += "\nhint: the password canary-pass is wrong\n"
    found = failure(
        wanted("one"), ended(1, errors=text), {"http://index.invalid": "http://me:canary-pass@index.invalid"}
    )
    assert "canary" not in f"{found.message}{found.hint}{found.output}"


def test_a_uv_that_hangs_is_told_so(tmp_path: Path) -> None:
    resolver = UvResolver(ScriptedProcessRunner([ended(-9, timed_out=True)]), cache=tmp_path)
    with pytest.raises(ResolutionFailed, match="uv did not find an answer within 600 seconds"):
        resolver.resolve(wanted("a"))


_MANY_AT_ONCE = """
import sys, sysconfig, threading
from mfenv.resolve.backends.uv import find_uv

sys.setswitchinterval(1e-6)
answers = []

def one(start):
    start.wait()
    try:
        answers.append(find_uv())
    except BaseException as error:
        answers.append(repr(error))

for _ in range(40):
    sysconfig._CONFIG_VARS = None
    start = threading.Barrier(8)
    threads = [threading.Thread(target=one, args=[start]) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
print(len(answers), len(set(answers)))
"""


def test_uv_is_found_from_many_threads_at_once() -> None:
    """Steps are resolved in threads, of which the first ones ask `sysconfig` for the first time."""
    done = subprocess.run([sys.executable, "-c", _MANY_AT_ONCE], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["320", "1"]
