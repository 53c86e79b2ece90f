"""Passwords are not shown: neither in log lines and messages, nor in what is kept of a command."""

from __future__ import annotations

import re

_LOGIN = re.compile(r"(\w://)[^\s/?#'\"]*@")
_SECRET = re.compile(
    r"(?i)(?:^|\.)(?:token|(?:\w*_)?(?:passwo?r?d|secret|api_?key|access_key|secret_key|auth_token|access_token|"
    r"hf_token|credentials?))$"
)


def without_logins(text: str) -> str:
    """The text with `https://***@host` for `https://user:password@host`."""
    return _LOGIN.sub(r"\1***@", text) if "://" in text else text


def masked_setting(text: str) -> str:
    """A `key.path=value` of a command line with `***` for the value of what is called a password, token or key."""
    name, is_setting, _ = text.partition("=")
    return f"{name}=***" if is_setting and _SECRET.search(name) else without_logins(text)
