"""Encoded images to pixels and back, within bounds that are checked before anything is decoded."""

from __future__ import annotations

import base64
import binascii
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image

_MODES = {1: "L", 3: "RGB"}


class ImageError(ValueError):
    """An image that is refused; its text completes a sentence that begins with the field's name."""


@dataclass(frozen=True)
class ImageType:
    """The images that a model takes.

    Parameters
    ----------
    height, width
        The size in pixels that the model works on. An image of another size is cropped around its
        centre to this shape, and resized.
    channels
        1 for grey, 3 for red, green and blue.
    types
        The file types that are accepted: ``png``, ``jpeg``.
    max_bytes
        The largest file, in bytes.
    max_pixels
        The most pixels of a file: height times width, before it is resized.
    """

    height: int
    width: int
    channels: int = 3
    types: tuple[str, ...] = ("png", "jpeg")
    max_bytes: int = 1 << 20
    max_pixels: int = 1 << 24

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the decoded pixels: ``(H, W)``, or ``(H, W, 3)``."""
        size = (self.height, self.width)
        return size if self.channels == 1 else (*size, self.channels)

    @property
    def bound(self) -> str:
        """What is accepted, in words."""
        types = " or ".join(one.upper() for one in self.types)
        return f"a {types} image of at most {self.max_bytes} bytes and {self.max_pixels} pixels"


def from_base64(text: str, spec: ImageType) -> bytes:
    """Return the file that a base64 string holds.

    Raises
    ------
    ImageError
        It is not base64, or is longer than the largest file.
    """
    if len(text) > 4 * -(-spec.max_bytes // 3):
        raise ImageError(_too_large(spec))
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ImageError("is not base64") from None


def pixels(data: bytes, spec: ImageType) -> int:
    """Return how many pixels a file has, as its header says, after checking all bounds.

    Raises
    ------
    ImageError
        The file is too large, of another type, or has too many pixels.
    """
    with _opened(data, spec) as image:
        return image.width * image.height


def decode(data: bytes, spec: ImageType) -> npt.NDArray[np.uint8]:
    """Return the pixels of a file, upright, in the size and channels that the model takes.

    The orientation that a camera notes (EXIF) is applied; transparency is put on white.

    Returns
    -------
    numpy.ndarray
        uint8, of shape ``[H, W]`` for grey and ``[H, W, 3]`` for colour.

    Raises
    ------
    ImageError
        As :func:`pixels`; or the file is damaged.
    """
    from PIL import Image, ImageOps

    with _opened(data, spec) as image:
        try:
            upright = _flat(ImageOps.exif_transpose(image), spec)
        except Exception as error:  # damaged files make Pillow raise many kinds
            raise ImageError("is a damaged image") from error
    size = (spec.width, spec.height)
    if upright.size != size:
        upright = ImageOps.fit(upright, size, Image.Resampling.BILINEAR)
    return np.asarray(upright, np.uint8)


def encode(image: npt.NDArray[np.uint8]) -> bytes:
    """Return pixels of shape ``[H, W]`` or ``[H, W, 3]`` as a PNG file, without loss."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def _opened(data: bytes, spec: ImageType) -> Image:
    """Return a file of which only the header is read."""
    from PIL import Image

    if len(data) > spec.max_bytes:
        raise ImageError(_too_large(spec))
    try:
        image = Image.open(io.BytesIO(data), formats=[one.upper() for one in spec.types])
    except Exception as error:
        # among others that Pillow itself finds the image too large to be meant well
        raise ImageError(f"is not {spec.bound}") from error
    if image.width * image.height > spec.max_pixels:
        found = f"{image.width} x {image.height}"
        raise ImageError(f"has {found} pixels, more than {spec.max_pixels}")
    return image


def _flat(image: Image, spec: ImageType) -> Image:
    """Return an image without transparency in the channels that the model takes."""
    from PIL import Image

    mode = _MODES[spec.channels]
    if image.mode.startswith("I"):  # 16 bits of grey, of which the upper 8 are kept
        grey = (np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)
        return Image.fromarray(grey).convert(mode)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert(mode)


def _too_large(spec: ImageType) -> str:
    return f"is larger than {spec.max_bytes} bytes"
