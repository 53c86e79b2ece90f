"""Passwords are not shown: neither in log lines and messages, nor in what is kept of a command."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_LOGIN = re.compile(r"(\w://)[^\s/?#'\"]*@")
_SECRET = re.compile(
    r"(?i)(?:^|\.)(?:token|(?:\w*_)?(?:passwo?r?d|secret|api_?key|access_key|secret_key|auth_token|access_token|"
    r"hf_token|credentials?))$"
)
_TOLD = re.compile(
    r"(?i)(\b[\w.-]*(?:token|secret|passw(?:or)?d|api[_-]?key|credential)[\w.-]*[\"']?\s*[=:]\s*)([\"']?)[^\s\"',}&]+\2"
)
_HEADER = re.compile(r"(?i)\b(bearer|basic) [\w.~+/=-]{8,}")


def without_logins(text: str) -> str:
    """The text with `https://***@host` for `https://user:password@host`."""
    return _LOGIN.sub(r"\1***@", text) if "://" in text else text


def masked_setting(text: str) -> str:
    """A `key.path=value` of a command line with `***` for the value of what is called a password, token or key."""
    name, is_setting, _ = text.partition("=")
    return f"{name}=***" if is_setting and _SECRET.search(name) else without_logins(text)


def without_secrets(text: str) -> str:
    """The text without logins, with `***` for what follows a word such as token, secret, password or key.

    For words of other people's code, where any of it may be one.
    """
    return _HEADER.sub(r"\1 ***", _TOLD.sub(r"\1***", without_logins(text)))


def masked_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config for others to see: without logins, and with `***` for passwords, tokens and keys.

    A reference to the environment tells nothing, and stays.
    """
    return {key: _masked(str(key), value) for key, value in config.items()}


def _masked(key: str, value: Any) -> Any:
    if isinstance(value, dict):
        return masked_config(value)
    if isinstance(value, list):
        return [_masked(key, each) for each in value]
    if not isinstance(value, str):
        return value
    is_reference = value.startswith("${env:") and value.endswith("}")
    return "***" if value and _SECRET.search(key) and not is_reference else without_logins(value)
