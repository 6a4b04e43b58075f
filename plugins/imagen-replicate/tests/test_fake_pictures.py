"""The pictures of the fake server."""

from io import BytesIO

import pytest
from PIL import Image

from imagen_replicate.testing import FakeReplicate
from replicate_transcripts import BANANA, PRO, SCHNELL, create_tiny, fetch, finish, open_client


def picture(url):
    return Image.open(BytesIO(fetch(url).content))


def pixels(record):
    [url] = record["output"]
    return picture(url).convert("RGB").tobytes()


@pytest.mark.parametrize(
    ("inputs", "size"),
    [
        ({}, (1024, 1024)),
        ({"aspect_ratio": "16:9"}, (1344, 768)),
        ({"aspect_ratio": "9:21"}, (640, 1536)),
        ({"aspect_ratio": "4:5"}, (896, 1088)),
        ({"aspect_ratio": "3:4", "megapixels": "0.25"}, (448, 576)),
    ],
)
def test_size_is_that_of_the_ratio(inputs, size, web):
    [url] = finish(web, **inputs)["output"]

    assert picture(url).size == size


def test_size_is_custom_where_the_model_allows_that(web):
    inputs = {"aspect_ratio": "custom", "width": 500, "height": 1440}

    assert picture(finish(web, PRO, **inputs)["output"]).size == (512, 1440)
    assert picture(finish(web, PRO, width=512, height=512)["output"]).size == (1024, 1024)


def test_size_is_as_given_where_there_is_no_ratio(server, web):
    reply = create_tiny(web, server, {"Prefer": "wait"}, width=100, height=70)

    [url] = reply.json()["output"]
    assert picture(url).size == (100, 70)


@pytest.mark.parametrize(
    ("kind", "mime", "name"),
    [("png", "image/png", "PNG"), ("jpg", "image/jpeg", "JPEG"), ("webp", "image/webp", "WEBP")],
)
def test_file_is_of_the_type_that_was_asked_for(kind, mime, name, web):
    [url] = finish(web, output_format=kind)["output"]

    reply = fetch(url)

    assert reply.headers["content-type"] == mime
    assert Image.open(BytesIO(reply.content)).format == name
    assert url.endswith(f"/out-0.{kind}")


def test_file_is_of_the_default_type_of_its_model(web):
    [url] = finish(web)["output"]

    assert url.endswith(".webp")
    assert (
        web.post(
            f"/models/{BANANA}/predictions",
            json={"input": {"prompt": "x"}},
            headers={"Prefer": "wait"},
        )
        .json()["output"]
        .endswith(".jpg")
    )


def test_same_input_gives_the_same_picture_and_another_seed_another(web):
    small = {"output_format": "png", "megapixels": "0.25"}
    one, two = (pixels(finish(web, seed=7, **small)) for _ in range(2))

    assert one == two
    assert pixels(finish(web, seed=8, **small)) != one
    assert pixels(finish(web, seed=7, prompt="a cat", **small)) != one


def test_pictures_of_one_prediction_differ(web):
    record = finish(web, num_outputs=4, megapixels="0.25")

    assert len({fetch(url).content for url in record["output"]}) == 4


def test_seed_that_nobody_gave_is_drawn_and_told(web):
    given = {"input": {"prompt": "x", "go_fast": False, "megapixels": "0.25"}}
    url = f"/models/{SCHNELL}/predictions"

    logs = [
        web.post(url, json=given, headers={"Prefer": "wait"}).json()["logs"].splitlines()[1]
        for _ in range(2)
    ]

    assert all(line.startswith("Using seed: ") for line in logs)
    assert logs[0] != logs[1]


def test_seed_of_nought_counts_as_none_where_the_model_is_not_fast(web):
    assert "Using seed: 0\n" in finish(web, seed=0)["logs"]
    assert "Using seed: 0\n" not in finish(web, seed=0, go_fast=False)["logs"]


def test_model_without_a_seed_tells_none(web):
    given = {"input": {"prompt": "x"}}
    reply = web.post(f"/models/{BANANA}/predictions", json=given, headers={"Prefer": "wait"})

    assert "seed" not in reply.json()["logs"]
    assert isinstance(reply.json()["output"], str)


def test_shape_of_the_output_can_be_chosen(server, web):
    server.answer_with("string")
    assert isinstance(finish(web)["output"], str)

    server.answer_with("list")
    assert isinstance(finish(web, PRO)["output"], list)

    server.answer_with("data")
    assert finish(web, PRO)["output"].startswith("data:application/octet-stream;base64,")


def test_files_come_before_the_record_is_final(server, web):
    server.files_ready_early(True)

    early = finish(web)
    final = web.get(f"/predictions/{early['id']}").json()

    assert (early["status"], final["status"]) == ("processing", "succeeded")
    assert early["output"] == final["output"]
    assert ("metrics" in early, final["metrics"]["image_count"]) == (False, 1)


def test_file_has_the_bytes_that_were_asked_for():
    with FakeReplicate(file_bytes=300_000) as server, open_client(server) as web:
        [url] = finish(web, output_format="png")["output"]
        data = fetch(url).content

    assert len(data) == 300_000
    Image.open(BytesIO(data)).verify()
    assert Image.open(BytesIO(data)).convert("RGB").size == (1024, 1024)
