"""Group cards as people photograph them: drawn, and then spoiled in one way each.

Made up from a seed, so that nobody's picture is needed and every run sees the same ones.
"""

import io
import itertools
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pillow_heif
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from service import qr

pillow_heif.register_heif_opener()

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_DESK = (120, 110, 100)


@dataclass(frozen=True, slots=True)
class Photograph:
    """`payload` is None where there is no whole code to be read."""

    spoiled: str
    payload: str | None
    data: bytes


def photographs(each: int, seed: int = 1) -> Iterator[Photograph]:
    """`each` photographs spoiled in each way."""
    for spoiled, spoil in SPOILED.items():
        for number in range(each):
            # Of the name, so that a new way leaves the others as they were.
            chance = random.Random(f"{seed} {spoiled} {number}")
            yield photograph(chance, spoiled, spoil)


def photograph(chance: random.Random, spoiled: str, spoil: "Spoil") -> Photograph:
    payload = "https://weixin.qq.com/g/AwYAA" + "".join(chance.choices(_LETTERS, k=59))
    out = io.BytesIO()
    picture = spoil(chance, card(chance, payload))
    if spoiled == "HEIC":
        picture.save(out, "HEIF", quality=60)
    else:
        picture.save(out, "JPEG", quality=chance.choice([60, 85]))
    return Photograph(spoiled, None if spoiled.startswith("no code") else payload, out.getvalue())


def card(chance: random.Random, payload: str) -> Image.Image:
    """A WeChat group's card: picture, name, the code with a logo on it. 560 x 820."""
    drawn = qr.png(payload, size_px=420, error_correction=qr.ErrorCorrection.L)
    whole = Image.new("RGB", (560, 820), "white")
    whole.paste(Image.open(io.BytesIO(drawn)).convert("RGB"), (70, 220))
    pen = ImageDraw.Draw(whole)
    pen.rectangle((70, 60, 150, 140), fill=(chance.randrange(256), 90, 200))
    pen.text((170, 80), "Nearcode Tea", fill="black")
    pen.text((150, 700), "Valid for 7 days", fill=(170, 170, 170))
    pen.rounded_rectangle((250, 400, 310, 460), 10, fill="white")
    pen.rounded_rectangle((256, 406, 304, 454), 8, fill=(7, 193, 96))
    return whole


# ---------------------------------------------------------------- ways of spoiling

Spoil = Callable[[random.Random, Image.Image], Image.Image]


def _tilted(chance: random.Random, picture: Image.Image) -> Image.Image:
    """From aside: each corner moves in by up to 28 % of the side."""
    width, height = picture.size

    def inwards() -> float:
        return chance.uniform(0, 0.28)

    given = [(0, 0), (0, height), (width, height), (width, 0)]
    seen = [
        (inwards() * width, inwards() * height),
        (inwards() * width, (1 - inwards()) * height),
        ((1 - inwards()) * width, (1 - inwards()) * height),
        ((1 - inwards()) * width, inwards() * height),
    ]
    rows, values = [], []
    for (x, y), (to_x, to_y) in zip(seen, given, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -to_x * x, -to_x * y])
        rows.append([0, 0, 0, x, y, 1, -to_y * x, -to_y * y])
        values += [to_x, to_y]
    solved = tuple(np.linalg.solve(np.array(rows), np.array(values)).tolist())
    perspective, smooth = Image.Transform.PERSPECTIVE, Image.Resampling.BICUBIC
    return picture.transform(picture.size, perspective, solved, smooth, fillcolor=_DESK)


