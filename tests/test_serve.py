"""python serve.py: a server begins, says where, and ends as it is asked to."""

import argparse
import contextlib
import http.client
import json
import os
import signal
import socket
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from espalier.device import device_of
from espalier.errors import UserError
from espalier.serving import flags, server
from espalier.serving.server import is_loopback, open_socket
from tests.espalier.serving.served import listening, model_of_sums
from tests.servers import free_port, wait_for


@pytest.fixture
def serving(run, root, tmp_path):
    """A server in a process of its own: its port, its process, and what it said; it ends with the block."""

    @contextmanager
    def begin(*arguments):
        port, pid = free_port(), tmp_path / "pid"
        command = ["tests/espalier/serving/write_pid.py", pid, "serve.py", *arguments, "--port", port]
        with ThreadPoolExecutor(1) as thread:
            ended = thread.submit(run, *command, cwd=root)
            try:
                wait_for(port, "serve.py")
                yield port, int(pid.read_text()), ended
            finally:
                if not ended.done():
                    os.kill(int(pid.read_text()), signal.SIGKILL)

    return begin


def get(port, path, content=None, media_type="application/json"):
    """The answer of a server, read as JSON."""
    headers = {"Content-Type": media_type} if content else {}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", content, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def wait_for_metric(port, line):
    """Wait until a server counts so."""
    for _ in range(1000):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
            if line in answer.read().decode().splitlines():
                return
        time.sleep(0.01)
    raise AssertionError(f"no {line}")


def head(length):
    """That of a request for predictions."""
    lines = ("POST /predict HTTP/1.1", "Host: x", "Content-Type: application/json", f"Content-Length: {length}", "", "")
    return "\r\n".join(lines).encode()


def digits(root, count):
    """Some of the test data, as numbers."""
    import data_loader.data_loaders as loaders

    return loaders.DigitsDataLoader(root / "data" / "digits", 1, training=False).dataset.inputs[:count].float()


def test_serve_answers_and_ends_when_it_is_asked_to(root, finished, serving):
    """With what predict says, on this machine alone; a request that is in is answered before the end, which is 0."""
    from predict import load_model

    inputs = digits(root, 20)
    content = json.dumps({"inputs": inputs.tolist()}).encode()
    with serving(finished[0], "--batch-size", 8) as (port, pid, ended):
        told = get(port, "/predict", content)["predictions"]
        assert [each["label"] for each in told] == load_model(finished[0]).predict(inputs).labels
        assert get(port, "/health")["ready"] is True

        with socket.create_connection(("127.0.0.1", port)) as half, socket.create_connection(("127.0.0.1", port)):
            half.sendall(head(len(content)) + content[:1000])
            wait_for_metric(port, "espalier_open_requests 1")
            os.kill(pid, signal.SIGTERM)
            time.sleep(0.3)
            half.sendall(content[1000:])
            answer = b"".join(iter(lambda: half.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200") and answer.endswith(b"]}")
        result = ended.result(60)
    assert result.returncode == 0
    assert result.stdout.splitlines()[-1] == f"Serving {'/'.join(finished[0].parts[-2:])} at http://127.0.0.1:{port}"
    assert result.stderr.splitlines()[-1] == "Stopping: what is in is finished. Once more ends it at once."


def test_serve_tells_that_a_port_is_taken(root, run, finished):
    """In a sentence, before the model is loaded."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run("serve.py", finished[0], "--port", port)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"serve error: 127.0.0.1 port {port} cannot be listened at\n"
        "  got       Address already in use\n"
        "  fix       give another one with --port, or 0 for any that is free\n"
    )


@pytest.mark.slow
def test_serve_tells_of_a_model_that_cannot_be_loaded_before_its_port_opens(run, tmp_path):
    """As predict.py does."""
    result = run("serve.py", tmp_path / "nothing", "--port", free_port())
    assert (result.returncode, result.stdout) == (2, "")
    assert "nothing" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--port", "70000"], "argument --port: invalid port value: '70000'"),
        (["--timeout-s", "0"], "argument --timeout-s: invalid positive value: '0'"),
        (["--timeout-s", "nan"], "argument --timeout-s: invalid positive value: 'nan'"),
        (["--batch-size", "0"], "argument --batch-size: invalid count value: '0'"),
        (["--most-wait-ms", "-1"], "argument --most-wait-ms: invalid not_negative value: '-1'"),
    ],
    ids=str,
)
def test_serve_refuses_a_limit_that_is_none(capsys, arguments, message):
    """With the usage, as every command."""
    parser = argparse.ArgumentParser()
    flags.add_flags(parser)
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["model", *arguments])
    assert capsys.readouterr().err.splitlines()[-1].endswith(message)


def test_open_socket_tells_of_an_address_of_others():
    """That is not this machine's, or none at all."""
    for host in ("192.0.2.1", "no such host", "a" * 300):
        with pytest.raises(UserError, match=f"^serve error: {host} "):
            open_socket(host, 8000)


