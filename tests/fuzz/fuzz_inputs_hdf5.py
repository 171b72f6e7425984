"""Fuzzed digitStruct.mat that the HDF5 library itself has written: links, circles, shapes, types, wrong values."""

import math
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
from fuzz_inputs_values import place_and_remove
from fuzz_material import archives, columns
from fuzz_scene import Scene

Change = Callable[[Scene, h5py.File], None]


def _field(scene: Scene, file: h5py.File) -> tuple[Any, str]:
    """A record's box group and one of its fields."""
    group = file[f"#refs#/box{scene.rng.randrange(len(scene.material.records))}"]
    return group, scene.rng.choice(("label", "left", "top", "width", "height"))


def _column(scene: Scene, file: h5py.File) -> tuple[Any, str]:
    return file["digitStruct"], scene.rng.choice(("name", "bbox"))


def _name(scene: Scene, file: h5py.File) -> tuple[Any, str]:
    return file["#refs#"], f"name{scene.rng.randrange(len(scene.material.records))}"


def _any_place(scene: Scene, file: h5py.File) -> tuple[Any, str]:
    return scene.rng.choice((_field, _column, _name))(scene, file)


def _relink(scene: Scene, file: h5py.File) -> None:
    """A link to another object, to itself, to nowhere, or out of the file."""
    group, name = _any_place(scene, file)
    other = str(scene.outside / "digitStruct.mat")
    targets = (
        *(
            group,
            file,
            file["#refs#/name0"],
            file["#refs#/box0"],
            file["digitStruct"],
            h5py.SoftLink("/#refs#/box0/left"),
        ),
        *(
            h5py.SoftLink(f"{group.name}/{name}"),
            h5py.SoftLink("/nowhere"),
            h5py.ExternalLink(other, "/digitStruct/name"),
        ),
        *(
            h5py.ExternalLink("/dev/zero", "/x"),
            h5py.ExternalLink(other, "/#refs#/box0/left"),
            np.dtype("f8"),
        ),
    )
    target = scene.rng.choice(targets)
    if name in group:
        del group[name]
    group[name] = target


def _redraw(scene: Scene, file: h5py.File) -> None:
    """A dataset of another shape, of another type, stored in another way."""
    group, name = _any_place(scene, file)
    rng = scene.rng
    if name in group:
        del group[name]
    shape = rng.choice(
        (
            (1, 1),
            (2, 1),
            (1, 3),
            (0, 1),
            (1, 0),
            (),
            (1,),
            (1, 1, 1),
            (8, 1),
            (1000, 1),
            (1001, 1),
            (2,) * 9,
        )
    )
    dtypes = ("<f8", ">f8", "<f4", "<i8", "|u1", "<u2", "S5", "O", "f2", "c16", "bool", "<u8")
    described = (
        *map(_dtype, dtypes),
        h5py.ref_dtype,
        h5py.regionref_dtype,
        h5py.enum_dtype({"a": 1}),
        np.dtype([("a", "f8")]),
    )
    group.create_dataset(name, shape, rng.choice(described))


def _dtype(text: str) -> Any:
    return h5py.string_dtype() if text == "O" else np.dtype(text)


def _giant(scene: Scene, file: h5py.File) -> None:
    """A dataset that claims far more than the file has, in chunks of absurd size, compressed, or virtual."""
    group, name = _any_place(scene, file)
    rng = scene.rng
    dtype = h5py.ref_dtype if name in ("name", "bbox") else np.dtype(rng.choice(("<f8", "<u2")))
    if name in group:
        del group[name]
    rows = rng.choice((10**3, 10**5, 10**7, 10**9, 2**40))
    storage: dict[str, Any] = rng.choice(
        (
            *(
                {"chunks": (1024, 1)},
                {"chunks": (min(rows, 10**8), 1)},
                {"chunks": (1, 1), "maxshape": (None, None)},
            ),
            *(
                {"chunks": (100, 1), "compression": "gzip", "shuffle": True},
                {"chunks": (7, 1), "fletcher32": True},
            ),
        )
    )
    made = group.create_dataset(name, (rows, 1), dtype, **storage)
    if dtype != h5py.ref_dtype and math.prod(made.chunks) <= 10**5 and rng.random() < 0.5:
        made[0, 0] = 5


