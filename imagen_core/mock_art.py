"""The pictures of the mock backend: a landscape and its label, of whole numbers alone.

No float, no font file and none of Pillow's shapes: these differ from one version or platform to
the next. What has an edge is a mask made here, its edges placed to 1/16 of a pixel (`SUB`).
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256, shake_256
from itertools import pairwise
from math import isqrt
from typing import TYPE_CHECKING

from imagen_core.mock_letters import RISE, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from PIL.Image import Image

Colour = tuple[int, ...]
SUB = 16
# Sky from top to horizon (3), sun or moon, farthest ridge, nearest ridge, cloud.
PALETTES = {
    "dawn": "34487e c97b8f ffd3a0 fff3d6 a98aa8 2f2b4a ffe3d3",
    "noon": "2f7fc4 7cc0e8 e3f4f5 fffbe0 8fb4cf 1f4a4d ffffff",
    "dusk": "2a1b4a b23a6b ff9a5a ffe08a 8a3f6e 1f1230 ff9f8f",
    "night": "060a1e 14244f 3d5688 f4f1dc 2f4272 070b1c 5a6fa3",
    "autumn": "6d93a8 cfd3bd ffe2b0 fff6dc b98a6a 4a2320 fff3e0",
    "aurora": "050a1f 0c2a3f 1f5a63 e9f7ee 234a5c 04101a 4c8f8a",
    "moonrise": "1c1440 563a86 c47fae ffeecb 6d4f94 160f2e b58cc4",
    "meadow": "4aa3c9 a9dcd6 f7f3c8 fffde6 93c0a0 1d4a2c ffffff",
    "desert": "3c7f9e e8b98a ffe6bd fff4d2 d98f63 5a2320 fff0da",
    "winter": "5f83ad b9cfe3 f6eef0 fffaf0 93a9c8 2c4566 ffffff",
    "fog": "7f9898 b9c7c2 e6e6da fffdf2 9fb2ac 24393b f4f6f2",
    "neon": "140a38 6a1b86 ff5fa2 ffe66b 5b2a9a 0d0628 ff8fd0",
}
NIGHTS = ("night", "aurora", "moonrise")
STARS = {"dusk": 60, "neon": 90, **dict.fromkeys(NIGHTS, 220)}
AURORA = ((160, 80, 230), (70, 140, 220), (90, 255, 190))
PAPER: Colour = (246, 243, 236)


def draw(prompt: str, *, seed: int, width: int, height: int) -> Image:
    """Draw a landscape that the prompt and the seed choose, and label it with both.

    The same arguments give the same pixels everywhere; another size gives much the same scene.
    A picture with a side below 96 pixels has no label.
    """
    scene = _Landscape(f"{seed}: {prompt}", width, height)
    scene.paint_sky()
    scene.paint_land()
    if scene.shore < height:
        scene.paint_water()
    if scene.unit >= 96:
        _paint_label(scene, prompt, f"seed {seed} \xb7 {width}x{height}")
    return scene.image


class _Landscape:
    def __init__(self, text: str, width: int, height: int) -> None:
        self.key = sha256(text.encode(errors="surrogatepass")).digest()
        self.width, self.height = width, height
        self.unit = min(width, height)  # What sizes are a percentage of.
        self.mood = tuple(PALETTES)[self.key[0] % len(PALETTES)]
        colours = [tuple(bytes.fromhex(code)) for code in PALETTES[self.mood].split()]
        *self.sky, self.light, self.far, self.near, self.cloud = colours
        lake, self.peaks = self.key[1] % 4 > 0, self.key[2] % 2
        self.sea = lake and self.key[3] % 4 == 0
        self.shore = height * (60 + self.key[4] % 9) // 100 if lake else height
        self.light_x = width * (18 + self.key[5] % 65) // 100
        self.image = _gradient((width, height), *self.sky, self.sky[-1])

    def pick(self, tag: str, low: int, high: int) -> int:
        return low + int.from_bytes(self.noise(tag, 8), "big") % (high - low + 1)

    def noise(self, tag: str, count: int) -> bytes:
        return shake_256(self.key + tag.encode()).digest(count)

    def scatter(self, tag: str, count: int, each: int) -> Iterator[tuple[int, ...]]:
        """Give some bytes for each of many things, of which a small picture has fewer."""
        numbers = iter(self.noise(tag, min(count, self.unit // 2) * each))
        return zip(*[numbers] * each, strict=True)

    def stamp(self, colour: Colour, mask: Image, x: int, y: int) -> None:
        self.image.paste(colour, (x - mask.width // 2, y - mask.height // 2), mask)

    def contour(self, tag: str, cell: int, rough: int, smooth: int) -> list[int]:
        """Value noise of about 0 to 4096 for each column side, with cells of so much a unit."""
        count = self.width * 100 // (self.unit * cell) + 3
        points = [16 * value for value in self.noise(tag, count)]
        for level in range(1, rough + 1):
            if len(points) > self.width:
                break
            jitter = self.noise(f"{tag} {level}", len(points) - 1)
            steps = zip(pairwise(points), jitter, strict=True)
            middles = [(a + b >> 1) + ((value - 128) * 10 >> level) for (a, b), value in steps]
            points = [point for pair in zip(points, middles, strict=False) for point in pair]
        for _ in range(smooth):
            points = [p for a, b in pairwise(points) for p in (3 * a + b >> 2, a + 3 * b >> 2)]
        return _stretched(points, self.width + 1)

    def paint_sky(self) -> None:
        for a, b, c, d, bright in self.scatter("stars", STARS.get(self.mood, 0), 5):
            x, y = (a * 256 + b) * self.width >> 16, (c * 256 + d) ** 2 * self.height * 2 // 5 >> 32
            end = 1 + self.unit * (1 + bright // 128) // 900
            colour = _blend(self.sky[1], self.light, 20 + bright * 80 // 255)
            self.image.paste(colour, (x, y, x + end, y + end))
        for tag in ("first", "second") if self.mood == "aurora" else ():
            self.paint_aurora(tag)
        self.paint_light()
        for number in range(self.pick("clouds", 0, 5)):
            self.paint_cloud(*self.noise(f"cloud{number}", 12))
        flock = self.pick("flock", 0, 9) if self.mood not in NIGHTS and self.unit > 160 else 0
        for across, down, size in self.scatter("birds", flock, 3):
            wing = 1 + self.unit * (6 + size % 5) // 1000
            x = self.width - self.light_x + self.unit * (across - 128) // 1000
            y = self.height // 5 + self.unit * (down - 128) // 2200
            for side in (x - wing, x + wing):
                self.stamp(self.near, _disc(wing, (0, 1 + wing // 4)), side, y)

    def paint_aurora(self, tag: str) -> None:
        floor, length = 1 + self.height * self.pick(tag, 40, 54) // 100, 1 + self.height * 4 // 10
        shape = [min(y * y // length, (length - y) * 9, length) for y in range(length)]
        beams = [bytes(y * (10 + 13 * peak) // length for y in shape) for peak in range(19)]
        sways, rays = self.contour(f"{tag} sway", 60, 1, 3), self.contour(f"{tag} rays", 14, 4, 0)
        columns = []
        for sway, ray in zip(sways[1:], rays[1:], strict=True):
            end = max(1, floor - self.height * sway // 16384)
            beam = beams[max(0, ray >> 8)][-end:]
            columns.append(beam.rjust(end, b"\0").ljust(floor, b"\0")[:floor])
        mask = _image("L", columns, standing=True)
        self.image.paste(_gradient((self.width, floor), *AURORA), (0, 0), mask)

    def paint_light(self) -> None:
        night = self.mood in NIGHTS
        low, small = (14, 4) if night else (24, 6)
        x, y = self.light_x, self.height * self.pick("light y", low, low + 16) // 100
        radius = 1 + self.unit * self.pick("radius", small, small * 2) // 100
        self.stamp(self.light, _glow(1 + self.unit * 48 // 100, 134 if night else 182), x, y)
        for size, alpha in ((27, 22), (19, 26), (14, 36)):
            disc = _disc(radius * size // 10)
            self.stamp(self.light, _both(disc, _gradient(disc.size, (alpha >> night,))), x, y)
        phase = radius * self.pick("phase", 2, 5) * 2 // 10
        self.stamp(self.light, _disc(radius, (phase, -phase // 2) if night else None), x, y)

    def paint_cloud(self, across: int, down: int, size: int, *puffs: int) -> None:
        size = 1 + self.unit * (4 + size % 6) // 100
        mask = _gradient((size * 8, size * 3 // 2), (0,))
        for place, puff in enumerate(puffs, 1):
            disc = _disc(size * (14 + puff % 12 - abs(2 * place - 10)) // 20)
            left, top = size * place * 4 // 5 - disc.width // 2, mask.height - disc.height // 2
            mask.paste(255, (left, top), disc)
        x, y = self.width * across // 255, self.height * (20 + down // 3) // 255
        self.stamp(self.cloud, _both(mask, _gradient(mask.size, (225,), (30,))), x, y)

    def paint_land(self) -> None:
        count = 2 if self.sea else self.pick("ridges", 4, 6)
        for number in range(count):
            near = 100 * (number + 1) // count
            contour = self.ridge(number, near)
            self.paint_ridge(contour, number, near)
            if near > 70 and self.mood not in ("desert", "neon"):
                self.paint_trees(contour, number, near)

    def ridge(self, number: int, near: int) -> list[int]:
        values = self.contour(f"ridge{number}", 44 - near // 5, *((8, 0) if self.peaks else (2, 4)))
        if self.peaks:
            values = [4096 - abs(2 * value - 4096) for value in values]
        low = 0 if self.sea else 17 if self.shore < self.height else 30
        floor = self.shore if low < 30 else self.height * 92 // 100
        base = floor * SUB - self.height * low * (100 - near) * SUB // 10000
        tall = self.unit * (26 + 8 * self.peaks) * (140 - near) * SUB // 14000
        least = -90 if self.sea else 90
        slope = [least + value * 2 // 3 for value in self.noise(f"slope{number}", 5)]
        parts = zip(values, _stretched(slope, len(values)), strict=True)
        return [base - (value * part * tall >> 20) for value, part in parts]

    def paint_ridge(self, contour: list[int], number: int, near: int) -> None:
        top = max(0, min(contour) // SUB)
        size = self.width, self.shore - top
        if top >= self.shore:
            return
        colour = _blend(self.far, self.near, near)
        ground = _gradient(size, colour, _blend(colour, self.sky[-1], 55 - near * 45 // 100))
        contour = [max(0, y - top * SUB) for y in contour]
        if near < 60 and self.peaks:
            line = self.unit * SUB * 11 // 100
            jags = zip(contour, self.contour(f"snow{number}", 5, 3, 0), strict=True)
            drifts = [y + max(0, line - y) * (1500 + jag) // 5600 for y, jag in jags]
            snow = _gradient(size, _blend(colour, _blend(self.light, self.cloud, 60), 75))
            snow.paste(ground, (0, 0), _under(drifts, size[1]))
            ground = snow
        self.image.paste(ground, (0, top), _under(contour, size[1]))

    def paint_trees(self, contour: list[int], number: int, near: int) -> None:
        tall = 2 + self.unit * near * 8 // 10000
        masks = [_silhouette(_pine, tall * (10 + step) // 16) for step in range(7)]
        groves = self.contour(f"groves{number}", 22, 1, 0)
        colour = _blend(_blend(self.far, self.near, near), self.near, 50)
        for a, b, size, chance in self.scatter(f"trees{number}", 170, 4):
            x, mask = (a * 256 + b) * self.width >> 16, masks[size % 7]
            if groves[x] > 1000 + chance * 10 and contour[x] <= self.shore * SUB:
                foot = min(contour[x] // SUB + tall // 8, self.shore)
                self.stamp(colour, mask, x, foot - (mask.height + 1) // 2)

    def paint_water(self) -> None:
        shore, depth = self.shore, self.height - self.shore
        for y in range(depth):
            distance = 256 * depth // (y + depth // 12 + 1)
            sway = _wave(distance * 5 + y * 900 // depth) * (y + 3) * self.unit // (depth * 22000)
            lift = _wave(distance * 3 + y * 300 // depth) * y // (256 * 24)
            source = max(0, min(shore, shore - y + lift) - 1)
            row = self.image.crop((0, source, self.width, source + 1))
            # Twice, so that what the shifted one leaves free at the side is water as well.
            self.image.paste(row, (0, shore + y))
            self.image.paste(row, (sway, shore + y))
        veil = _gradient((self.width, depth), (50,), (165,))
        self.image.paste(_blend(self.near, self.sky[0], 50), (0, shore), veil)
        for a, b, c, size in self.scatter("glitter", 120, 4):
            y = a * a * depth >> 16
            x = self.light_x + (b + c - 255) * self.unit * (3 + 14 * y // depth) // 25500
            long = self.unit * (1 + size % 4) * (40 + 140 * y // depth) // 5000
            glint = _gradient((long, self.unit // 420), (40 + size // 3,))
            self.stamp(self.light, glint, x, shore + y)


def _wave(phase: int) -> int:
    """A sine of 256 steps, near enough: two parabolas, from -256 to 256."""
    half = phase & 127
    return (half * (128 - half) >> 4) * (1 if phase & 128 else -1)


def _pine(y: int, tall: int) -> int:
    tier, rest = divmod(y * 6, tall)
    return tall // 50 if y * 100 > tall * 92 else (tier * 20 * tall + rest * 62) // 750


def _image(mode: str, rows: Sequence[bytes], *, standing: bool = False) -> Image:
    from PIL import Image

    size = len(rows[0]) // len(mode), len(rows)
    image = Image.frombytes(mode, size, b"".join(rows))
    return image.transpose(Image.Transpose.TRANSPOSE) if standing else image


def _blend(one: Colour, other: Colour, percent: int) -> Colour:
    return tuple(a + (b - a) * percent // 100 for a, b in zip(one, other, strict=True))


def _gradient(size: tuple[int, int], *stops: Colour) -> Image:
    """A picture from one colour down to the next, or a mask from one value to the next."""
    width, height = max(1, size[0]), max(1, size[1])
    rows = [bytes(stops[0]) * width] * height
    for y in range(height if len(stops) > 1 else 0):
        stop, part = divmod(y * (len(stops) - 1) * 4096 // height, 4096)
        pairs = zip(stops[stop], stops[stop + 1], strict=True)
        rows[y] = bytes([a + ((b - a) * part >> 12) for a, b in pairs]) * width
    return _image("L" if len(stops[0]) == 1 else "RGB", rows)


def _both(one: Image, other: Image) -> Image:
    both = _gradient(one.size, (0,))
    both.paste(one, (0, 0), other)
    return both


def _glow(radius: int, peak: int) -> Image:
    """A bell across times a bell down, which is round."""
    bell = [(radius**2 - x * x) ** 4 * peak // radius**8 for x in range(1 - radius, radius)]
    rows = [bytes(bell)] * len(bell)
    return _both(_image("L", rows), _image("L", rows, standing=True))


def _disc(radius: int, bite: tuple[int, int] | None = None) -> Image:
    """A disc, without another that is so far off."""
    disc = _silhouette(lambda y, tall: isqrt(y * (tall - y)), 2 * max(1, radius))
    if bite:
        disc.paste(0, bite, disc.copy())
    return disc


def _silhouette(half: Callable[[int, int], int], tall: int) -> Image:
    """The mask of something symmetrical, from half its width at a height of all, in `SUB`."""
    size, masks = tall // 2 + 2, []
    for start in (SUB // 4, SUB * 3 // 4):
        wides = [half(y, tall * SUB) for y in range(start, tall * SUB, SUB)]
        edges = [b"\xff" * (wide // SUB) + bytes((wide % SUB * 17,)) for wide in wides]
        sides = [edge.ljust(size, b"\0") for edge in edges]
        masks.append(_image("L", [side[::-1] + side for side in sides]))
    masks[0].paste(masks[1], (0, 0), _gradient(masks[0].size, (128,)))
    return masks[0]


def _under(contour: Sequence[int], height: int) -> Image:
    """The mask of what lies under a contour: the height, in `SUB`, of each side of a column."""
    columns = []
    for left, right in pairwise(contour):
        length = max(SUB, abs(right - left) + 3 & -4)
        start = max(0, (left + right - length) // 2)
        edge = bytes(min(height, start // SUB)) + _edge(start % SUB, length)
        columns.append(edge.ljust(height, b"\xff")[:height])
    return _image("L", columns, standing=True)


@lru_cache(4096)
def _edge(start: int, length: int) -> bytes:
    """How much of each pixel is covered, from the first that a slanted edge touches."""
    middles = range(SUB // 2 - start, length, SUB)
    return bytes(max(0, middle) * 255 // length for middle in middles)


def _stretched(points: list[int], count: int) -> list[int]:
    span, ends = (len(points) - 1) * 256, [*points[1:], 0]
    places = (divmod(x * span // count, 256) for x in range(count))
    return [points[at] + ((ends[at] - points[at]) * part >> 8) for at, part in places]


def _paint_label(scene: _Landscape, prompt: str, note: str) -> None:
    scale, margin = (scene.unit * 3 + 768) // 1024, scene.unit // 32
    small, pad = scale * 2 // 3 or 1, 7 * scale
    measure = min(scene.width - 2 * margin - 3 * pad, 400 * scale)
    rows = min(3, max(1, (scene.height * 2 // 5 - 3 * pad) // (12 * scale)))
    dim = _blend(PAPER, scene.near, 42)
    masks = [(mask, PAPER, scale) for mask in written(prompt, scale, measure, rows=rows)]
    masks += [(mask, dim, small) for mask in written(note, small, measure, rows=2)]
    wide = max(mask.width for mask, _, _ in masks) + 3 * pad
    high = sum(mask.height for mask, _, _ in masks) - 5 * small + 2 * pad
    top = scene.height - margin - high
    veil = _gradient((wide, high), (190,))
    scene.image.paste(_blend((8, 9, 16), scene.near, 25), (margin, top), veil)
    x, y = margin + pad, top + pad
    scene.image.paste(scene.light, (x, y, x + scale, top + high - pad))
    for mask, colour, unit in masks:
        scene.image.paste(colour, (x + pad, y - RISE * unit), mask)
        y += mask.height
