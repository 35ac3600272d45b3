"""What ships for clusters of one's own (jobs/deploy): its names, ports and versions are those of the code and of the development cluster, which is tried."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs.cli import _parser
from jobs.cluster.configuration import Ports, commands, flink_config
from jobs.flink import flink_options

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "jobs/deploy"
PORTS = Ports(job=8099, artifact=8098, expansion=8097, rest=8081, rpc=6123, blob=6124, workers=50000, s3=1)
TRIED = yaml.safe_load(flink_config(Path("/x"), PORTS, 2))
OPENED = [one for one in commands(Path("/x"), PORTS, 1, ([], []))["job-manager"] if one.startswith("--add-opens")]
OF_ONE_MACHINE = {"parallelism.default", "taskmanager.host", "io.tmp.dirs", "web.tmpdir"}


@pytest.fixture(scope="module")
def objects() -> dict[tuple[str, str], Any]:
    """All objects of the manifests by kind and name."""
    found = [one for name in ("flink", "crawl") for one in yaml.safe_load_all((DEPLOY / f"{name}.yaml").read_text())]
    return {(one["kind"], one["metadata"]["name"]): one for one in found}


@pytest.fixture(scope="module")
def kustomization() -> Any:
    return yaml.safe_load((DEPLOY / "kustomization.yaml").read_text())


def pods(objects: dict[tuple[str, str], Any]) -> dict[str, Any]:
    """The pods' specifications by the names of what makes them."""
    return {
        name: one["spec"]["template"]["spec"] for (_, name), one in objects.items() if "template" in one.get("spec", {})
    }


def container(objects: dict[tuple[str, str], Any], name: str) -> Any:
    """The one container of that name."""
    (found,) = [one for pod in pods(objects).values() for one in pod["containers"] if one["name"] == name]
    return found


