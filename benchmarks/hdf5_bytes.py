"""Bytes of HDF5 objects as libhdf5 writes them by default: object headers, and the index of a group.

Names of structures: HDF5 File Format Specification, version 1.1.
"""

import io
import struct
from typing import NamedTuple

import h5py
import numpy as np
from h5py import h5o

LIBVER = ("earliest", "v108")
FIELDS = ("height", "label", "left", "top", "width")
GROUP_HEADER = 40  # bytes of its first block
SYMBOL_TABLE_MESSAGE = b"\x11\x00\x10\x00"
HEAP_SPARE = 40  # bytes, the free block at a heap's end
INDEX_OF_FIELDS = 992  # bytes of the index of a box group
# How full libhdf5 leaves a group of 25,000 names that grew one by one: 4.5 of 8 and 17 of 32.
SYMBOLS_IN_TWO_LEAVES, CHILDREN_IN_A_NODE = 9, 17
NOWHERE = 2**64 - 1

SYMBOL = np.dtype([("name", "<u8"), ("header", "<u8"), ("cache", "V24")])
LEAF = np.dtype([("signature", "S4"), ("version", "u1"), ("zero", "u1"), ("used", "<u2"), ("symbols", SYMBOL, 8)])
ENTRY = np.dtype([("child", "<u8"), ("key", "<u8")])
NODE = np.dtype(
    [
        *(("signature", "S4"), ("type", "u1"), ("level", "u1"), ("used", "<u2"), ("left", "<u8"), ("right", "<u8")),
        *(("first_key", "<u8"), ("entries", ENTRY, 32)),
    ]
)


class Header(NamedTuple):
    """The bytes of an object header, and the offsets in them of the addresses it holds."""

    content: bytes
    addresses_at: list[int]

    def pointing_to(self, *addresses: int) -> bytes:
        content = bytearray(self.content)
        for offset, address in zip(self.addresses_at, addresses, strict=True):
            struct.pack_into("<Q", content, offset, address)
        return bytes(content)


class Block(NamedTuple):
    """The bytes of a record, and offsets in them.

    letters: of the name's character codes; objects: of what /#refs# names, first the name and the
    box group; numbers: of the scalars, field by field.
    """

    content: np.ndarray
    letters: int
    objects: np.ndarray
    numbers: np.ndarray


class Template(NamedTuple):
    """A record at address 0, and the offsets of all addresses in it."""

    block: Block
    addresses: np.ndarray


def template(digits: int, letters: int) -> Template:
    """A record of so many digits whose name has so many letters."""
    headers = _headers(digits, letters)
    block, moved = (_block(headers, digits, letters, base) for base in (0, 2**16))
    return Template(block, np.flatnonzero(block.content != moved.content) - 2)  # the third byte of each address


def _headers(digits: int, letters: int) -> dict[str, Header]:
    """The object headers of a record, each as h5py writes it."""
    stream = io.BytesIO()
    with h5py.File(stream, "w", libver=LIBVER) as file:
        name = file.create_dataset("name", data=np.zeros((letters, 1), "<u2"))
        name.attrs["MATLAB_class"], name.attrs["MATLAB_int_decode"] = np.bytes_("char"), np.int32(2)
        scalar = file.create_dataset("scalar", data=np.zeros((1, 1), "<f8"))
        scalar.attrs["MATLAB_class"] = np.bytes_("double")
        many = file.create_dataset("many", data=np.full((digits, 1), h5py.Reference(), h5py.ref_dtype))
        group = file.create_group("group")
        group.attrs["MATLAB_class"] = np.bytes_("struct")
        datasets = [(item.name[1:], h5o.get_info(item.id).addr, item.id.get_offset()) for item in (name, scalar, many)]
        group_at = h5o.get_info(group.id).addr
    image = stream.getvalue()
    headers = {}
    for kind, at, data_at in datasets:
        content = image[at : at + 16 + struct.unpack_from("<I", image, at + 8)[0]]
        headers[kind] = Header(content, [content.index(struct.pack("<Q", data_at))])
    # A group's header has room for one message; with an attribute it goes on in a second block.
    rest_at, rest_size = struct.unpack_from("<QQ", image, group_at + GROUP_HEADER - 16)
    content = image[group_at : group_at + GROUP_HEADER] + image[rest_at : rest_at + rest_size]
    index_at = content.index(SYMBOL_TABLE_MESSAGE) + 8
    headers["group"] = Header(content, [GROUP_HEADER - 16, index_at, index_at + 8])
    return headers


