"""QR codes read and drawn; the floors are what the libraries under them take alone."""

import io
from collections.abc import Iterator

import qrcode
import zxingcpp
from PIL import Image, ImageFilter

from service import qr
from tests.benchmarks import measuring, pictures
from tests.benchmarks.measuring import Job
from tests.benchmarks.options import Options

_CODES = 10
_ROUNDS = 7
_READING = "floor: zxing-cpp alone, opened picture"
_DRAWING = "floor: qrcode's own PNG"


def run(options: Options) -> Iterator[str]:
    yield from pictures.run(options)
    rounds = options.scaled(_ROUNDS, least=3)
    drawn = [qr.png(_payload(number)) for number in range(_CODES)]
    photos = [_photo(picture) for picture in drawn]
    opened = [Image.open(io.BytesIO(photo)).convert("L") for photo in photos]
    reading = {
        _READING: Job(
            lambda number: zxingcpp.read_barcodes(
                opened[number], formats=zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCodeModel2)
            ),
            _CODES,
        ),
        "a photo of 1600 x 1200, JPEG": Job(lambda number: qr.decode(photos[number]), _CODES),
        "a drawn PNG of 720 x 720": Job(lambda number: qr.decode(drawn[number]), _CODES),
    }
    yield _table("reading", measuring.interleaved(reading, rounds), _READING)

    # Each code is asked for once, since ours keeps what it has drawn.
    fresh = iter(range(_CODES, 10**9))
    drawing = {
        _DRAWING: Job(lambda number: _library_png(_payload(next(fresh))), _CODES),
        "PNG, never drawn before": Job(lambda number: qr.png(_payload(next(fresh))), _CODES),
        "PNG, again": Job(lambda number: qr.png(_payload(number)), _CODES),
        "SVG, again": Job(lambda number: qr.svg(_payload(number)), _CODES),
    }
    yield _table("drawing", measuring.interleaved(drawing, rounds), _DRAWING)


def _table(what: str, times: dict[str, measuring.Times], floor: str) -> str:
    return measuring.table(
        (what, "a code", "+-", "x floor"),
        [
            (
                name,
                measuring.duration(each.median_s),
                f"{each.spread / 2:.0%}",
                f"{each.ratio_to(times[floor]):.2f}",
            )
            for name, each in times.items()
        ],
    )


def _payload(number: int) -> str:
    return f"https://work.weixin.qq.com/gm/{number:032x}"


def _photo(picture: bytes) -> bytes:
    """The code somewhat turned and blurred on a grey sheet, as a phone takes it."""
    code = Image.open(io.BytesIO(picture)).convert("L").rotate(7, expand=True, fillcolor=255)
    sheet = Image.new("L", (1600, 1200), 170)
    sheet.paste(code, (380, 160))
    out = io.BytesIO()
    sheet.filter(ImageFilter.GaussianBlur(1.5)).save(out, "JPEG", quality=80)
    return out.getvalue()


def _library_png(payload: str) -> bytes:
    code = qrcode.QRCode(error_correction=qrcode.constants.ERROR_CORRECT_Q, box_size=14)
    code.add_data(payload)
    out = io.BytesIO()
    code.make_image().save(out)
    return out.getvalue()
