"""Why conda and PyPI cannot agree, in words: who needs what on one side, and who leaves no room for it on the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from mfenv.domain.channel import without_credentials
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.requirement import Requirement
from mfenv.domain.resolved import ResolvedEnvironment
from mfenv.errors import ResolutionFailed
from mfenv.resolve.pypi import Demand, Preferred, Provided, PypiRequest
from mfenv.resolve.versions import admits, conda_admits, normal_version

_SHOWN = 6


def clash(
    request: ResolutionRequest,
    asked: PypiRequest,
    base: ResolvedEnvironment,
    preferred: Preferred,
    versions: Mapping[str, Sequence[str]],
    demands: Sequence[Demand],
    output: str,
) -> ResolutionFailed:
    """Make the error.

    `base` is conda's answer without PyPI's word and `preferred` PyPI's without conda's; `versions` are all that the
    channels have, by conda's names; `demands` is what is known of who needs what; `output` has the tools' own words.
    """
    sentences: dict[str, None] = {}
    blamed: dict[str, None] = {}
    for provided in asked.provided:
        needs = demands_on(provided, asked, preferred, demands)
        if not needs:
            continue
        limits = list(_limits(provided, needs, request, base, versions.get(provided.conda_name, ())))
        sentences[f"{' and '.join(map(need_of, needs))}, but {' and '.join(text for text, _ in limits)}"] = None
        blamed |= dict.fromkeys(name for need in needs for name in (need.through, need.by, need.project) if name)
        blamed |= dict.fromkeys(name for _, names in limits for name in names)
    return ResolutionFailed(
        "; ".join(sentences) or "the PyPI packages do not fit what conda provides",
        hint="Loosen one of the two sides, or take that package and those who need it from the same side",
        output=output,
        packages=blamed,
    )


def refuse_addresses(asked: PypiRequest) -> None:
    """Refuse a distribution that is asked for from an address or an index of its own and that conda provides as well.

    The same goes for one that is asked for with the digests of its files: conda's file is another.
    """
    provided = {found.name: found for found in asked.provided}
    for wanted in asked.requirements:
        how = _only_way(wanted)
        if how and not wanted.marker and (found := provided.get(wanted.name)):
            raise ResolutionFailed(
                f"`{wanted.name}` is asked for {how}, "
                f"but conda's packages need or are `{found.conda_name}`, which provides {found.version}",
                hint="Take it, and the packages that need it, from the same side",
                packages=[wanted.name, found.conda_name],
            )


def _only_way(wanted: Requirement) -> str:
    """Say how a requirement can come, when there is only one way; empty otherwise."""
    if wanted.url:
        return f"from an address, `{without_credentials(wanted.url)}`"
    if wanted.index:
        return f"from the index `{without_credentials(wanted.index)}`"
    return "with hashes of its files" if wanted.hashes else ""


def unreadable(asked: PypiRequest, failure: ResolutionFailed) -> ResolutionFailed | None:
    """Return the error for a distribution whose version, in conda's way of counting, PyPI's rules cannot read."""
    for found in asked.provided:
        if normal_version(found.version) is None and f"{found.name} was not found" in failure.output:
            return ResolutionFailed(
                f"`{found.name}` is needed from PyPI, and conda provides it as version `{found.version}`, "
                "which is not a version by PyPI's rules (PEP 440)",
                hint="Take the packages that need it from conda",
                output=failure.output,
                packages=[found.name, found.conda_name],
            )
    return None


def demands_on(provided: Provided, asked: PypiRequest, preferred: Preferred, demands: Sequence[Demand]) -> list[Demand]:
    """Return what PyPI packages, or the user, need of a distribution that is not what conda provides."""
    mine = [wanted for wanted in asked.requirements if wanted.name == provided.name]
    found = [
        Demand(project=provided.name, specifier=wanted.specifier)
        for wanted in mine
        if wanted.specifier and not admits(wanted.specifier, provided.version)
    ]
    found += [
        replace(demand, through=_root(demand.by, preferred))
        for demand in demands
        if demand.project == provided.name and demand.by != provided.name
    ]
    wanted_version = preferred.versions.get(provided.name)
    if not found and wanted_version and wanted_version != normal_version(provided.version):
        found = [
            Demand(project=provided.name, specifier="", example=wanted_version, by=by, through=_root(by, preferred))
            for by in preferred.needed_by.get(provided.name, ())
            if by != provided.name
        ]
    return found


def _root(project: str, preferred: Preferred) -> str:
    """Return the requested package that `project` is there for; empty when it is requested itself."""
    seen, waiting = {project}, [project]
    while waiting:
        name = waiting.pop(0)
        parents = preferred.needed_by.get(name, ())
        if name in parents:
            return "" if name == project else name
        fresh = [parent for parent in parents if parent not in seen]
        seen.update(fresh)
        waiting += fresh
    return ""


def need_of(demand: Demand) -> str:
    """Say who needs what."""
    what = f"`{demand.project}{demand.specifier}`"
    if demand.example:
        what = f"another `{demand.project}`, such as {demand.example}"
    if not demand.by:
        return f"{what} is asked for from PyPI"
    through = f" (needed by `{demand.through}`)" if demand.through else ""
    return f"`{demand.by}`{through} from PyPI needs {what}"


def _limits(
    provided: Provided,
    needs: Sequence[Demand],
    request: ResolutionRequest,
    base: ResolvedEnvironment,
    versions: Sequence[str],
) -> Iterator[tuple[str, list[str]]]:
    """Yield what on conda's side stands against the needs, each with the names to blame."""
    fitting = [
        version for version in versions if all(admits(need.specifier or f"=={need.example}", version) for need in needs)
    ]
    name = provided.conda_name
    told = False
    for spec in request.match_specs:
        if spec.name == name and not any(conda_admits(spec.version, version) for version in fitting):
            told = told or bool(spec.version != "*")
            if spec.version != "*":
                yield f"`{spec}` is asked for from conda", [name]
    if not fitting:
        shown = ", ".join(versions[:_SHOWN]) + (" and older" if len(versions) > _SHOWN else "")
        yield f"the channels have `{name}` {shown}", [name]
        return
    for package in base.packages:
        for depend in package.record.depends:
            other, _, constraint = depend.partition(" ")
            text = constraint.split(" ")[0]
            if other == name and text and not any(conda_admits(text, version) for version in fitting):
                told = True
                root = _conda_root(package.record.name, request, base)
                through = f" (needed by `{root}`)" if root and root != package.record.name else ""
                yield (
                    f"conda's `{package.record.name}` {package.record.version}{through} needs `{name} {text}`",
                    [
                        package.record.name,
                        *([root] if root else []),
                    ],
                )
    if not told:
        yield (
            f"conda provides `{name}` {provided.version}, and nothing else of it together with its other packages",
            [name],
        )


def _conda_root(name: str, request: ResolutionRequest, base: ResolvedEnvironment) -> str:
    """Return a requested conda package that `name` is there for."""
    requested = {spec.name for spec in request.spec.conda}
    depends = {p.record.name: {text.split()[0] for text in p.record.depends} for p in base.packages}
    seen, waiting = {name}, [name]
    while waiting:
        current = waiting.pop(0)
        if current in requested:
            return current
        fresh = [other for other, needed in depends.items() if current in needed and other not in seen]
        seen.update(fresh)
        waiting += fresh
    return ""