def dockerfile() -> dict[str, str]:
    """The arguments of the Dockerfile."""
    return dict(re.findall(r"^ARG (\w+)=(\S+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE))


def beam() -> str:
    """The version of Beam's runner that Maven gets."""
    (version,) = set(
        re.findall(r"<version>(\d[\d.]+\.\d+)</version>", (ROOT / "jobs/cluster/job-server.xml").read_text())
    )
    return version


def test_flinks_settings_are_those_that_were_tried() -> None:
    """All of the development cluster's but addresses and sizes, which are one machine's; what Java opens, too."""
    ours = yaml.safe_load((DEPLOY / "config.yaml").read_text())

    assert OPENED == ours.pop("env.java.opts.all").split()
    assert TRIED.keys() - OF_ONE_MACHINE == ours.keys() - {"taskmanager.memory.network.max"}
    same = {key for key in TRIED.keys() & ours.keys() if not re.search(r"(host|address)$|\.memory\.", key)}
    assert {key: TRIED[key] for key in same} == {key: ours[key] for key in same}


def test_services_have_the_ports_of_what_they_lead_to(objects: dict[tuple[str, str], Any]) -> None:
    """Names that one is told of are services, their pods are there, and who listens was told the same port."""
    settings = yaml.safe_load((DEPLOY / "config.yaml").read_text())
    services = {name: one["spec"] for (kind, name), one in objects.items() if kind == "Service"}
    ports = {name: {port["name"]: port["port"] for port in one["ports"]} for name, one in services.items()}
    server = container(objects, "job-server")["args"]

    for name, service in services.items():
        assert service["selector"] == objects["Deployment", name]["spec"]["template"]["metadata"]["labels"]
        assert service["selector"] == objects["Deployment", name]["spec"]["selector"]["matchLabels"]
    assert {settings["jobmanager.rpc.address"], settings["rest.address"]} == {"flink-job-manager"} <= services.keys()
    assert ports["flink-job-manager"] == {
        "rpc": settings["jobmanager.rpc.port"],
        "blob": settings["blob.server.port"],
        "rest": settings["rest.port"],
    }
    assert f"--flink-master=flink-job-manager:{settings['rest.port']}" in server
    for name, port in ports["beam-job-server"].items():
        assert f"--{name}-port={port}" in server
    assert OPENED == [one for one in server if one.startswith("--add-opens")]
    assert container(objects, "job-manager")["readinessProbe"]["httpGet"]["port"] == settings["rest.port"]


def test_the_crawl_is_a_command_for_that_cluster(objects: dict[tuple[str, str], Any], kustomization: Any) -> None:
    """It parses, its endpoint is the job server's, and there are as many slots as it takes."""
    program, *arguments = container(objects, "m3w")["args"]
    options = _parser().parse_args(arguments)
    (task_managers,) = kustomization["replicas"]

    assert "m3w" == program
    assert "--job_endpoint=beam-job-server:8099" in flink_options(
        options.endpoint, options.worker_pool, options.workers
    )
    assert options.workers == task_managers["count"] == objects["Deployment", task_managers["name"]]["spec"]["replicas"]


def test_a_pool_listens_where_task_managers_look_for_it() -> None:
    """In the image and on machines: at the default of --worker-pool."""
    default = _parser().parse_args(["select", "--out", "x"]).worker_pool
    image = re.findall(r"^CMD (.+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    unit = re.findall(r"^ExecStart=(.+)$", (DEPLOY / "m3w-workers.service").read_text(), re.MULTILINE)

    assert [f'["python", "-m", "jobs.cluster.worker_pool", "{default}"]'] == image
    assert [f"/opt/m3w/bin/python -m jobs.cluster.worker_pool {default}"] == unit


def test_images_are_built_here_and_carry_their_versions(
    objects: dict[tuple[str, str], Any], kustomization: Any
) -> None:
    """Flink's of the Makefile and Beam's of its pom; who submits has the workers' image."""
    images = {one["name"]: one for one in kustomization["images"]}
    targets = re.findall(r"^FROM .+ AS (\w+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    (flink,) = re.findall(r"apache-flink-libraries==(\S+)", (ROOT / "Makefile").read_text())
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    used = {one["image"] for name, pod in pods(objects).items() if name != "crawl" for one in pod["containers"]}

    assert used == images.keys() == {f"m3w-{target}" for target in targets if target != "beam"}
    assert flink == dockerfile()["FLINK"]
    assert f"{flink}-{beam()}" == images["m3w-flink"]["newTag"]
    assert f"{images['m3w-flink']['newName']}:{flink}-{beam()}" in (DEPLOY / "Dockerfile").read_text()
    assert oldest == dockerfile()["PYTHON"]
    worker = images["m3w-worker"]
    assert f"{worker['newName']}:{worker['newTag']}" == container(objects, "m3w")["image"]


def test_volumes_and_the_config_map_are_there(objects: dict[tuple[str, str], Any], kustomization: Any) -> None:
    """What is mounted is a volume of the pod; Flink's settings are the file that ships."""
    (generated,) = kustomization["configMapGenerator"]
    for pod in pods(objects).values():
        volumes = {one["name"]: one for one in pod["volumes"]}
        assert {mount["name"] for one in pod["containers"] for mount in one.get("volumeMounts", [])} == volumes.keys()
        assert {one["configMap"]["name"] for one in volumes.values() if "configMap" in one} <= {generated["name"]}

    assert [path for path in [*generated["files"], *kustomization["resources"]] if not (DEPLOY / path).is_file()] == []


def test_the_runner_is_for_that_flink() -> None:
    """Their minor versions are one; the docs name what ships, and the versions that it has."""
    text = (ROOT / "docs/deploy.md").read_text()
    (runner,) = re.findall(
        r"<artifactId>beam-runners-flink-(.+)</artifactId>", (ROOT / "jobs/cluster/job-server.xml").read_text()
    )

    assert runner == dockerfile()["FLINK"].rpartition(".")[0]
    assert f"| Beam's Flink runner and job server | {beam()}, for Flink {runner} |" in text
    assert f"| Flink | {dockerfile()['FLINK']} |" in text
    assert [path.name for path in sorted(DEPLOY.iterdir()) if f"`{path.name}`" not in text] == []
