"""Environments of the existing product, by their names: taken over on request, or when a flow asks for one."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mfenv.domain.platform import Platform
from mfenv.io.files import sha256_of
from mfenv.testing.legacy import FULL, REQUEST, LegacyRoot
from mfenv.testing.object_stores import s3_client, s3_server
from mfenv.testing.wheels import MadeWheel

if TYPE_CHECKING:
    from tests.conftest import Flows, Ran

ARCH = Platform.host().value
BUILT = "https://_fake/github.com/team/made/1234/made-1.0-py3-none-any.whl"
USES = """
class Uses(FlowSpec):
    @named_env(name="team/old:v1")
    @step
    def start(self):
        from importlib import metadata
        import made
        tell(six=metadata.version("six"))
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        pass
"""


def call(flows: Flows, *arguments: str) -> Ran:
    return flows.call(Path(flows.python).with_name("metaflow"), "environment", *arguments)


def document(ran: Ran) -> Any:
    return json.loads(ran.succeeded().stdout[ran.stdout.index("{") :])


@pytest.fixture
def legacy(flows: Flows, tmp_path: Path) -> LegacyRoot:
    """An environment with packages of the local channel, of which the one half is cached, and a wheel that was built."""
    root = LegacyRoot(tmp_path / "legacy")
    (flows.folder / "environment.yml").write_text("dependencies: [six=1.16, python=3.11]\n")
    first = document(call(flows, "resolve", "-f", "environment.yml", "--local-only", "--json"))["environments"][0]
    lock = json.loads(
        (flows.folder / ".metaflow/conda_v2.locks/mfenv/v1/locks" / f"{first['full_id']}.json").read_bytes()
    )
    for number, row in enumerate(lock["packages"]):
        url = row["file"]["url"]
        root.add(Path(url.removeprefix("file://")), url, is_stored=number % 2 == 0)
    root.add(MadeWheel(name="made").write(tmp_path), BUILT)
    root.write(ARCH, "team/old/v1", "team/old/latest")
    return root


def test_what_is_taken_over_runs_and_is_shared_under_its_name(flows: Flows, legacy: LegacyRoot, tmp_path: Path) -> None:
    flows = flows.using(local_path=tmp_path / "local")
    [row] = document(call(flows, "import", "--legacy", "team/old:v1", "--root", str(legacy.folder), "--json"))[
        "imported"
    ]
    lock = row["environments"][ARCH]
    ran = flows.run(USES).succeeded()
    assert ran.fact("start")["prefix"].endswith(lock)
    assert ran.fact("start")["six"] == "1.16.0"
    # From then on without the old store.
    legacy.folder.rename(tmp_path / "gone")
    elsewhere = flows.using(local_path=tmp_path / "elsewhere").run(USES).succeeded()
    assert elsewhere.fact("start")["prefix"].endswith(lock)
    told = document(call(flows, "history", "team/old:v1", "--json"))["aliases"]
    assert [one["environments"] for one in told] == [{ARCH: lock}]
    notes = flows.folder / ".metaflow/conda_env/mfenv/v1/provenance" / lock
    (note,) = [json.loads(path.read_bytes()) for path in notes.iterdir()]
    assert (note["user"], note["time"], note["resolver"]) == (
        "grace",
        "2024-01-02T03:04:05.678000+00:00",
        "existing product",
    )


def test_a_flow_that_names_one_takes_it_over_once_and_follows_its_name(
    flows: Flows, legacy: LegacyRoot, tmp_path: Path
) -> None:
    reading = flows.using(local_path=tmp_path / "local", METAFLOW_CONDA_LEGACY_ROOT=str(legacy.folder))
    first = reading.run(USES).succeeded()
    assert "Taking over team/old:v1 from the store of the existing product ..." in first.text
    again = reading.run(USES).succeeded()
    assert "Taking over" not in again.text
    assert again.fact("start")["prefix"] == first.fact("start")["prefix"]
    assert not (flows.folder / ".metaflow/conda_env/mfenv/v1/aliases").exists()
    refused = flows.run(USES)
    assert "no environment is known by the name `team/old:v1`" in refused.refused()


def test_a_name_that_is_moved_there_is_followed_until_it_is_imported(flows: Flows, legacy: LegacyRoot) -> None:
    reading = flows.using(METAFLOW_CONDA_LEGACY_ROOT=str(legacy.folder))
    flow = USES.replace("team/old:v1", "team/old")
    assert reading.run(flow).succeeded().fact("start")["six"] == "1.16.0"

    def move(version: str, full: str) -> None:
        legacy.packages[:] = [row for row in legacy.packages if not row["filename"].startswith("six-")]
        [path] = flows.channel.path().glob(f"noarch/six-{version}*.conda")
        legacy.add(path, path.as_uri())
        legacy.write(ARCH, "team/old/latest", full=full)

    move("1.17", "ef" * 20)
    moved = reading.run(flow).succeeded()
    assert ("Taking over team/old:latest" in moved.text, moved.fact("start")["six"]) == (True, "1.17.0")
    call(reading, "import", "--legacy", "team/old").succeeded()
    move("1.16", "12" * 20)
    ours = reading.run(flow).succeeded()
    assert ("Taking over" in ours.text, ours.fact("start")["six"]) == (False, "1.17.0")


def test_nothing_in_the_old_store_is_changed(flows: Flows, legacy: LegacyRoot) -> None:
    before = {path: path.read_bytes() for path in legacy.folder.rglob("*") if path.is_file()}
    call(flows, "import", "--legacy", "team/old", "--root", str(legacy.folder)).succeeded()
    assert {path: path.read_bytes() for path in legacy.folder.rglob("*") if path.is_file()} == before


def test_ids_of_the_existing_product_name_environments_too(flows: Flows, legacy: LegacyRoot) -> None:
    arguments = ("import", "--legacy", f"{REQUEST}:{FULL}", "--root", str(legacy.folder), "--json")
    [row] = document(call(flows, *arguments))["imported"]
    assert list(row["environments"]) == [ARCH]


@pytest.mark.parametrize("change", ["flipped", "gone", "another"])
def test_a_stored_file_that_is_not_what_was_noted_comes_from_its_origin_or_is_refused(
    flows: Flows, legacy: LegacyRoot, change: str, tmp_path: Path
) -> None:
    flows = flows.using(local_path=tmp_path / "local")
    # Their folders have the names of the files in them.
    files = sorted(path for path in (legacy.folder / "packages").rglob("*") if path.is_file())
    stored = [path for path in files if not path.name.endswith(".whl")]
    (wheel,) = set(files) - set(stored)

    def damage(path: Path) -> None:
        if change == "gone":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:-1] + b"x" if change == "flipped" else stored[-1].read_bytes())

    damage(stored[0])
    told = call(flows, "import", "--legacy", "team/old", "--root", str(legacy.folder)).succeeded()
    assert f"`{stored[0].as_uri()}`" in told.stderr
    assert "The package was had in another way." in told.stderr
    damage(wheel)
    ran = call(
        flows.using(local_path=tmp_path / "other"), "import", "--legacy", "team/old", "--root", str(legacy.folder)
    )
    assert (ran.code, "Traceback" in ran.text) == (5, False)
    assert "the package file `made-1.0-py3-none-any.whl` cannot be taken over: " in ran.stderr
    words = f"nothing is at `{wheel.as_uri()}`"
    if change != "gone":
        words = f"`{wheel.as_uri()}` is not what it should be: its sha256 is {sha256_of(wheel)} where "
    assert words in ran.stderr


@pytest.mark.parametrize(
    ("name", "arguments", "code", "words"),
    [
        ("team/olds", (), 2, "hint: Names like it are `team/old:v1`, `team/old:latest`"),
        ("Team/Old", (), 2, "`Team/Old` is not a name of the existing product"),
        ("team/old", ("--arch", "osx-64"), 2, "has no environment `team/old` for osx-64"),
        ("team/old", ("--arch", "beos"), 2, "--arch: `beos` is not a platform"),
        (f"{'12' * 20}:{FULL}", (), 2, "for any platform"),
    ],
)
def test_what_is_not_there_is_said(
    flows: Flows, legacy: LegacyRoot, name: str, arguments: tuple[str, ...], code: int, words: str
) -> None:
    ran = call(flows, "import", "--legacy", name, "--root", str(legacy.folder), *arguments)
    assert (ran.code, "Traceback" in ran.text) == (code, False)
    assert words in ran.stderr


def test_where_the_old_store_is_has_to_be_said(flows: Flows) -> None:
    ran = call(flows, "import", "--legacy", "x")
    assert ran.code == 2
    assert "Set METAFLOW_CONDA_LEGACY_ROOT" in ran.stderr
    assert "add --legacy" in call(flows, "import", "x").stderr
    assert "there is no folder `/nowhere`" in call(flows, "import", "--legacy", "x", "--root", "/nowhere").stderr
    assert "is not a kind of store" in call(flows, "import", "--legacy", "x", "--root", "ftp://x/y").stderr


def test_an_environment_with_a_source_and_no_wheel_is_refused_by_its_name(
    flows: Flows, legacy: LegacyRoot, tmp_path: Path
) -> None:
    source = tmp_path / "old-1.0.tar.gz"
    with tarfile.open(source, "w:gz"):
        pass
    legacy.packages.append(
        {
            "_type": "pypi",
            "filename": "old-1.0",
            "url": "https://files.example.org/old-1.0.tar.gz",
            "url_format": ".tar.gz",
        }
    )
    legacy.write(ARCH)
    ran = call(flows, "import", "--legacy", "team/old", "--root", str(legacy.folder))
    assert (ran.code, "Traceback" in ran.text) == (4, False)
    assert "`old-1.0.tar.gz` is a source, and the store has no wheel that was built from it" in ran.stderr


def test_ids_in_a_flow_are_taken_over_too(flows: Flows, legacy: LegacyRoot) -> None:
    reading = flows.using(METAFLOW_CONDA_LEGACY_ROOT=str(legacy.folder))
    flow = USES.replace("team/old:v1", f"{REQUEST}:{FULL}")
    first = reading.run(flow).succeeded()
    assert f"Taking over {REQUEST}:{FULL} from the store of the existing product ..." in first.text
    again = reading.run(flow).succeeded()
    assert "Taking over" not in again.text
    assert again.fact("start")["prefix"] == first.fact("start")["prefix"]
    assert "the environment `<hex>:<hex>` is not in the store" in flows.run(flow).refused()


def test_a_step_that_only_a_projects_own_file_knows_is_taken_over(flows: Flows, legacy: LegacyRoot) -> None:
    content = legacy.manifest(ARCH, mappings={"Old/12/train": [REQUEST, FULL]})
    own = flows.folder / ".metaflow" / "conda_v2.cnd"
    own.write_bytes(content)
    (legacy.folder / "envs").rename(legacy.folder / "no-envs")
    arguments = ("import", "--legacy", "step:Old/12/train", "--root", str(legacy.folder), "--json")
    [row] = document(call(flows, *arguments))["imported"]
    ran = flows.run(USES.replace("team/old:v1", row["environments"][ARCH])).succeeded()
    assert ran.fact("start")["six"] == "1.16.0"
    assert own.read_bytes() == content


def test_what_one_lock_was_made_of_is_made_anew_when_the_lock_is_gone(flows: Flows, legacy: LegacyRoot) -> None:
    reading = flows.using(
        METAFLOW_CONDA_LEGACY_ROOT=str(legacy.folder), METAFLOW_CONDA_IGNORE_CACHING_DATASTORES="local"
    )
    reading.run(USES).succeeded()
    shutil.rmtree(flows.folder / ".metaflow" / "conda_v2.locks")
    assert "Taking over" in reading.run(USES).succeeded().text


def test_a_store_of_theirs_on_s3_is_taken_over_into_ours_on_s3(
    flows: Flows, legacy: LegacyRoot, tmp_path: Path
) -> None:
    with s3_server() as port:
        client = s3_client(port)
        client.create_bucket(Bucket="bucket")
        for path in legacy.folder.rglob("*"):
            if path.is_file():
                key = f"metaflow/conda_env/{path.relative_to(legacy.folder).as_posix()}"
                client.put_object(Bucket="bucket", Key=key, Body=path.read_bytes())
        theirs = {row["Key"] for row in client.list_objects_v2(Bucket="bucket")["Contents"]}
        on_s3 = flows.using(
            local_path=tmp_path / "local",
            METAFLOW_DEFAULT_DATASTORE="s3",
            METAFLOW_DEFAULT_METADATA="local",
            METAFLOW_DATASTORE_SYSROOT_S3="s3://bucket/metaflow",
            METAFLOW_CONDA_LEGACY_ROOT="s3://bucket/metaflow/conda_env",
            METAFLOW_S3_ENDPOINT_URL=f"http://127.0.0.1:{port}",
            AWS_ACCESS_KEY_ID="any",
            AWS_SECRET_ACCESS_KEY="any",
            AWS_DEFAULT_REGION="us-east-1",
        )
        [row] = document(call(on_s3, "import", "--legacy", "team/old:v1", "--json"))["imported"]
        # Both are below the same root, which is where both products look by themselves.
        now = {row["Key"] for row in client.list_objects_v2(Bucket="bucket")["Contents"]}
        assert theirs < now
        assert "metaflow/conda_env/mfenv/v1/aliases/team/old/v1.json" in now
        assert all(key.startswith("metaflow/conda_env/mfenv/v1/") for key in now - theirs)
        for key in theirs:
            client.delete_object(Bucket="bucket", Key=key)
        ran = on_s3.using(local_path=tmp_path / "elsewhere", METAFLOW_CONDA_LEGACY_ROOT=None).run(USES).succeeded()
        # Built upon, not run in: a task that keeps its artifacts on S3 needs boto3 besides.
        assert ran.fact("start")["six"] == "1.16.0"
        assert row["environments"][ARCH] in {key.split("/")[-1].removesuffix(".json") for key in now}


def test_a_step_of_a_run_of_theirs_is_taken_over(flows: Flows, legacy: LegacyRoot) -> None:
    """Its metadata holds their ids under the name that ours has, too."""
    past = flows.run(
        USES.replace('@named_env(name="team/old:v1")', "@conda(disabled=True)")
        .replace("import made", "")
        .replace('tell(six=metadata.version("six"))', "")
    ).succeeded()
    (folder,) = (flows.folder / ".metaflow" / "Uses" / past.run_id / "start").glob("*/_meta")
    noted = json.loads(next(folder.glob("*attempt*.json")).read_text())
    noted |= {"field_name": "conda_env_id", "type": "conda_env_id", "value": json.dumps([REQUEST, FULL, ARCH])}
    (folder / "sysmeta_conda_env_id_1.json").write_text(json.dumps(noted))
    reading = flows.using(METAFLOW_CONDA_LEGACY_ROOT=str(legacy.folder))
    flow = USES.replace('name="team/old:v1"', f'pathspec="Uses/{past.run_id}/start"')
    ran = reading.run(flow).succeeded()
    assert ran.fact("start")["six"] == "1.16.0"
    assert f"Taking over {REQUEST}:{FULL} from the store of the existing product ..." in ran.text
