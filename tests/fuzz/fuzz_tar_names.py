"""The members of a plain tar archive, read without tarfile, to check what was made of it."""

import gzip
import zlib
from pathlib import Path

from svhn_jax.data.photos import OTHER_FILES

WITHOUT_CONTENT = b"123456"


def tar_names(path: Path, split: str) -> list[str] | None:
    """The names under which an archive's members count as photos; None if it holds anything out of the ordinary."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.stat().st_size < 2**22 else b""
    except (OSError, EOFError, zlib.error):
        return None
    at, found, long_name = 0, list[str](), None
    while (block := content[at : at + 512]).strip(b"\0"):
        plain = _member(block)
        if plain is None:
            return None
        name, kind, size = plain
        size = 0 if kind in WITHOUT_CONTENT else size
        data = content[at + 512 : at + 512 + size]
        at += 512 + -(-size // 512) * 512
        if kind == ord("L"):
            long_name = data.split(b"\0")[0]
            continue
        member = (name if long_name is None else long_name).decode("utf-8", "surrogateescape")
        long_name = None
        if kind == ord("5"):
            continue
        folder, _, file = member.removeprefix("./").rpartition("/")
        if folder != split or file not in OTHER_FILES:
            found.append(file if folder == split else member)
    return found if content else None


def _member(block: bytes) -> tuple[bytes, int, int] | None:
    """Name, type and size of a header block; None if they are not those of a plain one."""
    try:
        stated, size = (
            int(block[part].strip(b" \0") or b"0", 8) for part in (slice(148, 156), slice(124, 136))
        )
    except ValueError:
        return None
    kind = block[156]
    is_sound = (
        len(block) == 512
        and stated == sum(block) - sum(block[148:156]) + 8 * ord(" ")
        and size >= 0
    )
    if not is_sound or kind not in b"01234567L" or block[345] or b"_" in block[124:136]:
        return None
    return block[:100].split(b"\0")[0], kind, size
