"""The JSON of transactions: one template for each body, filled for each arrival."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from local.source.calibration import Input, Output, Shape
from local.source.recordings import Answer, Ints

_COINS = 256
_MATERIAL_BYTES = 64
_LOCK_TIMES = {0: 2390244852, 1: 865897, 2: 865898}
"""The lock times of a few in 256 transactions; one as large as the API has listed (it needs 32 bits)."""

_BECH32 = "023456789acdefghjklmnpqrstuvwxyz"
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_SCRIPTS = {  # beginning, random bytes, end
    "p2tr": ("5120", 32, ""),
    "p2wsh": ("0020", 32, ""),
    "p2wpkh": ("0014", 20, ""),
    "p2sh": ("a914", 20, "87"),
    "p2pkh": ("76a914", 20, "88ac"),
}
_ADDRESSES = {  # beginning, letters, how many
    "p2tr": ("bc1p", _BECH32, 58),
    "p2wsh": ("bc1q", _BECH32, 58),
    "p2wpkh": ("bc1q", _BECH32, 38),
    "p2sh": ("3", _BASE58, 33),
    "p2pkh": ("1", _BASE58, 33),
}


@dataclass(frozen=True)
class Filling:
    """What an arrival puts into its body: hash (64 hex digits), time (s), fee (satoshi)."""

    hash: str
    time: int
    fee: int


class Bodies(Protocol):
    """A collection of bodies; `sizes` (bytes) and `weights` (weight units) have one entry for each."""

    sizes: Ints
    weights: Ints

    def render(self, body: int, filling: Filling) -> bytes:
        """The JSON of body number `body`."""
        ...


class SimulatedBodies:
    """Bodies that look like the calibrated shapes; scripts and addresses come from a seeded pool."""

    def __init__(self, shapes: Sequence[Shape], amounts: Sequence[int], seed: int) -> None:
        self._shapes = shapes
        self._templates = [_template(_document(shape)) for shape in shapes]
        self.sizes, self.weights = (np.array(column) for column in zip(*map(_size_and_weight, shapes), strict=True))
        steps = np.linspace(0, len(amounts) - 1, 256)
        self._amounts = np.exp(np.interp(steps, range(len(amounts)), np.log(amounts))).astype(int).tolist()
        self._random = random.Random(seed)  # noqa: S311
        self._pools: dict[tuple[str, int], list[tuple[bytes, bytes]]] = {}

        for shape in shapes:
            for kind, size in _coins(shape):
                self._pools.setdefault((kind, size), [self._coin(kind, size) for _ in range(_COINS)])

    def render(self, body: int, filling: Filling) -> bytes:
        shape = self._shapes[body]
        material = hashlib.shake_256(filling.hash.encode()).digest(_MATERIAL_BYTES + _witness_bytes(shape))
        index = int.from_bytes(material[:6]) >> 1
        values: dict[bytes, bytes | int] = {
            b"hash": filling.hash.encode(),
            b"time": filling.time,
            b"fee": filling.fee,
            b"index": index,
            b"lock": _LOCK_TIMES.get(material[6], 0),
        }
        spent = filling.fee + self._fill_outputs(values, shape.outputs, material)
        self._fill_inputs(values, shape.inputs, material, spent)
        return self._templates[body] % values

    def _fill_outputs(self, values: dict[bytes, bytes | int], outputs: Sequence[Output], material: bytes) -> int:
        """Fills scripts, addresses and values in; returns the sum of the values."""
        total = 0
        for n, output in enumerate(outputs):
            coin, amount = material[8 + 2 * n % 24], material[9 + 2 * n % 24]
            script, address = self._pools[output.kind, output.script_bytes][coin]
            value = 0 if output.kind == "op_return" else self._amounts[amount] + coin
            total += value
            values |= {b"out_script%d" % n: script, b"out_address%d" % n: address, b"out_value%d" % n: value}
        return total

    def _fill_inputs(
        self, values: dict[bytes, bytes | int], inputs: Sequence[Input], material: bytes, spent: int
    ) -> None:
        """Fills what is spent in; the first input has what an equal share for each leaves over."""
        digits, place, share = material[_MATERIAL_BYTES:].hex().encode(), 0, spent // len(inputs)
        for n, item in enumerate(inputs):
            script, address = self._pools[item.kind, item.spent_bytes][material[32 + n % 16]]
            end_of_script = place + 2 * item.script_bytes
            end = end_of_script + 2 * item.witness_bytes
            values |= {
                b"in_script%d" % n: digits[place:end_of_script],
                b"witness%d" % n: digits[end_of_script:end],
                b"in_value%d" % n: share if n else spent - share * (len(inputs) - 1),
                b"in_index%d" % n: int.from_bytes(material[48 + n % 8 : 54 + n % 8]) >> 1,
                b"spent_script%d" % n: script,
                b"in_address%d" % n: address,
            }
            place = end

    def _coin(self, kind: str, size: int) -> tuple[bytes, bytes]:
        """A script of `size` bytes and an address that looks like its own (its checksum isn't sound)."""
        begin, count, end = _SCRIPTS.get(kind, ("6a", size - 1, ""))
        first, letters, length = _ADDRESSES.get(kind, ("", "-", 0))
        script = begin + self._random.randbytes(count).hex() + end
        return script.encode(), (first + "".join(self._random.choices(letters, k=length))).encode()


class RecordedBodies:
    """The bodies of a saved answer, listed with fresh hashes and times."""

    def __init__(self, answer: Answer) -> None:
        self.sizes = np.array([transaction["size"] for transaction in answer.transactions])
        self.weights = np.array([transaction["weight"] for transaction in answer.transactions])
        self.fees = np.array(answer.fees)
        self._templates = [_template(_with_places(transaction)) for transaction in answer.transactions]
        self._others = [_first_input_less_fee(t, fee) for t, fee in zip(answer.transactions, answer.fees, strict=True)]

    def render(self, body: int, filling: Filling) -> bytes:
        return self._templates[body] % {
            b"hash": filling.hash.encode(),
            b"time": filling.time,
            b"fee": filling.fee,
            b"in_value": self._others[body] + filling.fee,
        }


def _document(shape: Shape) -> dict[str, Any]:
    """A transaction of `shape` as the API writes it, with places for what differs."""
    size, weight = _size_and_weight(shape)
    document = {
        "hash": _text("hash"),
        "ver": shape.version,
        "vin_sz": len(shape.inputs),
        "vout_sz": len(shape.outputs),
        "size": size,
        "weight": weight,
        "fee": _number("fee"),
        "relayed_by": "0.0.0.0",  # noqa: S104
        "lock_time": _number("lock"),
        "tx_index": _number("index"),
        "double_spend": False,
        "time": _number("time"),
        "block_index": None,
        "block_height": None,
        "inputs": [_input(n) for n in range(len(shape.inputs))],
        "out": [_output(n, output) for n, output in enumerate(shape.outputs)],
    }
    return document | ({"rbf": True} if shape.rbf else {})


def _input(n: int) -> dict[str, Any]:
    return {
        "sequence": 4294967293,
        "witness": _text(f"witness{n}"),
        "script": _text(f"in_script{n}"),
        "index": n,
        "prev_out": {
            "type": 0,
            "spent": True,
            "value": _number(f"in_value{n}"),
            "spending_outpoints": [{"tx_index": _number("index"), "n": n}],
            "n": 0,
            "tx_index": _number(f"in_index{n}"),
            "script": _text(f"spent_script{n}"),
            "addr": _text(f"in_address{n}"),
        },
    }


def _output(n: int, output: Output) -> dict[str, Any]:
    document = {
        "type": 0,
        "spent": False,
        "value": _number(f"out_value{n}"),
        "spending_outpoints": [],
        "n": n,
        "tx_index": _number("index"),
        "script": _text(f"out_script{n}"),
    }
    return document | ({"addr": _text(f"out_address{n}")} if output.kind in _ADDRESSES else {})


def _with_places(transaction: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded transaction with places for its hash, its time, its fee and what its first input spends."""
    changed = {**transaction, "hash": _text("hash"), "time": _number("time")}
    if "fee" in changed:
        changed["fee"] = _number("fee")
    inputs = [dict(item) for item in changed["inputs"]]
    if inputs and inputs[0].get("prev_out"):
        inputs[0]["prev_out"] = {**inputs[0]["prev_out"], "value": _number("in_value")}
    return changed | {"inputs": inputs}


def _first_input_less_fee(transaction: Mapping[str, Any], fee: int) -> int:
    inputs = transaction["inputs"]
    spent = inputs[0].get("prev_out") if inputs else None
    return int(spent["value"]) - fee if spent else 0


def _text(name: str) -> str:
    return f"@text:{name}@"


def _number(name: str) -> str:
    return f"@number:{name}@"


def _template(document: Mapping[str, Any]) -> bytes:
    """The document's JSON, ready for `%` with a mapping of what its places hold."""
    text = json.dumps(document, separators=(",", ":")).replace("%", "%%")
    text = re.sub(r'"@text:(\w+)@"', r'"%(\1)b"', text)
    return re.sub(r'"@number:(\w+)@"', r"%(\1)d", text).encode()


def _size_and_weight(shape: Shape) -> tuple[int, int]:
    """Bytes and weight units of a transaction's serialization (BIP 141)."""
    inputs = sum(36 + _prefixed(item.script_bytes) + 4 for item in shape.inputs)
    outputs = sum(8 + _prefixed(output.script_bytes) for output in shape.outputs)
    base = 4 + _prefixed(0, len(shape.inputs)) + inputs + _prefixed(0, len(shape.outputs)) + outputs + 4
    witnesses = [item.witness_bytes for item in shape.inputs]
    witness = 2 + sum(max(size, 1) for size in witnesses) if any(witnesses) else 0
    return base + witness, 4 * base + witness


def _prefixed(size: int, number: int | None = None) -> int:
    """`size` bytes with their length (or another number) before them as a variable-length integer."""
    return size + (1 if (size if number is None else number) < 253 else 3)


def _witness_bytes(shape: Shape) -> int:
    return sum(item.script_bytes + item.witness_bytes for item in shape.inputs)


def _coins(shape: Shape) -> list[tuple[str, int]]:
    spent = [(item.kind, item.spent_bytes) for item in shape.inputs]
    return spent + [(output.kind, output.script_bytes) for output in shape.outputs]