def _block(headers: dict[str, Header], digits: int, letters: int, base: int) -> Block:
    """A record's bytes at address `base`: all headers, then name, and each field's references and scalars."""
    sizes = {kind: len(header.content) for kind, header in headers.items()}
    group_at = base + sizes["name"]
    index_at = group_at + sizes["group"]
    field_size = sizes["scalar"] * digits + sizes["many"] * (digits > 1)
    field_at = index_at + INDEX_OF_FIELDS + field_size * np.arange(len(FIELDS))
    letters_at = int(field_at[-1]) + field_size
    index, tree, heap = symbol_table(np.array(FIELDS, "S"), field_at, index_at)
    group = headers["group"].pointing_to(group_at + GROUP_HEADER, tree, heap)
    content = [headers["name"].pointing_to(letters_at), group, *index]
    data, values_at = [bytes(2 * letters)], letters_at + 2 * letters
    objects, numbers = [base, group_at], list[int]()
    for at in field_at.tolist():
        if digits > 1:
            content.append(headers["many"].pointing_to(values_at))
            scalars = [at + sizes["many"] + sizes["scalar"] * place for place in range(digits)]
            data.append(struct.pack(f"<{digits}Q", *scalars))
            objects += scalars
            values_at += 8 * digits
        values = range(values_at, values_at + 8 * digits, 8)
        content += [headers["scalar"].pointing_to(value) for value in values]
        data.append(bytes(8 * digits))
        numbers += values
        values_at = values.stop
    joined = b"".join([*content, *data])
    padded = np.frombuffer(joined + bytes(-len(joined) % 8), np.uint8)
    return Block(padded, letters_at - base, np.array(objects) - base, np.array(numbers) - base)


def symbol_table(names: np.ndarray, headers: np.ndarray, at: int) -> tuple[list[bytes], int, int]:
    """The index of a group: local heap with the names, leaves, B-tree.

    Args:
      names: bytes S[N].
      headers: int[N], the addresses of the objects so named.
      at: the address of the result.

    Returns:
      The bytes, and the addresses of the tree's root and of the heap.
    """
    count, slot = len(names), names.itemsize // 8 * 8 + 8
    names_end = 8 + slot * count
    segment = bytes(8) + names.astype(f"S{slot}").tobytes() + struct.pack("<QQ24x", 1, HEAP_SPARE)
    heap = struct.pack("<4s4xQQQ", b"HEAP", len(segment), names_end, at + 32)
    order = np.argsort(names, kind="stable")
    name_at = 8 + slot * order
    leaf_of = np.arange(count) * 2 // SYMBOLS_IN_TWO_LEAVES
    used = np.bincount(leaf_of)
    ends = np.cumsum(used)
    leaves = np.zeros(len(used), LEAF)
    leaves["signature"], leaves["version"], leaves["used"] = b"SNOD", 1, used
    place = np.arange(count) - (ends - used)[leaf_of]
    leaves["symbols"]["name"][leaf_of, place] = name_at
    leaves["symbols"]["header"][leaf_of, place] = headers[order]
    content = [heap, segment, leaves.tobytes()]
    children = at + len(heap) + len(segment) + LEAF.itemsize * np.arange(len(leaves))
    keys = name_at[ends - 1]
    level = 0
    while level == 0 or len(children) > 1:
        nodes, keys = _nodes(children, keys, level, at + sum(map(len, content)))
        children = at + sum(map(len, content)) + NODE.itemsize * np.arange(len(nodes))
        content.append(nodes.tobytes())
        level += 1
    return content, int(children[0]), at


def _nodes(children: np.ndarray, keys: np.ndarray, level: int, at: int) -> tuple[np.ndarray, np.ndarray]:
    """One level of the B-tree over its children, at address `at`; and the last key of each of its nodes."""
    node_of = np.arange(len(children)) // CHILDREN_IN_A_NODE
    used = np.bincount(node_of)
    nodes = np.zeros(len(used), NODE)
    nodes["signature"], nodes["level"], nodes["used"] = b"TREE", level, used
    addresses = at + NODE.itemsize * np.arange(len(nodes))
    nodes["left"], nodes["right"] = NOWHERE, NOWHERE
    nodes["left"][1:], nodes["right"][:-1] = addresses[:-1], addresses[1:]
    place = np.arange(len(children)) % CHILDREN_IN_A_NODE
    nodes["entries"]["child"][node_of, place] = children
    nodes["entries"]["key"][node_of, place] = keys
    last = keys[np.cumsum(used) - 1]
    nodes["first_key"][1:] = last[:-1]
    return nodes, last
