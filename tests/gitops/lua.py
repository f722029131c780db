"""Runs a health check as Argo CD does: Lua 5.1 with the base and table libraries and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lupa import lua51

_OPEN = {"_G", "_VERSION", "assert", "error", "getmetatable", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget"}
_OPEN |= {"rawset", "select", "setmetatable", "table", "tonumber", "tostring", "type", "unpack", "xpcall"}


def health(script: Path, resource: dict[str, Any]) -> tuple[str, str]:
    """The status and the message that the script gives a resource."""
    lua = lua51.LuaRuntime(register_eval=False, register_builtins=False)
    known = lua.globals()
    for name in set(known) - _OPEN:
        known[name] = None
    known["obj"] = lua.table_from(_plain(resource), recursive=True)
    answer = lua.execute(script.read_text(encoding="utf-8"))
    assert set(answer) == {"status", "message"}, f"{script.name} gave {dict(answer)}"
    assert answer["status"] in ("Healthy", "Progressing", "Degraded", "Suspended")
    return answer["status"], answer["message"]


def _plain(value: Any) -> Any:
    """JSON as Lua sees it: a null is no entry at all."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