def _elsewhere(scene: Scene, file: h5py.File) -> None:
    """A dataset whose bytes lie in another file."""
    group, name = _any_place(scene, file)
    dtype = h5py.ref_dtype if name in ("name", "bbox") else np.dtype("<f8")
    if name in group:
        del group[name]
    secret = str(scene.outside / "secret.txt")
    if scene.rng.random() < 0.5:
        group.create_dataset(name, (8, 1), dtype, external=[(secret, 0, 64)])
        return
    layout = h5py.VirtualLayout((8, 1), dtype)
    layout[:] = h5py.VirtualSource(
        str(scene.outside / "digitStruct.mat"), "digitStruct/name", (8, 1)
    )
    group.create_virtual_dataset(name, layout)


def _compress(scene: Scene, file: h5py.File) -> None:
    """The same data, in chunks or compressed: nothing is wrong with them."""
    group, name = _any_place(scene, file)
    data, dtype = group[name][()], group[name].dtype
    del group[name]
    group.create_dataset(
        name,
        data=data,
        dtype=dtype,
        chunks=tuple(max(1, side) for side in data.shape),
        compression="gzip",
    )


def _rereference(scene: Scene, file: h5py.File) -> None:
    """A reference to nothing, to itself, to an object of another kind."""
    dataset = file["digitStruct"][scene.rng.choice(("name", "bbox"))]
    targets = (
        file,
        file["digitStruct"],
        dataset,
        file["#refs#/name0"],
        file["#refs#/box0"],
        file["#refs#"],
    )
    ref = scene.rng.choice((*(target.ref for target in targets), h5py.Reference()))
    dataset[scene.rng.randrange(len(dataset)), 0] = ref


def _restructure(scene: Scene, file: h5py.File) -> None:
    """digitStruct itself is something else, or not there; or a group holds more than it should."""
    rng, struct = scene.rng, "digitStruct"
    kind = rng.randrange(6)
    if kind == 0:
        group, _ = _field(scene, file)
        for index in range(rng.choice((1, 5, 300))):
            group[f"more{index}"] = np.zeros(3)
    elif kind == 1:
        for index in range(rng.choice((1, 8, 50))):
            _any_object(scene, file).attrs[f"a{index}"] = np.zeros(rng.choice((1, 1000)))
    else:
        file.move(struct, "moved")
        if kind == 2:
            file[struct] = h5py.SoftLink(rng.choice(("/moved", "/digitStruct", "/nowhere")))
        elif kind == 3:
            file[struct] = h5py.ExternalLink(str(scene.outside / "digitStruct.mat"), "/digitStruct")
        elif kind == 4:
            file[struct] = rng.choice((np.zeros(3), np.dtype("f8")))


def _any_object(scene: Scene, file: h5py.File) -> Any:
    group, name = _any_place(scene, file)
    return group.get(name, group)


def _length(scene: Scene, file: h5py.File) -> None:
    """The two columns differ in length, or lie on their side."""
    struct, name = _column(scene, file)
    if name not in struct:
        return
    column = struct[name][()].ravel()
    del struct[name]
    shape = scene.rng.choice(
        ((len(column) - 1, 1), (1, len(column)), (len(column),), (len(column), 2), (0, 1), (0, 0))
    )
    struct.create_dataset(
        name,
        data=np.resize(column, shape) if math.prod(shape) else None,
        shape=shape,
        dtype=h5py.ref_dtype,
    )


HDF5_CHANGES: tuple[Change, ...] = (
    *(
        _relink,
        _redraw,
        _redraw,
        _giant,
        _elsewhere,
        _compress,
        _rereference,
        _restructure,
        _length,
    ),
)


def hdf5_structure(scene: Scene) -> None:
    """Whatever the library lets one write in place of a record, a field or the whole."""
    path = scene.tmp / "made.mat"
    libver = scene.rng.choice(("earliest", "earliest", "latest"))
    archives.write_mat(
        path, [(record.name, columns(record)) for record in scene.material.records], libver
    )
    with h5py.File(path, "r+", libver=libver) as file:
        for change in scene.rng.choices(HDF5_CHANGES, k=scene.rng.choice((1, 1, 1, 2))):
            try:
                change(scene, file)
            except (KeyError, AttributeError, TypeError, ValueError, OSError, RuntimeError):
                continue  # an earlier change has left nothing there to change so
    place_and_remove(scene, path)


KINDS: dict[str, tuple[Callable[[Scene], None], int]] = {
    "HDF5 structure": (hdf5_structure, 10),
}
