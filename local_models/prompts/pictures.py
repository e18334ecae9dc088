"""Pictures in messages: taken out of the messages, checked, and put back as parts of the rendered prompt. Pure.

A picture is `{"type": "image_url", "image_url": {"url": "data:image/png;base64,..."}}`, or `{"type": "image", "data":
bytes}`: PNG or JPEG. Nothing is fetched. The libraries that decode pictures allocate what a header says, and inflate
what comes; so both are bounded here first.
"""

import base64
import binascii
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from local_models.errors import BadOption, BadTemplate

MARK = "\ufdd2"  # a noncharacter in place of a picture
MOST, LONGEST, LARGEST = 16, 16 << 20, 16 << 20  # pictures of a call, bytes of one, and its pixels
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of the kinds of a PNG
_HOW = 'send `{"type": "image_url", "image_url": {"url": "data:image/png;base64,..."}}`, or the bytes as `data`'

Message = Mapping[str, Any]


def has_pictures(messages: Sequence[Message]) -> bool:
    """Whether there is anything but text in the contents of messages."""
    return any(
        isinstance(part, Mapping) and part.get("type") not in ("text", None)
        for message in messages
        if not isinstance(content := message.get("content"), str) and isinstance(content, Sequence)
        for part in content
    )


def without_pictures(messages: Sequence[Message]) -> tuple[list[dict[str, Any]], tuple[bytes, ...]]:
    """Returns the messages with a mark in place of each picture, and the pictures; raises `BadOption`."""
    pictures: list[bytes] = []
    marked = []
    for at, message in enumerate(messages):
        content, texts = message.get("content"), []
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content or ()
        for index, part in enumerate(parts):
            field = f"messages[{at}].content[{index}]"
            if isinstance(part, Mapping) and part.get("type") in ("image_url", "image"):
                if message.get("role") != "user":
                    raise BadOption("a picture is a part of a message of the user", field=field)
                pictures.append(_checked(_bytes_of(part, field), field))
                texts.append(MARK)
            elif isinstance(part, Mapping) and isinstance(part.get("text"), str):
                texts.append(part["text"].replace(MARK, "\ufffd"))
            else:
                raise refusal(part, field)
        marked.append({**message, "content": "".join(texts)})
    if len(pictures) > MOST:
        raise BadOption(f"{len(pictures)} pictures; a call has at most {MOST}", field="messages")
    return marked, tuple(pictures)


def refusal(part: Any, field: str) -> BadOption:
    """The error for a part of a message that a model does not read: for a picture, of one without a projector."""
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind in ("image_url", "image"):
        return BadOption(
            "this model reads no pictures: it was loaded without a projector",
            field=field,
            hint='load one that has its mmproj file beside it, with `LoadOptions(projector="PATH")`',
        )
    if kind in ("input_audio", "audio", "audio_url"):
        return BadOption("local models hear no audio", field=field, hint="send what is said as text")
    return BadOption("local models read text, and pictures where they have a projector", field=field)


def with_pictures(parts: Sequence[str], count: int) -> list[str]:
    """Returns the parts of a prompt with each mark as a part of its own; raises `BadTemplate` where some are lost."""
    found = [piece for part in parts for piece in _around_marks(part)]
    if found.count(MARK) != count:
        raise BadTemplate(
            f"the chat template shows {found.count(MARK)} of {count} pictures",
            field="messages",
            hint="give a `chat_template` that prints the contents of all messages",
        )
    return found


def _around_marks(part: str) -> Iterator[str]:
    texts = part.split(MARK)
    for index, text in enumerate(texts):
        if index:
            yield MARK
        if text:
            yield text


def _bytes_of(part: Mapping[str, Any], field: str) -> bytes:
    data = part.get("data")
    if isinstance(data, bytes):
        return data
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else image
    if not isinstance(url, str) or not url.startswith("data:"):
        raise BadOption("a local model fetches no picture", field=field, hint=_HOW)
    head, comma, body = url.partition(",")
    if not comma or not head.endswith(";base64") or len(body) > LONGEST * 4 // 3 + 4:
        raise BadOption(f"a picture is base64 of at most {LONGEST >> 20} MiB", field=field, hint=_HOW)
    try:
        return base64.b64decode(body, validate=True)
    except (ValueError, binascii.Error):
        raise BadOption("the picture is no base64", field=field, hint=_HOW) from None


def _checked(image: bytes, field: str) -> bytes:
    if len(image) > LONGEST:
        raise BadOption(f"a picture has at most {LONGEST >> 20} MiB", field=field)
    try:
        if image.startswith(_PNG):
            width, height = _size_of_png(image)
        elif image.startswith(_JPEG):
            width, height = _size_of_jpeg(image)
        else:
            raise BadOption("a picture is PNG or JPEG", field=field)
    except (struct.error, zlib.error, IndexError, KeyError, ValueError) as error:
        if isinstance(error, BadOption):
            raise
        raise BadOption("the picture is damaged", field=field) from None
    if not 0 < width * height <= LARGEST:
        raise BadOption(
            f"a picture of {width} x {height}; at most {LARGEST >> 20} million pixels are read", field=field
        )
    return image


def _size_of_png(image: bytes) -> tuple[int, int]:
    """Returns width and height, after its data were inflated and found no longer than those need."""
    width, height, depth, kind = struct.unpack_from(">IIBB", image, 16)
    if not 0 < width * height <= LARGEST:
        return width, height
    room = (width * depth * _CHANNELS[kind] // 8 + 2) * height * 2 + 4096  # twice: interlaced rows are more
    inflate, at = zlib.decompressobj(), len(_PNG)
    while at + 8 <= len(image):
        length, name = struct.unpack_from(">I4s", image, at)
        if name == b"IDAT":
            rest = image[at + 8 : at + 8 + length]
            while rest and not inflate.eof:
                room -= len(inflate.decompress(rest, 1 << 20))
                rest = inflate.unconsumed_tail
                if room < 0:
                    raise ValueError("longer than its header says")
        at += length + 12
    return width, height


def _size_of_jpeg(image: bytes) -> tuple[int, int]:
    at = 2
    while True:
        if image[at] != 0xFF:
            raise ValueError("no marker")
        kind = image[at + 1]
        if kind == 0xFF:
            at += 1
        elif 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", image, at + 5)
            return width, height
        else:
            at += 2 + struct.unpack_from(">H", image, at + 2)[0]
