"""media: files up, down, and thumbnails of photographs."""

import hashlib
import io
import random
from collections.abc import Sequence
from time import perf_counter

from attrs import frozen
from PIL import Image

from benchmarks.client.connection import Response
from benchmarks.client.crowds import spread
from benchmarks.client.people import Person, Refused
from benchmarks.measure.figures import Figures, latencies, median
from benchmarks.scenario import Bench, Outcome, Scenario, option

UPLOAD = "/_matrix/media/v3/upload"
DOWNLOAD = "/_matrix/client/v1/media/download"
THUMBNAIL = "/_matrix/client/v1/media/thumbnail"


@frozen
class Options:
    files: int = option(50, "files up and down")
    size: int = option(1048576, "bytes of a file")
    width: int = option(4, "people, one file at a time each")


async def run(bench: Bench, options: Options) -> Outcome:
    people = await bench.homeserver.people(options.width)
    chance = random.Random(7)
    files = [chance.randbytes(options.size) for _ in range(min(options.files, 8))]
    digests = [hashlib.blake2b(file).digest() for file in files]
    photographs = [_photograph(number) for number in range(3)]
    await bench.calm()
    uploads: list[float] = []
    downloads: list[float] = []
    places: dict[int, str] = {}

    async def up(number: int, person: Person) -> None:
        file = files[number % len(files)]
        places[number], response = await _upload(person, file, "x.bin", "application/octet-stream")
        uploads.append(response.ms)

    async def down(number: int, person: Person) -> bool:
        response = await _get(person, f"{DOWNLOAD}/{places[number]}")
        downloads.append(response.ms)
        digest = hashlib.blake2b(response.body).digest()
        return response.status == 200 and digest == digests[number % len(files)]

    async with bench.window() as window:
        began = perf_counter()
        await spread(options.files, people, up)
        up_s = perf_counter() - began
        began = perf_counter()
        good = sum(await spread(options.files, people, down))
        down_s = perf_counter() - began
        thumbnails = await _thumbnails(people[0], photographs)
    megabytes = options.size * options.files / 1048576
    outcome = Outcome(
        metrics={
            "upload_mb_per_s": megabytes / up_s,
            **latencies("upload", uploads, (50, 99)),
            "download_mb_per_s": megabytes / down_s,
            **latencies("download", downloads, (50, 99)),
            "download_bad": options.files - good,
            **thumbnails,
            "jpeg_kb": len(photographs[0]) / 1024,
        },
        env=window.env,
    )
    outcome.distribute("upload", uploads)
    outcome.distribute("download", downloads)
    return outcome


def _photograph(number: int) -> bytes:
    """Six megapixels with much detail, always the same."""
    image = Image.effect_mandelbrot((3000, 2000), (-2 + number * 0.1, -1, 1, 1), 100)
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=88)
    return file.getvalue()


async def _thumbnails(person: Person, photographs: Sequence[bytes]) -> Figures:
    """Each photograph up, its thumbnail once and five times more."""
    uploads: list[float] = []
    first: list[float] = []
    again: list[float] = []
    size = 0
    for photograph in photographs:
        place, response = await _upload(person, photograph, "x.jpg", "image/jpeg")
        uploads.append(response.ms)
        path = f"{THUMBNAIL}/{place}?width=800&height=600&method=scale"
        for times in [first, *[again] * 5]:
            response = await _get(person, path)
            if response.status != 200:
                raise Refused("GET", path, response)
            times.append(response.ms)
            size = len(response.body)
    return {
        "jpeg_upload_ms": median(uploads),
        "thumb_first_ms": median(first),
        "thumb_repeat_ms": median(again),
        "thumb_kb": size / 1024,
    }


async def _upload(person: Person, file: bytes, name: str, kind: str) -> tuple[str, Response]:
    """Server and id of the file, as they stand in a path, and the response."""
    path = f"{UPLOAD}?filename={name}"
    response = await person.connection.request(
        b"POST", path.encode(), file, person.auth, kind.encode()
    )
    if response.status != 200:
        raise Refused("POST", path, response)
    return response.json()["content_uri"].removeprefix("mxc://"), response


async def _get(person: Person, path: str) -> Response:
    return await person.connection.request(b"GET", path.encode(), None, person.auth)


SCENARIO = Scenario("media", "files up and down, thumbnails", Options, run)