def _from_a_screen(chance: random.Random, picture: Image.Image) -> Image.Image:
    """The screen's grid of red, green and blue, seen by a camera's: moiré."""
    larger = chance.uniform(2.2, 3.4)
    size = (round(picture.width * larger), round(picture.height * larger))
    pixels = _floats(picture.resize(size, Image.Resampling.NEAREST))
    y, x = np.mgrid[0 : size[1], 0 : size[0]]
    pitch = 2 * math.pi / chance.uniform(2.5, 3.5)
    grid = np.sin(pitch * x)[..., None] * np.array([1, 0.6, 0.2])
    grid = grid + 0.5 * np.sin(pitch * y + 1)[..., None]
    screen = _picture(pixels * (1 - 0.35 * grid))
    angle = chance.uniform(-8, 8)
    held = screen.rotate(angle, Image.Resampling.BICUBIC, expand=True, fillcolor=(20, 20, 20))
    smaller = chance.uniform(1.1, 2)
    size = (round(held.width / smaller), round(held.height / smaller))
    return held.resize(size, Image.Resampling.BILINEAR)


def _dark_screen(chance: random.Random, picture: Image.Image) -> Image.Image:
    return ImageEnhance.Brightness(_from_a_screen(chance, picture)).enhance(0.25)


def _dim(chance: random.Random, picture: Image.Image) -> Image.Image:
    return _noisy(chance, ImageEnhance.Brightness(picture).enhance(0.08), 6)


def _shaded(chance: random.Random, picture: Image.Image) -> Image.Image:
    """Light from one side alone."""
    height, width = picture.height, picture.width
    y, x = np.mgrid[0:height, 0:width]
    angle = chance.uniform(0, 2 * math.pi)
    light = np.cos(angle) * x / width + np.sin(angle) * y / height
    light = (light - light.min()) / (light.max() - light.min())
    return _noisy(chance, _picture(_floats(picture) * (0.05 + 0.95 * light)[..., None]), 8)


def _glaring(chance: random.Random, picture: Image.Image) -> Image.Image:
    shine = Image.new("L", picture.size, 0)
    x, y = chance.randrange(100, picture.width - 100), chance.randrange(250, 600)
    size = chance.randrange(40, 110)
    ImageDraw.Draw(shine).ellipse((x - size, y - size, x + size, y + size), fill=230)
    white = Image.new("RGB", picture.size, "white")
    return Image.composite(white, picture, shine.filter(ImageFilter.GaussianBlur(40)))


def _coloured(chance: random.Random, picture: Image.Image) -> Image.Image:
    """In a brand's light colour."""
    ink = chance.choice([(255, 180, 0), (90, 200, 250), (250, 120, 170), (150, 210, 80)])
    return ImageOps.colorize(picture.convert("L"), ink, (255, 252, 240))


def _filled(chance: random.Random, picture: Image.Image) -> Image.Image:
    """The dark modules show another picture, with light and dark parts."""
    parts = _noisy(chance, Image.new("RGB", (70, 103), (140, 140, 120)), 70)
    other = parts.resize(picture.size, Image.Resampling.BICUBIC).point(lambda v: min(v, 205))
    white = Image.new("RGB", picture.size, "white")
    return Image.composite(white, other, picture.convert("L"))


def _out_of_focus(chance: random.Random, picture: Image.Image) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(chance.uniform(4.3, 4.8)))


def _shaken(_: random.Random, picture: Image.Image) -> Image.Image:
    along = ImageFilter.Kernel((5, 5), [0] * 10 + [1] * 5 + [0] * 10)
    return picture.filter(along).filter(along).filter(ImageFilter.GaussianBlur(1))


def _tiny(chance: random.Random, picture: Image.Image) -> Image.Image:
    width = chance.randrange(130, 180)
    return picture.resize((width, round(width * 820 / 560)), Image.Resampling.BILINEAR)


def _grainy(chance: random.Random, picture: Image.Image) -> Image.Image:
    return _noisy(chance, picture, 110)


