"""Colors of ground and number, measured in real photos.

Each entry is "ground-ink" in hexadecimal RGB, of one of 240 crops of the first 2,000 train photos
of SVHN Format 1 that are sharp and have two clear tones (Otsu's threshold): the tone around the
number, and the core of the other one.
"""

import numpy as np

_PAIRS = """
121012-3f403c 121113-685e4b 151419-565648 171a1f-616c69 181921-3d4140 141c22-373f43 151829-444d57
261e1b-5d5340 13183a-6d7680 2d211b-706853 1c1b36-585f66 32211a-8b754e 1b272d-696e6d 222131-9099a4
1e2432-565e64 202238-a6acb1 242235-9ea19a 2c2c24-52574f 1f223c-697272 2c292b-515356 0a2654-485d77
212d37-5b6157 252d33-787c64 392a27-797561 202c3f-576163 45311c-705c2c 292749-86888c 202c4d-6c7c83
38342f-83674a 242a4e-7a868a 252e4b-8a959e 0f2e66-42628c 243352-5b6c79 2e314a-6b7080 3f2c40-878787
3f3835-625c5b 2f2e4f-8e93a2 2a374c-7a8792 231c6f-f0f6fb 2c394a-838d96 232b63-98a0b8 31364b-75777c
42353b-6c6461 243e57-6e7b86 363350-a8b1bd 463741-928e87 293166-8494a0 403c46-909495 383d54-797c82
2e326a-a6acb5 393162-9c9db9 38474d-657275 353463-b8c5c9 3d4051-838f9c 43434c-898b8e 3e4352-787f83
3f464f-787e7c 554837-1b0e0a 413f56-8a8e8e 3e3f59-9798af 3d4357-878992 324368-797d86 3c445f-99a0a4
4f4c45-292925 414857-777d79 41405f-bcc6c5 3d4460-868d91 3c4d5d-6a7472 4f4e4b-1a1c20 3b4965-8fa1ad
494d53-1e232c 514b4e-2e2c34 3e4966-7e8faf 4d535a-918e8d 4c4b68-a3a7b9 46506d-868d9d 38537a-bbd1e8
6f5046-958e87 4d5068-eaeff3 5d5951-bfc1b8 46536f-8a9098 565363-a8a6a2 5d5260-b0b8b8 5d5c60-322f37
5e615e-81867f 525b71-c9d2e2 5a5f66-16192d 586266-242e38 625f60-333033 5e6562-393d42 595a72-f9fcfc
6e6356-383235 54577d-aab0ba 696062-a0aaa5 836544-543a25 656661-3f3f41 576277-a6adb0 72645c-3d3030
4e5196-e8edf9 526088-bfc9d7 636d6b-1c1e33 4d5a95-cbd7dd 645f7b-f4f9fb 686b6f-46474f 736967-a4aeb6
6b6b6f-353642 4e6692-bccbd1 89754d-362a19 737366-0d2347 736f6b-afaca9 687075-3f4953 70954e-486f2f
727072-b9b7b3 94853f-4d4727 707177-54545c 847562-534333 7d766b-3d2f2a 7f7c68-272a27 71757f-d7dddc
7d7078-f8e9e1 737a7a-252938 657793-effcfe 818174-322f37 629186-4d625a 787593-dbdfe5 798088-535963
807f83-524e56 8b8375-302628 7e8087-424252 7e7b8d-322f49 868480-41392a 7e8687-3e506b 9f8f5d-484533
768297-c0c7ce 7a8491-5b6477 6f77ab-e4eef9 827f93-302f5b 8a8e7d-404436 828a89-2a2c39 9d8f69-53472b
7e8594-2a2d43 938c7a-4d483c 87888a-373c4f 89888a-463b40 828d8c-56616a 769196-425256 948e7e-504a47
918b84-544d4e 83869e-201c46 8c9190-2a3046 91928c-1f1f27 b68673-513e3a 8d9093-39373f 8b9196-3d3d4f
9c9186-252537 8a939a-b6bebe 8d9795-3c4558 7c8bb3-e1ebf4 95988d-292738 959691-515459 949692-302f2f
909699-666a70 c79663-664328 959897-3c3b40 a19490-483e53 a2968d-3f343a 969a95-2d2d45 838cb9-e8f0f8
999d97-3a3f55 959aa1-5d5f6f 919aa6-4c5670 979ca1-332f50 909da8-4e5c6c 959fa3-42455d 9b9ca3-5f5d6e
9b9fa1-323656 a09da2-404069 9ea0a3-5f646f 949cb1-5b6181 abad8e-212650 9ba2aa-626a7a a3a3a2-636366
aea595-7d7a75 84a5bf-1a3057 9ba3aa-525a6e 97a5ad-667684 9da4aa-56595d a2a6a5-5e6167 9ba7ad-152149
8993d5-f4fcfd a4aab0-616771 a5aab1-474954 b5ad9e-585352 a0aab7-424a69 a0acb6-181352 a6a9b6-898e9c
beb29b-827866 8aabda-e9fcfe aab1b6-6f7789 b0b6b4-80797c a6b6bf-433c51 acb2c3-5a4f6b b7b7b6-57535c
b5bab6-191b41 b9b8b5-6a686b b1bfc0-3c4c6b b5b8c6-695f73 b5bdc6-39417a c1c0b9-393850 b9c1c0-90969a
bec3c3-575760 bac0cb-54557b c6c9c6-6c6e85 c9c5cb-58587d c3c6d2-73768d c6cccf-798397 d5dbb5-7c8369
cacdd0-5e5e75 dcd2b9-63574b c5d2d4-657ba2 d4cfca-a7958f c8d3d4-808591 cad0d8-5c77a5 c4d0e0-626c92
ccd3d6-7c7b8a d4d7db-9fa0a7 d1dadd-465073 d4dadb-8f9aa5 d2d9e0-677292 dadcd9-343553 d5dfdd-4d5167
d0dfe6-919fae dee4da-49557e e8e8e5-6f6b82 e6e6ea-7c8196 fce7d4-62484a e9eae8-a4a0a9 ebeef4-2c316b
eaf3f5-3f3a76 f1f6fa-7b799f
"""
PAIRS = np.array(
    [[list(bytes.fromhex(side)) for side in pair.split("-")] for pair in _PAIRS.split()], np.float32
)
"""float32[240, 2, 3]: ground and ink, 0 to 255."""
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
Color = tuple[int, int, int]
Sides = tuple[float, float, float, float]  # left, top, right, bottom
WOODS = ((92, 58, 34), (141, 96, 60), (176, 132, 88), (201, 168, 127), (110, 100, 90), (70, 45, 32))
METALS = (
    (20, 20, 22),
    (60, 60, 62),
    (150, 150, 152),
    (205, 205, 205),
    (165, 130, 65),
    (120, 90, 55),
)
# Gray levels between ground and ink; 5 % of real crops have a standard deviation below 14.
LEAST_CONTRAST = 36.0


