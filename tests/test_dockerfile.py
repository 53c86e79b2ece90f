"""The steps of docs/docker/Dockerfile, without Docker: what it copies is enough, and what it runs serves the bundle."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
import venv

import pytest

from tests.servers import free_port, wait_for


def steps(root):
    """The steps of the file: their words and what follows them."""
    lines = re.sub(r"\\\n", "", (root / "docs" / "docker" / "Dockerfile").read_text()).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line and not line.startswith("#")]


def test_dockerfile_serves_as_somebody_without_rights(root):
    """With a check of health, at the port that it tells; packages are those of the project."""
    found = steps(root)
    words = "FROM ARG RUN RUN RUN WORKDIR COPY COPY USER EXPOSE HEALTHCHECK STOPSIGNAL CMD"
    assert [word for word, _ in found] == words.split()
    rest = dict(found)
    assert rest["USER"] == "model" and "useradd --create-home model" in dict(enumerate(each for _, each in found))[4]
    assert rest["EXPOSE"] in json.loads(rest["CMD"]) and f":{rest['EXPOSE']}/health" in rest["HEALTHCHECK"]
    project = (root / "pyproject.toml").read_text()
    installed = [name for word, step in found if word == "RUN" for name in re.findall(r'"(.*?)"', step)]
    assert len(installed) > 5 and all(f'"{name}"' in project for name in installed)


@pytest.mark.slow
def test_dockerfile_steps_serve_a_bundle(root, finished, run, tmp_path):
    """In an empty folder, with an environment of its own in which each package is asked for by name."""
    made = run("export.py", "-r", finished[0], "--bundle", tmp_path / "bundle")
    assert made.returncode == 0, made.stderr
    place, context, port = tmp_path / "srv", {"bundle": tmp_path / "bundle"}, free_port()
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "uninstall", "-qy", "setuptools"], check=True)  # an old one, before ours
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (site / "installed.pth").write_text("\n".join(ours))  # what is here already is not downloaded
    env = {
        "PATH": f"{python.parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "OMP_NUM_THREADS": "1",
        "TORCH_FROM": "",
    }
    place.mkdir()
    command, health = None, None
    for word, step in steps(root):
        if word == "RUN" and step.startswith("pip"):
            done = subprocess.run(
                ["sh", "-c", f"{step} --no-index"], cwd=place, env=env, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
        elif word == "COPY":
            source, target = step.split()
            shutil.copytree(context.get(source, root / source), place / target)
        elif word == "CMD":
            command = json.loads(step.replace("8000", str(port)).replace("0.0.0.0", "127.0.0.1"))
        elif word == "HEALTHCHECK":
            health = json.loads(step.partition(" CMD ")[2].replace("8000", str(port)))
    with subprocess.Popen(
        command, cwd=place, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            wait_for(port, "the server")
            assert subprocess.run(health, env=env, timeout=60).returncode == 0
            body = json.dumps({"inputs": [[[0] * 28] * 28]}).encode()
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/predict", body, {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert len(json.load(answer)["predictions"]) == 1
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 0
        finally:
            server.kill()