def test_only_loopback_is_of_this_machine_alone():
    """All else is warned about."""
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.0.3", "example.org", "")))


def test_serve_names_the_extra_that_is_missing(monkeypatch):
    """Before anything slow is imported."""
    monkeypatch.setattr(flags, "find_spec", lambda name: None if name in ("uvicorn", "python_multipart") else name)
    monkeypatch.setitem(flags._NEEDED, "python-multipart", ("python_multipart",))
    with pytest.raises(UserError) as error:
        flags.check_extra()
    assert str(error.value) == (
        'serve error: a server needs the packages uvicorn, python-multipart\n  fix       pip install -e ".[serve]"'
    )


@pytest.mark.slow
def test_serve_drops_a_client_that_hangs_up(root, finished, serving):
    """Before and behind its body: nothing of it stays open, and the next one is answered."""
    content = json.dumps({"inputs": digits(root, 1).tolist()}).encode()
    with serving(finished[0], "--most-wait-ms", 3000) as (port, _, _):
        for end in (30, len(content)):
            with socket.create_connection(("127.0.0.1", port)) as leaving:
                leaving.sendall(head(len(content)) + content[:end])
                wait_for_metric(port, "espalier_open_requests 1")
            wait_for_metric(port, "espalier_open_requests 0")
        wait_for_metric(port, 'espalier_requests_total{status="499"} 2')
        wait_for_metric(port, "espalier_waiting_requests 0")
        assert len(get(port, "/predict", content)["predictions"]) == 1


STUCK = """
import threading
from espalier.serving.app import build_app
from espalier.serving.flags import Limits
from espalier.serving.server import listen, open_socket, serve
from tests.espalier.serving.served import model_of_sums
from pathlib import Path
import os, sys

Path(sys.argv[1]).write_text(str(os.getpid()))
model = model_of_sums()
model.network.before = lambda inputs: threading.Event().wait(600)
opened = open_socket("127.0.0.1", int(sys.argv[2]))
listen(opened)
serve(build_app(model, Limits(timeout_s=0.5)), opened, 0.5)
"""


@pytest.mark.slow
def test_server_whose_model_hangs_ends_when_it_is_asked_to(root, run, tmp_path):
    """A batch for which nobody waits any more does not hold it up."""
    (tmp_path / "stuck.py").write_text(STUCK)
    port, pid = free_port(), tmp_path / "pid"
    with ThreadPoolExecutor(1) as thread:
        ended = thread.submit(run, tmp_path / "stuck.py", pid, port, cwd=root, env={"PYTHONPATH": str(root)})
        wait_for(port, "stuck.py")
        with pytest.raises(urllib.error.HTTPError, match="504"):
            get(port, "/predict", b'{"inputs": [[1, 2, 3]]}')
        os.kill(int(pid.read_text()), signal.SIGTERM)
        try:
            assert ended.result(30).returncode == 0
        finally:
            if not ended.done():
                os.kill(int(pid.read_text()), signal.SIGKILL)


def test_server_leaves_a_client_that_does_not_finish_a_head(monkeypatch):
    """Nor begins one; a drop now and then gains it nothing. One that does finish is answered, and may ask again."""
    monkeypatch.setattr(server, "_KEPT_ALIVE_S", 0.4)
    with listening(model_of_sums()) as address:
        at = ("127.0.0.1", int(address.rpartition(":")[2]))
        with socket.create_connection(at) as silent, socket.create_connection(at) as half:
            silent.settimeout(30)
            half.settimeout(30)
            half.sendall(b"GET /health HTTP/1.1\r\n")
            assert silent.recv(1) == b""
            with contextlib.suppress(OSError):  # it may be gone already
                half.sendall(b"X: y\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert half.recv(1) == b""
        good = http.client.HTTPConnection(*at)
        for _ in range(2):
            good.request("GET", "/health")
            answer = good.getresponse()
            assert (answer.status, json.loads(answer.read())["ready"]) == (200, True)
        good.close()


def test_device_that_is_not_there_is_told():
    """With what PyTorch says of it."""
    with pytest.raises(UserError) as error:
        device_of("gpu")
    text = str(error.value)
    assert text.startswith("device error: there is no device 'gpu'\n  got       ")
    assert text.endswith("\n  expected  cpu, cuda:0, or the index of a GPU")