def rgb(color: np.ndarray) -> Color:
    red, green, blue = (int(min(255, max(0, value))) for value in color.tolist())
    return red, green, blue


def shade(rng: np.random.Generator, color: Color, spread: float) -> Color:
    """The color, brighter or darker."""
    return rgb(np.array(color) + rng.normal(0, spread) + rng.normal(0, spread * 0.1, 3))


def mix(color: Color, other: Color, share: float) -> Color:
    """Between two colors; share: of the other."""
    red, green, blue = (
        int(one * (1 - share) + two * share) for one, two in zip(color, other, strict=True)
    )
    return red, green, blue


def measured_pair(rng: np.random.Generator) -> tuple[Color, Color]:
    """Ground and ink: a measured pair, in another light, sometimes with less contrast."""
    ground, ink = PAIRS[rng.integers(len(PAIRS))]
    if rng.random() < 0.12:  # the measured pairs have no others
        ground, ink = ink, ground
    contrast = abs(float((ink - ground) @ LUMA))
    ink = ground + (ink - ground) * max(rng.uniform(0.7, 1.25), LEAST_CONTRAST / max(contrast, 1.0))
    light, colorfulness = float(np.exp(rng.normal(0, 0.12))), rng.uniform(0.4, 1)
    pair = np.stack([ground, ink])
    grey = (pair @ LUMA)[:, None]
    pair = (grey + (pair - grey) * colorfulness) * light + rng.normal(0, 3.5, (2, 3))
    return rgb(pair[0]), rgb(pair[1])


def ground_color(rng: np.random.Generator) -> Color:
    """A measured ground, in another light."""
    ground = PAIRS[rng.integers(len(PAIRS)), 0]
    return rgb(ground * rng.uniform(0.6, 1.1) + rng.normal(0, 6, 3))


def wall_color(rng: np.random.Generator) -> Color:
    """Of a wall, a door or a plate: measured, white, dark, of wood, or of paint."""
    kind = rng.random()
    if kind < 0.4:
        return rgb(PAIRS[rng.integers(len(PAIRS)), rng.integers(2)])
    if kind < 0.6:
        return rgb(rng.uniform(180, 250) + rng.normal(0, 6, 3))
    if kind < 0.72:
        return rgb(rng.uniform(15, 80) + rng.normal(0, 5, 3))
    if kind < 0.85:
        return rgb(np.array(WOODS[rng.integers(len(WOODS))]) * rng.uniform(0.6, 1.2))
    return rgb(rng.uniform(10, 230, 3))


def figure_color(rng: np.random.Generator) -> Color:
    """Of figures: metal, black, white, or any color."""
    kind = rng.random()
    if kind < 0.3:
        return shade(rng, METALS[rng.integers(len(METALS))], 15)
    if kind < 0.55:
        return shade(rng, (18, 18, 18), 12)
    return shade(rng, (240, 240, 236), 12) if kind < 0.8 else wall_color(rng)


def around(boxes: np.ndarray) -> Sides:
    """Around all boxes float[n, 4]."""
    left, top = boxes[:, :2].min(axis=0).tolist()
    right, bottom = boxes[:, 2:].max(axis=0).tolist()
    return left, top, right, bottom
