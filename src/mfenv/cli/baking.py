"""Images that bring environments, from the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from mfenv.app.bake import Baked, make_here, write_context
from mfenv.app.oci_image import write_image
from mfenv.app.wiring import Wiring
from mfenv.cli import showing
from mfenv.cli.finding import environments, tell
from mfenv.cli.reporting import working
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.platform import Platform
from mfenv.errors import InvalidSpec
from mfenv.io.files import remove_tree


def bake_environments(
    texts: Sequence[str],
    output: str,
    *,
    kind: str,
    base: str | None,
    base_layout: str | None,
    path: str,
    arch: str | None,
    is_pathspec: bool,
    local_only: bool,
    as_json: bool,
) -> None:
    """Write what makes an image of environments, or the image, and print what it is. Raises `EnvironmentsError`."""
    if base and kind == "oci":
        raise InvalidSpec("--base names an image in a registry, which nobody asks here", hint="Give --base-layout")
    if base_layout and kind == "dockerfile":
        raise InvalidSpec("--base-layout is for --format oci", hint="Give --base, as after FROM in a Dockerfile")
    platform = Platform.parse(arch, where="--arch") if arch else None
    with environments(local_only=local_only) as found:
        chosen = [found.find(text, where="ENV", platform=platform, is_pathspec=is_pathspec) for text in texts]
        locks = list({lock.id: lock for lock in chosen}.values())
        with working(f"Baking {len(locks)} environment{'' if len(locks) == 1 else 's'}"):
            if kind == "dockerfile":
                image = base or f"python:{sys.version_info.major}.{sys.version_info.minor}"
                baked = write_context(found.wiring, locks, Path(output), base=image, path=path)
            else:
                baked = _image(found.wiring, locks, Path(output), Path(base_layout) if base_layout else None, path)
    if as_json:
        ids = [lock.id for lock in locks]
        showing.document({"folder": str(baked.folder), "full_ids": ids, "path": path, "digest": baked.digest or None})
        return
    for lock in baked.locks:
        showing.say(f"{lock.id} at {path}/envs/{lock.id}")
    if kind == "dockerfile":
        tell(f"Build it, without a network: docker build --network=none {output}")
    else:
        showing.say(f"{baked.folder}: {baked.digest}")


def _image(wiring: Wiring, locks: Sequence[LockedEnvironment], output: Path, base: Path | None, path: str) -> Baked:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InvalidSpec(f"`{output}` is there already, and is not empty", hint="Give another --output")
    place = Path(path)
    above = _to_be_made(place)
    there = {lock.id for lock in locks if (place / "envs" / lock.id).exists()}
    with TemporaryDirectory(prefix="mfenv-bake-") as work:
        try:
            trees = make_here(wiring, locks, place, Path(work) / "context")
            digest = write_image(
                output.absolute(),
                trees,
                platform=locks[0].platform,
                variables={"METAFLOW_CONDA_NODE_PATH": path},
                base=base,
            )
        finally:
            made = [place / "envs" / lock.id for lock in locks if lock.id not in there]
            for folder in [above] if above else made:
                remove_tree(folder)
    return Baked(folder=output, locks=tuple(locks), path=path, digest=digest)


def _to_be_made(place: Path) -> Path | None:
    """Return the uppermost folder that is not there yet on the way to `place`; None where it is there."""
    missing = [folder for folder in (place, *place.parents) if not folder.exists()]
    return missing[-1] if missing else None