def _dark_mode(_: random.Random, picture: Image.Image) -> Image.Image:
    return ImageOps.invert(picture).point(lambda value: 100 + value // 8)


def _lying_small(chance: random.Random, picture: Image.Image) -> Image.Image:
    """In a corner of a 12-megapixel photograph, turned anyhow."""
    table = _noisy(chance, Image.new("RGB", (4032, 3024), (90, 100, 90)), 12)
    small = picture.resize((340, 498), Image.Resampling.BICUBIC)
    turned = small.rotate(chance.randrange(360), expand=True, fillcolor=(90, 100, 90))
    table.paste(turned, (chance.randrange(3300), chance.randrange(2300)))
    return table


def _round_a_cup(chance: random.Random, picture: Image.Image) -> Image.Image:
    """Pressed together towards its sides."""
    bend = math.sin(chance.uniform(0.9, 1.2))
    angle = math.asin(bend)
    return _bent(picture, lambda x, y: (math.asin(x * bend) / angle, y))


def _bulging(chance: random.Random, picture: Image.Image) -> Image.Image:
    """By a wide lens."""
    strength = chance.choice([0.1, 0.15, 0.2])

    def bulged(x: float, y: float) -> tuple[float, float]:
        scale = 1 + strength * (x * x + y * y)
        return x * scale, y * scale

    return _bent(picture, bulged)


def _half(_: random.Random, picture: Image.Image) -> Image.Image:
    return picture.crop((0, 0, 560, 430))


def _without(chance: random.Random, picture: Image.Image) -> Image.Image:
    noise = np.random.default_rng(chance.randrange(10**9)).integers(0, 256, (60, 60), np.uint8)
    grain = Image.fromarray(noise).resize((420, 420), Image.Resampling.NEAREST)
    picture.paste(grain.convert("RGB"), (70, 220))
    return picture


SPOILED: dict[str, Spoil] = {
    "as it is": lambda _, picture: picture,
    "HEIC": lambda _, picture: picture,
    "tilted": _tilted,
    "from a screen": _from_a_screen,
    "from a dark screen": _dark_screen,
    "dim": _dim,
    "light from aside": _shaded,
    "glare": _glaring,
    "light colour": _coloured,
    "filled with a picture": _filled,
    "out of focus": _out_of_focus,
    "shaken": _shaken,
    "tiny": _tiny,
    "grain": _grainy,
    "dark mode": _dark_mode,
    "small in 12 megapixels": _lying_small,
    "round a cup": _round_a_cup,
    "wide lens": _bulging,
    "no code: half of one": _half,
    "no code: noise": _without,
}


# ---------------------------------------------------------------- tools


def _bent(
    picture: Image.Image, bend: Callable[[float, float], tuple[float, float]], steps: int = 24
) -> Image.Image:
    """Each point shows what was at `bend` of it, in half widths from the middle."""
    half = picture.width / 2
    middle = picture.height / 2

    def source(x: float, y: float) -> tuple[float, float]:
        bent_x, bent_y = bend(x / half - 1, (y - middle) / half)
        return (bent_x + 1) * half, bent_y * half + middle

    xs = [picture.width * step // steps for step in range(steps + 1)]
    ys = [picture.height * step // steps for step in range(steps + 1)]
    mesh = []
    for x0, x1 in itertools.pairwise(xs):
        for y0, y1 in itertools.pairwise(ys):
            corners = (source(x0, y0), source(x0, y1), source(x1, y1), source(x1, y0))
            mesh.append(((x0, y0, x1, y1), tuple(value for corner in corners for value in corner)))
    smooth = Image.Resampling.BILINEAR
    return picture.transform(picture.size, Image.Transform.MESH, mesh, smooth, fillcolor=_DESK)


def _noisy(chance: random.Random, picture: Image.Image, deviation: float) -> Image.Image:
    pixels = _floats(picture)
    grains = np.random.default_rng(chance.randrange(10**9)).normal(0, deviation, pixels.shape)
    return _picture(pixels + grains)


def _floats(picture: Image.Image) -> npt.NDArray[np.float64]:
    return np.asarray(picture).astype(np.float64)


def _picture(pixels: npt.NDArray[np.float64]) -> Image.Image:
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
