"""Photo files without their metadata, and the EXIF orientation that browsers apply.

Metadata may be damaged, or too large for Pillow, although every pixel is sound. So Pillow gets the
pixels alone.
"""

import re
import struct
import zlib

PNG_START = b"\x89PNG\r\n\x1a\n"
JPEG_MARKER = re.compile(rb"\xff+([\x01-\xfe])")  # as libjpeg looks for the next one
HEIF_EXIF = re.compile(rb"(infe[\x02\x03].{7,9})Exif", re.DOTALL)  # ISO/IEC 14496-12, 8.11.6


def without_metadata(content: bytes) -> tuple[bytes, int]:
    """The file with the same pixels, and the EXIF orientation of a JPEG or PNG: 1 (upright) to 8.

    Browsers apply no other orientation: not that of XMP, nor EXIF's in a WebP, AVIF or HEIC.
    """
    if content.startswith(PNG_START):
        return _pixels_of_png(content)
    if content.startswith(b"\xff\xd8\xff"):
        return _pixels_of_jpeg(content)
    if content[4:8] == b"ftyp":  # an item of unknown type is passed over
        return HEIF_EXIF.sub(rb"\1none", content), 1
    return content, 1


def exif_orientation(exif: bytes) -> int:
    """The orientation in an EXIF block, 1 to 8; 1 if the block cannot be understood."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if not order:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (count,) = struct.unpack_from(order + "H", exif, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, number, value = struct.unpack_from(order + "HHIH", exif, at)
            if (tag, kind, number) == (0x0112, 3, 1):
                return value if 1 <= value <= 8 else 1
    except struct.error:
        pass
    return 1


def _pixels_of_png(content: bytes) -> tuple[bytes, int]:
    """Also without animation; an end that is missing is added. Pillow checks the pixels."""
    kept, at, orientation, depth_color = [PNG_START], len(PNG_START), 0, b""
    while at + 8 < len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        data = content[at + 8 : at + 8 + length]
        chunk = content[at : at + 12 + length]
        at += 12 + length
        if kind == b"IHDR":
            depth_color = data[8:10]
        if kind in (b"tRNS", b"eXIf") and chunk != _chunk(kind, data):
            continue  # a wrong checksum
        if kind == b"eXIf":
            orientation = orientation or exif_orientation(data)
        elif kind == b"tRNS":
            kept.append(_chunk(kind, _transparent_as_read(data, depth_color)))
        elif kind in (b"IHDR", b"PLTE", b"IDAT"):  # cut short, perhaps only in its checksum?
            kept.append(chunk if at <= len(content) else _chunk(kind, data))
            orientation = orientation or int(kind == b"IDAT")  # EXIF counts before the pixels only
        elif kind == b"IEND":
            break
    return b"".join([*kept, _chunk(b"IEND", b"")]), orientation or 1


def _transparent_as_read(values: bytes, depth_color: bytes) -> bytes:
    """The value of transparent pixels in 8 bits a channel, to which Pillow scales these depths."""
    if depth_color in (b"\2\0", b"\4\0"):  # grey of 2 or 4 bits
        most = 2 ** depth_color[0] - 1
        return struct.pack(">H", (int.from_bytes(values) & most) * 255 // most)
    if depth_color == b"\x10\2":  # 16 bits a channel
        return b"".join(b"\0" + values[at : at + 1] for at in (0, 2, 4))
    return values


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _pixels_of_jpeg(content: bytes) -> tuple[bytes, int]:
    """Also without the further pictures of an MPO. Lengths of 0 and 1 count as 2, as in libjpeg."""
    kept, at, orientation = [content[:2]], 2, 0
    while found := JPEG_MARKER.search(content, at):
        code, at = found[1][0], found.end()
        if code == 0xDA:  # the pixels: nothing behind this marker is metadata
            kept.append(content[found.start() :])
            return b"".join(kept), orientation or 1
        if code == 0x01 or 0xD0 <= code <= 0xD7:  # markers without a length
            continue
        at += max(2, int.from_bytes(content[at : at + 2]))
        data = content[found.end() + 2 : at]
        is_application = 0xE0 <= code <= 0xEF or code == 0xFE
        is_color = len(data) >= 12 and data.startswith((b"JFIF\0", b"Adobe"))  # how it is coded
        if not is_application or is_color:
            kept.append(content[found.start() : at])
        if code == 0xE1 and data.startswith(b"Exif\0\0") and not orientation:
            orientation = exif_orientation(data[6:])
    return content, 1  # no pixels: Pillow reports it
