"""What each random resource takes and makes: pure functions over Python's `secrets`."""

import base64
import binascii
import ctypes
import difflib
import functools
import secrets
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["KINDS", "Kind", "bcrypt"]

SPECIAL = "!@#$%&*()-_=+[]{}<>:?"
CLASSES = {"Lower": string.ascii_lowercase, "Upper": string.ascii_uppercase, "Numeric": string.digits}
# As pulumi-random: 2^10 rounds.
BCRYPT_ROUNDS = 10
BCRYPT_BASE64 = "./" + string.ascii_uppercase + string.ascii_lowercase + string.digits
Properties = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A resource type. `read` gives inputs and outputs of an id, or raises ValueError."""

    name: str
    size: str
    defaults: Mapping[str, Any]
    optional: frozenset[str]
    generate: Callable[[Properties], Properties]
    read: Callable[[str], tuple[Properties, Properties]]
    outputs: tuple[str, ...]
    id_output: str = ""
    secret: frozenset[str] = field(default_factory=frozenset)

    @property
    def inputs(self) -> frozenset[str]:
        return frozenset({self.size, *self.defaults, *self.optional})

    def id_of(self, outputs: Properties) -> str:
        """A secret value is no id: ids are not encrypted in the state."""
        return outputs[self.id_output] if self.id_output else "none"

    def complete(self, given: Properties) -> Properties:
        """The inputs with their defaults; `number` is the old name of `numeric`."""
        known = {name: value for name, value in given.items() if name in self.inputs and value is not None}
        if "numeric" in self.defaults:
            numeric = known.get("numeric", known.get("number", True))
            known |= {"numeric": numeric, "number": numeric}
        return {**self.defaults, **known}

    def problems(self, given: Properties) -> Iterator[tuple[str, str]]:
        """Property and reason, for everything that is wrong."""
        for name in sorted(given):
            if name not in self.inputs and not name.startswith("__"):
                near = difflib.get_close_matches(name, self.inputs, 1)
                yield name, f"{self.name} has no such input" + (f"; did you mean {near[0]}?" if near else "")
        size = given.get(self.size)
        if size is None:
            yield self.size, f"{self.size} is required"
        elif isinstance(size, str | bool | float) or (isinstance(size, int) and size < 1):
            yield self.size, f"{self.size} is {size!r}; a whole number from 1 on is needed"
        elif isinstance(size, int) and "minLower" in self.defaults:
            yield from _mix_problems(self.complete(given), size)


def _mix_problems(inputs: Properties, length: int) -> Iterator[tuple[str, str]]:
    least = [inputs[f"min{name}"] for name in (*CLASSES, "Special")]
    if all(isinstance(number, int) for number in least) and sum(least) > length:
        yield "length", f"length is {length}, less than the sum {sum(least)} of the minimums"
    switches = [inputs[name] for name in ("lower", "upper", "numeric", "special")]
    if not any(switches) and sum(number for number in least if isinstance(number, int)) < length:
        yield "length", "no class of characters is allowed: set one of lower, upper, numeric, special"


def mixed(inputs: Properties) -> str:
    """Random text: the minimums of each class, the rest from all allowed ones, shuffled."""
    classes = {**CLASSES, "Special": inputs.get("overrideSpecial") or SPECIAL}
    allowed = "".join(chars for name, chars in classes.items() if inputs[name.lower()])
    text = [secrets.choice(chars) for name, chars in classes.items() for _ in range(inputs[f"min{name}"])]
    text += [secrets.choice(allowed) for _ in range(inputs["length"] - len(text))]
    secrets.SystemRandom().shuffle(text)
    return "".join(text)


@functools.cache
def _libcrypt() -> Callable[[bytes, bytes, Any], bytes | None]:
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt_r.restype = ctypes.c_char_p
    library.crypt_r.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p]
    return library.crypt_r


def bcrypt(password: str) -> str:
    """The bcrypt hash, by the system's libcrypt. Raises OSError when that cannot do it."""
    salt = "".join(secrets.choice(BCRYPT_BASE64) for _ in range(21)) + secrets.choice(".Oeu")
    setting = f"$2a${BCRYPT_ROUNDS}${salt}".encode()
    data = ctypes.create_string_buffer(32768)  # struct crypt_data of libxcrypt
    hashed = _libcrypt()(password.encode(), setting, data)
    if hashed is None or not hashed.startswith(b"$2a$"):
        raise OSError(
            "the system's libcrypt cannot do bcrypt; Debian's libcrypt1 can: apt-get install libcrypt1"
        )
    return hashed.decode()


def _password(text: str) -> Properties:
    return {"result": text, "bcryptHash": bcrypt(text)}


def _identifier(data: bytes, prefix: str = "") -> Properties:
    url = base64.urlsafe_b64encode(data).decode().rstrip("=")
    return {
        "b64Std": prefix + base64.b64encode(data).decode(),
        "b64Url": prefix + url,
        "dec": prefix + str(int.from_bytes(data)),
        "hex": prefix + data.hex(),
    }


def _read_identifier(id_: str) -> tuple[Properties, Properties]:
    """id: [prefix,]base64url."""
    prefix, comma, text = id_.rpartition(",")
    data = _unbase64(text.replace("-", "+").replace("_", "/"))
    inputs: Properties = {"byteLength": len(data)} | ({"prefix": prefix} if comma else {})
    return inputs, _identifier(data, prefix)


def _bytes(data: bytes) -> Properties:
    return {"base64": base64.b64encode(data).decode(), "hex": data.hex()}


def _read_bytes(id_: str) -> tuple[Properties, Properties]:
    data = _unbase64(id_)
    return {"length": len(data)}, _bytes(data)


def _unbase64(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError("its id is not base64") from error


MIX: Properties = {
    **dict.fromkeys(("lower", "upper", "numeric", "number", "special"), True),
    **{f"min{name}": 0 for name in (*CLASSES, "Special")},
}
MIX_OPTIONAL = frozenset({"overrideSpecial", "keepers"})

KINDS = (
    Kind(
        "RandomPassword",
        "length",
        MIX,
        MIX_OPTIONAL,
        lambda inputs: _password(mixed(inputs)),
        lambda id_: ({"length": len(id_)}, _password(id_)),
        ("result", "bcryptHash"),
        secret=frozenset({"result", "bcryptHash"}),
    ),
    Kind(
        "RandomString",
        "length",
        MIX,
        MIX_OPTIONAL,
        lambda inputs: {"result": mixed(inputs)},
        lambda id_: ({"length": len(id_)}, {"result": id_}),
        ("result",),
        "result",
    ),
    Kind(
        "RandomId",
        "byteLength",
        {},
        frozenset({"keepers", "prefix"}),
        lambda inputs: _identifier(secrets.token_bytes(inputs["byteLength"]), inputs.get("prefix", "")),
        _read_identifier,
        ("b64Std", "b64Url", "dec", "hex"),
        "b64Url",
    ),
    Kind(
        "RandomBytes",
        "length",
        {},
        frozenset({"keepers"}),
        lambda inputs: _bytes(secrets.token_bytes(inputs["length"])),
        _read_bytes,
        ("base64", "hex"),
        secret=frozenset({"base64", "hex"}),
    ),
)
