"""An image is refused before it is decoded, and comes upright in the model's size."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from roadworthy.models.images import ImageError, ImageType, decode, encode, from_base64, pixels

GREY = ImageType(4, 6, 1, max_bytes=4000, max_pixels=1000)
COLOUR = ImageType(4, 6, 3, max_bytes=4000, max_pixels=1000)


def saved(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_pixels_that_fit_come_back_unchanged():
    grey = np.arange(24, dtype=np.uint8).reshape(4, 6)
    colour = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)

    assert np.array_equal(decode(encode(grey), GREY), grey)
    assert np.array_equal(decode(encode(colour), COLOUR), colour)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("PNG", mode) for mode in ("L", "RGB", "P", "RGBA", "LA", "1", "I;16")]
    + [("JPEG", mode) for mode in ("L", "RGB", "CMYK")],
)
def test_every_mode_becomes_what_the_model_takes(kind, mode):
    image = Image.fromarray(np.full((8, 13), 255 * 257, np.uint16))
    if mode != "I;16":
        image = Image.new("L", (13, 8), 255).convert(mode)

    found = decode(saved(image, kind), COLOUR)

    assert found.shape == (4, 6, 3)
    assert (found == 255).all()


def test_the_orientation_that_a_camera_notes_is_applied():
    image = Image.new("RGB", (4, 6), "white")
    image.paste("black", (0, 0, 4, 2))  # the upper third, in a picture that lies on its side
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter to the right

    found = decode(saved(image, "JPEG", exif=exif, quality=95), COLOUR)

    assert found[:, 5].mean() < 60
    assert found[:, :3].mean() > 200


def test_what_is_transparent_is_white():
    assert (decode(saved(Image.new("RGBA", (6, 4), (0, 0, 0, 0))), GREY) == 255).all()


def test_an_image_of_another_shape_is_cropped_around_its_centre():
    wide = np.zeros((4, 18), np.uint8)
    wide[:, 6:12] = 255

    assert (decode(encode(wide), GREY) == 255).all()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "is not a PNG or JPEG image of at most 4000 bytes and 1000 pixels"),
        (b"hello", "is not a PNG or JPEG image"),
        (saved(Image.new("L", (6, 4)), "GIF"), "is not a PNG or JPEG image"),
        (bytes(4001), "is larger than 4000 bytes"),
        (saved(Image.new("1", (40, 26))), "has 40 x 26 pixels, more than 1000"),
        (saved(Image.effect_noise((30, 30), 90))[:600], "is a damaged image"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "is not a PNG or JPEG image"),
    ],
)
def test_what_is_out_of_bounds_is_refused_in_words(data, problem):
    with pytest.raises(ImageError, match=problem):
        decode(data, GREY)


def test_the_header_is_enough_to_count_pixels():
    assert pixels(saved(Image.effect_noise((30, 30), 90))[:600], GREY) == 900


@pytest.mark.parametrize(("text", "problem"), [("a b", "base64"), ("A" * 6000, "larger than 4000")])
def test_base64_that_is_none_or_too_long_is_refused(text, problem):
    assert from_base64(base64.b64encode(b"abc").decode(), GREY) == b"abc"
    with pytest.raises(ImageError, match=problem):
        from_base64(text, GREY)
