"""Archives and folders in which some photos are hostile; under names that end in .png."""

import functools
from collections.abc import Callable

import fuzz_pictures
from fuzz_inputs_tar import members, tar_of
from fuzz_scene import Scene


def _make(kind: str, scene: Scene) -> None:
    photos = dict(scene.material.photos)
    sound = [*photos.values()]
    for name in scene.rng.sample(sorted(photos), scene.rng.choice((1, 1, 2, len(photos)))):
        photos[name] = fuzz_pictures.KINDS[kind][0](scene.rng, sound)
    if scene.rng.random() < 0.5:
        scene.write_archive(tar_of(members(scene, scene.files(photos))))
    else:
        scene.write_folder(scene.files(photos))
    scene.records = len(scene.material.records)


KINDS: dict[str, tuple[Callable[[Scene], None], int]] = {
    kind: (functools.partial(_make, kind), weight)
    for kind, weight in (("PNG", 12), ("JPEG", 9), ("other formats", 9), ("bomb", 1))
}
