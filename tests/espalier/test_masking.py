"""Passwords are masked where texts are shown or kept."""

import json
import logging
import sys

import pytest
import torch

from espalier.errors import explain, printable
from espalier.journal.log_lines import opening_lines
from espalier.journal.logging_setup import _Formatter
from espalier.journal.run_json import record
from espalier.masking import masked_config, masked_setting, without_logins
from espalier.training.run_config import RunConfig
from parse_config import ConfigParser


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at https://me:pw@host/x failed", "at https://***@host/x failed"),
        ("https://me:p@w:1@host:5000", "https://***@host:5000"),
        ("postgresql+psycopg2://me:pw@host/db", "postgresql+psycopg2://***@host/db"),
        ("see https://host/a@b and c@d", "see https://host/a@b and c@d"),
        ("https://host?mail=a@b", "https://host?mail=a@b"),
        ("a @ b", "a @ b"),
    ],
)
def test_address_is_shown_without_its_login(text, shown):
    """In every message and log line; an @ that is no login stays."""
    assert without_logins(text) == printable(text) == shown
    assert explain("head", got=text) == f"head\n  got       {shown}"
    line = logging.LogRecord("trainer", logging.WARNING, "", 0, "%s", (text,), None)
    assert _Formatter().format(line) == shown


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("writers.0.args.api_key=abc", "writers.0.args.api_key=***"),
        ("user.password=abc=d", "user.password=***"),
        ("user.hf_token=abc", "user.hf_token=***"),
        ("token=abc", "token=***"),
        ("user.uri=https://me:pw@host", "user.uri=https://***@host"),
        ("user.pad_token=<pad>", "user.pad_token=<pad>"),
        ("arch.args.max_tokens=5", "arch.args.max_tokens=5"),
        ("arch.args.key=5", "arch.args.key=5"),
        ("-r", "-r"),
    ],
)
def test_setting_of_a_secret_is_masked(text, kept):
    """By what the key is called; what makes a run another one stays."""
    assert masked_setting(text) == kept


def test_config_for_others_has_no_secret():
    """At any depth; references to the environment, and all that makes the run another one, stay."""
    kept = {"lr": 0.1, "token": "${env:TOKEN}", "pad_token": "<pad>", "max_tokens": 5, "uri": "sqlite:///a@b.db"}
    hidden = {"token": "hidden", "api_key": "hidden", "uris": ["https://me:hidden@host", 1, None]}
    masked = {"token": "***", "api_key": "***", "uris": ["https://***@host", 1, None]}
    assert masked_config({"a": [{**kept}, {"b": hidden}], **kept}) == {"a": [{**kept}, {"b": masked}], **kept}
    assert hidden["token"] == "hidden"


def test_run_tells_and_keeps_no_password_of_its_command(tmp_path, tiny_config, monkeypatch):
    """Neither run.json nor the opening lines have it."""
    secret = {"user.api_key": "hidden", "user.uri": "https://me:hidden@host"}
    monkeypatch.setattr(sys, "argv", ["train.py", *(f"{key}={value}" for key, value in secret.items())])
    record(tmp_path, torch.device("cpu"), 1)
    (entry,) = json.loads((tmp_path / "run.json").read_text())
    assert entry["command"].endswith("train.py 'user.api_key=***' 'user.uri=https://***@host'")
    parser = ConfigParser(tiny_config)
    parser.overrides = secret
    config = RunConfig(parser)
    lines = opening_lines(config, torch.nn.Linear(1, 1), torch.device("cpu"), "1", None, None, None)
    assert "user.api_key=***" in lines[1]
    assert "hidden" not in "".join(lines)
